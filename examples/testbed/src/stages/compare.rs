//! A short comparison of plugins: that the harness works, and all peers in it. It measures nothing worth telling.

use crate::{
    run::{capture, cargo, succeeded},
    stage::{Failure, Outcome, Workspace},
};

/// The exit status by which the comparison says that this machine does not allow it.
const NOT_ALLOWED: i32 = 77;

/// One round of each peer, with the programs that tests use.
pub(super) fn compare(workspace: &Workspace) -> Result<Outcome, Failure> {
    let mut command = cargo(["run", "--quiet", "--package", "benches", "--bin", "compare"]);
    command.args(["--", "--rounds=1", "--concurrency=1,8"]);
    let (status, output) = capture(&mut command)?;
    println!("{}", output.trim_end());
    if status.code() == Some(NOT_ALLOWED) && !workspace.kernel_required {
        return Ok(Outcome::noted(
            "did not run: this machine does not let this user make networks",
        ));
    }
    succeeded(&command, status, Vec::new())?;
    Ok(Outcome::default())
}
