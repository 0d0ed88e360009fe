//! The seeded simulation of whole clusters.

use crate::{
    run::{capture, cargo, succeeded},
    stage::{Failure, Outcome, Workspace},
};

/// As many seeds as a few minutes on two cores allow.
const SEEDS: &str = "2000";

/// Every seed holds every invariant.
pub(super) fn simulate(_: &Workspace) -> Result<Outcome, Failure> {
    let mut command = cargo(["play", "--", "simulate", "--seeds", SEEDS]);
    let (status, output) = capture(&mut command)?;
    println!("{}", output.trim_end());
    // The last line sums up; the lines before it are the steps and the replay of what broke.
    let broken = output
        .lines()
        .filter(|line| line.contains("breaks invariant") || line.starts_with("replay: "));
    succeeded(&command, status, broken.map(str::to_owned).collect())?;
    Ok(Outcome::noted(
        output.trim_end().lines().next_back().unwrap_or_default(),
    ))
}
