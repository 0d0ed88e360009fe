// nc -w SECONDS -u ADDRESS PORT: sends its input in one packet and prints what comes back within that time.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "nc:", err)
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) != 6 || os.Args[1] != "-w" || os.Args[3] != "-u" {
		fail(fmt.Errorf("usage: nc -w SECONDS -u ADDRESS PORT"))
	}
	patience, err := time.ParseDuration(os.Args[2] + "s")
	fail(err)
	connection, err := net.Dial("udp", net.JoinHostPort(os.Args[4], os.Args[5]))
	fail(err)
	input, err := io.ReadAll(os.Stdin)
	fail(err)
	_, err = connection.Write(input)
	fail(err)
	fail(connection.SetReadDeadline(time.Now().Add(patience)))
	// The time is up: as with other versions of it, that is how it ends.
	if _, err = io.Copy(os.Stdout, connection); err != nil && !os.IsTimeout(err) {
		fail(err)
	}
}
