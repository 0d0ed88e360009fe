//! The cluster's command line, and waiting with it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::ClusterError;

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// `kubectl` with the kubeconfig of one user.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// For a user.
    pub fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, kubeconfig }
    }

    /// Runs a command; what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String, ClusterError> {
        self.feed(arguments, "")
    }

    /// Runs a command that reads `input`, such as `apply -f -`; what it printed.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Result<String, ClusterError> {
        let failed = |output: String| ClusterError::Kubectl {
            arguments: arguments.join(" "),
            output,
        };
        let run = || {
            let mut child = Command::new(&self.program)
                .arg("--kubeconfig")
                .arg(&self.kubeconfig)
                .args(arguments)
                // Its cache of the API would be in the home directory.
                .env("HOME", self.kubeconfig.parent().unwrap_or(Path::new("/")))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        };
        let output = run().map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        match output.status.success() {
            true => Ok(text.into_owned()),
            false => Err(failed(format!(
                "{text}{}",
                String::from_utf8_lossy(&output.stderr)
            ))),
        }
    }

    /// Waits until a command succeeds and prints what is `wanted`; what it printed last is told if it does not.
    pub fn wait(
        &self,
        what: &str,
        patience: Duration,
        arguments: &[&str],
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, ClusterError> {
        let begun = Instant::now();
        loop {
            let answer = self.run(arguments);
            if let Ok(text) = &answer
                && wanted(text)
            {
                return Ok(text.clone());
            }
            if begun.elapsed() > patience {
                let last = answer.unwrap_or_else(|error| error.to_string());
                return Err(ClusterError::Late {
                    what: format!("{what} (last: {})", last.trim()),
                    seconds: patience.as_secs(),
                    logs: self.kubeconfig.parent().unwrap_or(Path::new("/")).to_owned(),
                });
            }
            thread::sleep(PAUSE);
        }
    }
}
