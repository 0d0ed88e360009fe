//! The command line: `cargo verify` runs every check of this project, here and in CI alike; `cargo testbed`
//! has a cluster.

mod cluster;

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{gate::Gate, stage::Workspace, stages};

/// What keeps this project honest.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs every check. A stage that fails does not stop the others; the exit status tells.
    Verify(Verify),

    #[command(flatten)]
    Cluster(cluster::Command),
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// Runs these stages alone, in the gate's order.
    #[arg(long, value_name = "STAGE", value_delimiter = ',', value_parser = stages::names())]
    only: Vec<String>,

    /// Adds the stages that take long.
    #[arg(long)]
    long: bool,

    /// Lists the stages and runs none.
    #[arg(long)]
    list: bool,
}

/// Does what this process' arguments ask for.
pub fn run() -> ExitCode {
    let options = match Cli::parse_from(arguments(std::env::args())).command {
        Command::Verify(options) => options,
        Command::Cluster(command) => {
            return match cluster::run(command) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::FAILURE
                }
            };
        }
    };
    let gate = Gate::new(|stage| match options.only.as_slice() {
        [] => options.long || !stage.long,
        only => only.iter().any(|name| name == stage.name),
    });
    if options.list {
        gate.list();
        return ExitCode::SUCCESS;
    }
    match verify(&gate) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the gate cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn verify(gate: &Gate) -> Result<bool, cargo_metadata::Error> {
    let report = gate.run(&Workspace::find()?);
    report.print(&mut io::stdout())?;
    Ok(report.passed())
}

/// The arguments without the `--` that `cargo verify -- --only fmt` hands through: the alias already
/// ends in an argument of ours, so cargo does not take it for its own.
fn arguments(given: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut first = true;
    given.filter(move |argument| argument != "--" || !std::mem::take(&mut first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_passing_options_mean_the_same() {
        for line in ["testbed verify -- --only fmt", "testbed verify --only fmt"] {
            let cli = Cli::parse_from(arguments(line.split(' ').map(str::to_owned)));
            let Command::Verify(options) = cli.command else {
                panic!("{line}");
            };
            assert_eq!(options.only, ["fmt"], "{line}");
        }
    }

    #[test]
    fn an_unknown_stage_is_refused() {
        assert!(Cli::try_parse_from(["testbed", "verify", "--only", "nothing"]).is_err());
    }
}
