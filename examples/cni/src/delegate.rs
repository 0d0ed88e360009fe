//! Other IPAM plugins, executed as the CNI specification's delegation protocol has it.

use std::{ffi::OsStr, path::PathBuf, process::Stdio, time::Instant};

use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command as Process},
    runtime,
    time::timeout_at,
};

use crate::{
    error::{Code, Error},
    result::CniResult,
    skeleton::Call,
};

/// Another plugin that gives the addresses.
pub(crate) struct Delegate<'a> {
    name: &'a str,
    program: PathBuf,
    call: &'a Call,
}

impl<'a> Delegate<'a> {
    /// Finds a plugin on `CNI_PATH`.
    pub(crate) fn find(name: &'a str, call: &'a Call) -> Result<Self, Error> {
        let program = call
            .env
            .path
            .iter()
            .map(|directory| directory.join(name))
            .find(|program| program.is_file());
        let program = program.ok_or_else(|| {
            let path: Vec<_> = call
                .env
                .path
                .iter()
                .map(|directory| directory.display().to_string())
                .collect();
            Error::config(
                "ipam.type",
                format!("names {name}, which is not on CNI_PATH `{}`", path.join(":")),
            )
        })?;
        Ok(Self { name, program, call })
    }

    /// Its ADD.
    pub(crate) fn add(&self) -> Result<CniResult, Error> {
        let answer = self.execute("ADD", self.call.deadline)?;
        let result = serde_json::from_slice(&answer).and_then(CniResult::read);
        result.map_err(|error| {
            Error::new(
                Code::Decoding,
                format!("IPAM plugin {} answered no CNI result: {error}", self.name),
            )
        })
    }

    /// Its DEL.
    pub(crate) fn del(&self, deadline: Instant) -> Result<(), Error> {
        self.execute("DEL", deadline).map(drop)
    }

    /// Its CHECK.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.execute("CHECK", self.call.deadline).map(drop)
    }

    /// Its STATUS.
    pub(crate) fn status(&self) -> Result<(), Error> {
        self.execute("STATUS", self.call.deadline).map(drop)
    }

    /// Its GC.
    pub(crate) fn gc(&self) -> Result<(), Error> {
        self.execute("GC", self.call.deadline).map(drop)
    }

    /// Runs the plugin with this call's standard input and environment; what it wrote. Only for that there is a
    /// runtime: three pipes are served at the same time, until a deadline.
    fn execute(&self, command: &str, deadline: Instant) -> Result<Vec<u8>, Error> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| self.failed(command, error))?;
        let output = runtime.block_on(async {
            let child = Process::new(&self.program)
                .env(OsStr::new("CNI_COMMAND"), command)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .map_err(|error| self.failed(command, error))?;
            timeout_at(deadline.into(), converse(child, &self.call.conf.text))
                .await
                .map_err(|_| {
                    Error::new(
                        Code::TryAgainLater,
                        format!("{} of IPAM plugin {} took too long", command, self.name),
                    )
                })?
                .map_err(|error| self.failed(command, error))
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(read_error(&output.stdout).unwrap_or_else(|| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            self.failed(command, format!("{}; {}", output.status, stderr.trim()))
        }))
    }

    fn failed(&self, command: &str, why: impl std::fmt::Display) -> Error {
        Error::new(
            Code::Io,
            format!(
                "{command} of IPAM plugin {} failed: {why}",
                self.program.display()
            ),
        )
    }
}

async fn converse(mut child: Child, text: &[u8]) -> std::io::Result<std::process::Output> {
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A plugin that does not want to read all of it says so by its status.
            match stdin.write_all(text).await {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        Ok(())
    };
    let (written, output) = tokio::join!(write, child.wait_with_output());
    written.and(output)
}

/// The error that a plugin wrote to standard output, passed on as it is.
fn read_error(stdout: &[u8]) -> Option<Error> {
    let error: Value = serde_json::from_slice(stdout).ok()?;
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    Some(Error::new(Code::Delegated(error["code"].as_u64()?), text("msg"))).map(|passed| {
        match text("details") {
            "" => passed,
            details => passed.details(details),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::SpecVersion;

    #[test]
    fn an_error_is_passed_on() {
        let error =
            read_error(br#"{"cniVersion":"1.0.0","code":999,"msg":"no addresses","details":"in range"}"#)
                .unwrap();
        let json = error.to_json(SpecVersion::V1_0_0);
        assert_eq!(
            (json["code"].as_u64(), json["msg"].as_str()),
            (Some(999), Some("no addresses"))
        );
        assert_eq!(json["details"], "in range");
        assert_eq!(read_error(b"panic"), None);
        assert_eq!(read_error(b"{}"), None);
    }
}
