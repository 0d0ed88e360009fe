//! A running `tke-eni-ipamd`.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::bed::{Bed, eventually};

/// One process; it ends with its handle, and with the thread that started it.
pub struct Replica {
    child: Child,
    log: PathBuf,
    address: Option<SocketAddr>,
}

impl Replica {
    /// Starts one with more flags than the usual ones, on a port of 127.0.0.1 of its choice; returns when it has
    /// one.
    pub async fn start(bed: &Bed, more: &[&str]) -> Self {
        let mut replica = Self::spawn(bed, more);
        let address = eventually("it listens", async || {
            let log = replica.log();
            let (_, rest) = log.split_once(" address=")?;
            Some(rest.split_whitespace().next()?.parse().expect("an address"))
        })
        .await;
        replica.address = Some(address);
        replica
    }

    /// Starts one that may end at once.
    pub fn spawn(bed: &Bed, more: &[&str]) -> Self {
        let log = tempfile::Builder::new()
            .prefix("log-")
            .tempfile_in(bed.directory.path());
        let (file, log) = log.and_then(|log| Ok(log.keep()?)).expect("a log");
        let output: [File; 2] = [file.try_clone().expect("a log"), file];
        let [output, errors] = output.map(Stdio::from);
        let given = |flag: &str| more.iter().any(|more| more.starts_with(&format!("{flag}=")));
        let usual = [
            ("--clusterid", "cls-test".to_owned()),
            ("--subnets", "subnet-a".to_owned()),
            ("--cloud", "memory".to_owned()),
            (
                "--memory-cloud",
                bed.directory.path().join("vpc.json").display().to_string(),
            ),
            ("--kubeconfig", bed.kubeconfig.display().to_string()),
            ("--health-address", "127.0.0.1:0".to_owned()),
        ];
        let usual = usual.into_iter().filter(|(flag, _)| !given(flag));
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_tke-eni-ipamd")])
            .args(usual.map(|(flag, value)| format!("{flag}={value}")))
            .args(more)
            .env_remove("TKE_ENI_IPAMD_SUBNET_ID")
            .env_remove("TKE_ENI_LOG_LEVEL")
            .env_remove("TKE_REGION")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn();
        Self {
            child: child.expect("setpriv of util-linux starts it"),
            log,
            address: None,
        }
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it was started to serve")
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// The status and the body of a page.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address()).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number");
        (status, body.to_owned())
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

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
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

impl Drop for Replica {
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
