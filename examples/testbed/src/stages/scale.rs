//! A large cluster in virtual time, and whether it stays within its limits.

use crate::{
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
