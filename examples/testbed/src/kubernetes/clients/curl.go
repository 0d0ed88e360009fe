// curl -g -q -s [--max-time SECONDS] [--connect-timeout SECONDS] URL: prints what is at the URL.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		os.Exit(1)
	}
}

func main() {
	var dialer net.Dialer
	client := http.Client{}
	url := ""
	for rest := os.Args[1:]; len(rest) > 0; rest = rest[1:] {
		switch argument := rest[0]; {
		case argument == "-g" || argument == "-q" || argument == "-s":
		case (argument == "--max-time" || argument == "--connect-timeout") && len(rest) > 1:
			limit, err := time.ParseDuration(rest[1] + "s")
			fail(err)
			if argument == "--max-time" {
				client.Timeout = limit
			} else {
				dialer.Timeout = limit
			}
			rest = rest[1:]
		case strings.HasPrefix(argument, "http://") && url == "":
			url = argument
		default:
			fail(fmt.Errorf("it does not know %q", argument))
		}
	}
	client.Transport = &http.Transport{DialContext: dialer.DialContext}
	answer, err := client.Get(url)
	fail(err)
	_, err = io.Copy(os.Stdout, answer.Body)
	fail(err)
}
