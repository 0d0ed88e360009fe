//! A plugin, executed as a container runtime does it.

use std::{
    collections::BTreeMap,
    fmt,
    io::Write,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

pub(crate) const ROUTE_ENI: &str = env!("CARGO_BIN_EXE_tke-route-eni");
pub(crate) const ENI_IPAMC: &str = env!("CARGO_BIN_EXE_tke-eni-ipamc");

/// Where Debian's containernetworking-plugins are.
pub(crate) const DEBIAN_PLUGINS: &str = "/usr/lib/cni";

/// One call of a plugin.
#[derive(Clone, Debug)]
pub(crate) struct Exec {
    program: String,
    stdin: String,
    variables: BTreeMap<String, String>,
}

/// A call that was made and is not answered.
pub(crate) struct Running(Child);

/// What the runtime sees of a call.
#[derive(Debug)]
pub(crate) struct Outcome {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Exec {
    /// A call without an environment.
    pub(crate) fn new(program: &str, command: &str, stdin: impl fmt::Display) -> Self {
        let exec = Self {
            program: program.to_owned(),
            stdin: stdin.to_string(),
            variables: BTreeMap::new(),
        };
        exec.with("CNI_COMMAND", command)
    }

    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.insert(variable.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, variable: &str) -> Self {
        self.variables.remove(variable);
        self
    }

    pub(crate) fn variable(&self, name: &str) -> &str {
        &self.variables[name]
    }

    pub(crate) fn start(&self) -> Running {
        let mut child = Command::new(&self.program)
            .env_clear()
            .envs(&self.variables)
            // Other plugins execute iptables.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A plugin that fails early closes its end.
        drop(child.stdin.take().unwrap().write_all(self.stdin.as_bytes()));
        Running(child)
    }

    pub(crate) fn run(&self) -> Outcome {
        self.start().wait()
    }
}

impl Running {
    pub(crate) fn wait(self) -> Outcome {
        let Output {
            status,
            stdout,
            stderr,
        } = self.0.wait_with_output().unwrap();
        Outcome {
            success: status.success(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Whether it has ended; its answer can be read later.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Kills it as an impatient runtime does.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Outcome {
    /// The result of a call that succeeded.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        assert!(self.success, "failed: {self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Whether the call succeeded, for one that is repeated until it does.
    pub(crate) fn succeeded(&self) -> bool {
        self.success
    }

    /// A call that succeeded without an answer, as DEL and CHECK do.
    #[track_caller]
    pub(crate) fn silent(&self) {
        assert!(self.success, "failed: {self:?}");
        assert_eq!((self.stdout.as_str(), self.stderr.as_str()), ("", ""));
    }

    /// The error of a call that failed with this code: one JSON object with everything the specification
    /// demands, and the sentence on standard error too.
    #[track_caller]
    pub(crate) fn error(&self, code: u64) -> String {
        assert!(!self.success, "succeeded: {self:?}");
        let error: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(error["code"], code, "{self:?}");
        let (msg, details) = (error["msg"].as_str().unwrap(), error["details"].as_str().unwrap());
        assert!(error["cniVersion"].is_string() && !msg.is_empty(), "{self:?}");
        assert!(self.stderr.contains(msg), "{self:?}");
        format!("{msg} ({details}) in {}", error["cniVersion"].as_str().unwrap())
    }
}
