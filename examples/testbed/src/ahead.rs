//! What is built while other stages wait for a cluster or a download.

use std::process::{Child, Command, Stdio};

use crate::run::cargo;

/// Builds the playground as its stages will, at the lowest priority, until it is dropped.
///
/// It is there for its speed only: the stage that needs the program asks cargo for it in any case, waits for
/// what is still being built, and shows what is wrong with it.
#[derive(Debug)]
pub(crate) struct Ahead(Option<Child>);

impl Ahead {
    pub(crate) fn start() -> Self {
        let build = cargo(["build", "--release", "--package", "playground"]);
        let mut command = Command::new("nice");
        command
            .args(["-n", "19"])
            .arg(build.get_program())
            .args(build.get_args());
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(quiet.spawn().ok())
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(build) = &mut self.0 {
            // It has ended unless the gate did before its stages asked for it.
            let _ = build.kill();
            let _ = build.wait();
        }
    }
}
