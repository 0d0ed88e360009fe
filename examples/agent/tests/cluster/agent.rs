//! A running `tke-eni-agent`.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use crate::{
    bed::{Bed, eventually},
    node::Node,
};

/// One process; it ends with its handle, and with the thread that started it.
pub struct Agent {
    child: Child,
    log: PathBuf,
    address: Option<SocketAddr>,
    introspection: PathBuf,
}

impl Agent {
    /// Starts the agent of `node-1` on a port of 127.0.0.1 of its choice; returns when it has one.
    pub async fn start(bed: &Bed, node: &Node) -> Self {
        Self::start_with(bed, node, &[]).await
    }

    /// The same with more flags than the usual ones.
    pub async fn start_with(bed: &Bed, node: &Node, more: &[&str]) -> Self {
        let mut agent = Self::spawn(bed, node, more);
        let address = eventually("it listens", async || {
            let log = agent.log();
            let (_, rest) = log.split_once(" address=")?;
            Some(rest.split_whitespace().next()?.parse().expect("an address"))
        })
        .await;
        agent.address = Some(address);
        agent
    }

    /// Starts one that may end at once, with more flags than the usual ones.
    pub fn spawn(bed: &Bed, node: &Node, more: &[&str]) -> Self {
        let log = tempfile::Builder::new()
            .prefix("log-")
            .tempfile_in(node.directory.path());
        let (file, log) = log.and_then(|log| Ok(log.keep()?)).expect("a log");
        let output: [File; 2] = [file.try_clone().expect("a log"), file];
        let [output, errors] = output.map(Stdio::from);
        let path = |name: &str| node.path(name).display().to_string();
        let introspection = node.path("introspection.sock");
        let usual = [
            ("--node-name", "node-1".to_owned()),
            ("--kubeconfig", bed.kubeconfig.display().to_string()),
            ("--state-dir", path("state")),
            ("--endpoint", format!("unix://{}", path("agent.sock"))),
            ("--introspection-socket", introspection.display().to_string()),
            ("--health-address", "127.0.0.1:0".to_owned()),
            ("--device-plugin", "false".to_owned()),
            ("--container-runtime-endpoint", "none".to_owned()),
            ("--cni-results-dir", path("results")),
            ("--cni-bin-source", bed.plugins.display().to_string()),
            ("--cni-bin-dir", path("bin")),
            ("--cni-conf-dir", path("net.d")),
            ("--cooldown", "1s".to_owned()),
            ("--report-interval", "1s".to_owned()),
        ];
        let given = |flag: &str| more.iter().any(|more| more.starts_with(&format!("{flag}=")));
        let usual = usual.into_iter().filter(|(flag, _)| !given(flag));
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_tke-eni-agent")])
            .args(usual.map(|(flag, value)| format!("{flag}={value}")))
            .args(more)
            .env_remove("NODE_NAME")
            .env_remove("TKE_ENI_LOG_LEVEL")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn();
        Self {
            child: child.expect("setpriv of util-linux starts it"),
            log,
            address: None,
            introspection,
        }
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// The status and the body of a page.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let address = self.address.expect("it was started to serve");
        let stream = TcpStream::connect(address).await.expect("it listens");
        get(stream, path).await
    }

    /// What it tells its operator.
    pub async fn tells(&self, path: &str) -> Value {
        let stream = UnixStream::connect(&self.introspection).await;
        let (status, body) = get(stream.expect("it listens"), path).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The value of a metric, by its name and labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        let values = text.lines().filter_map(|line| line.rsplit_once(' '));
        let mut values = values.filter(|(found, _)| *found == name);
        values.next().map(|(_, value)| value.parse().expect("a number"))
    }

    /// It would serve a new pod.
    pub async fn serves(&self) {
        eventually("it is ready", async || {
            (self.get("/readyz").await.0 == 200).then_some(())
        })
        .await;
    }

    /// Sends a signal.
    pub fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// How it ended, once it has.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let mut look = || child.try_wait().expect("a child");
        eventually("it ends", || std::future::ready(look())).await
    }
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let read = async {
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = read.await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Fails only if it has ended.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("{error}");
        }
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
