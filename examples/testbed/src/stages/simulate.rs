//! The seeded simulation of whole clusters.

use crate::{
    run::{capture, cargo, succeeded},
    stage::{Failure, Outcome, Workspace},
};

/// What is simulated, as options, and as many seeds as a few minutes on two cores allow.
const RUNS: [(&[&str], &str); 2] = [(&[], "2000"), (&["--static"], "500")];

/// Every seed holds every invariant, with pools and with static addresses.
pub(super) fn simulate(_: &Workspace) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    for (options, seeds) in RUNS {
        let command = [&["play", "--", "simulate", "--seeds", seeds], options].concat();
        let mut command = cargo(command);
        let (status, output) = capture(&mut command)?;
        println!("{}", output.trim_end());
        // The last line sums up; the lines before it are the steps and the replay of what broke.
        let broken = output
            .lines()
            .filter(|line| line.contains("breaks invariant") || line.starts_with("replay: "));
        succeeded(&command, status, broken.map(str::to_owned).collect())?;
        let summary = output.trim_end().lines().next_back().unwrap_or_default();
        outcome.notes.push(
            [options.join(" "), summary.to_owned()]
                .join(" ")
                .trim()
                .to_owned(),
        );
    }
    Ok(outcome)
}
