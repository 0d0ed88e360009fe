//! Large clusters: one in virtual time, and one of objects on a real API server.

use super::suite::count;
use crate::{
    kubernetes::{Binaries, REQUIRE_KUBERNETES, programs},
    run::{capture, cargo, succeeded},
    stage::{Failure, Outcome, Workspace},
};

/// 5,000 nodes and 100,000 pods.
pub(super) fn scale(_: &Workspace) -> Result<Outcome, Failure> {
    let mut command = cargo(["play", "--", "scale"]);
    let (status, output) = capture(&mut command)?;
    println!("{}", output.trim_end());
    let broken = output.lines().filter(|line| line.starts_with("broken: "));
    succeeded(&command, status, broken.map(str::to_owned).collect())?;
    let growth = output.lines().find(|line| line.starts_with("growth"));
    Ok(Outcome::noted(growth.unwrap_or_default()))
}

/// The test of ipamd's that is left out otherwise.
const OBJECTS: &str = "two_thousand_nodes_and_ten_thousand_pods_come_to_rest";

/// 2,000 nodes and 10,000 pods on a real API server, with ipamd as it is released.
pub(super) fn objects(_: &Workspace) -> Result<Outcome, Failure> {
    Binaries::provide(programs::SERVER)?;
    let mut command = cargo(["test", "--release", "--package", "ipamd", "--test", "cluster"]);
    command
        .args(["--", "--ignored", "--exact", "--nocapture", OBJECTS])
        .env(REQUIRE_KUBERNETES, "1");
    count([command])
}
