//! `cargo compare`: CNI plugins side by side, by the real exec protocol, in network namespaces of this process.
//!
//! Every peer gets rounds of ADD, CHECK and DEL at the same time as the others, one after the other, so that what the
//! machine does meanwhile strikes all alike. Ours runs complete: the plugin that is shipped, gRPC to an agent whose journal
//! is on disk, and a VPC behind it. Figures are for this machine; the ratios are what to compare.

mod drive;
mod node;
mod peers;
mod report;
mod rounds;

use std::{error::Error, fs, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use fabric::isolate::{self, IsolationError};
use peers::ExtraPeer;

/// The exit status of a machine that does not let this user make networks.
const NOT_ALLOWED: u8 = 77;

/// Measures CNI plugins against each other. It takes root, and a minute or two.
#[derive(Debug, Parser)]
#[command(name = "compare", version)]
struct Cli {
    /// Parts of a run, which it starts itself.
    #[command(subcommand)]
    part: Option<Part>,

    /// Rounds of each peer at each concurrency.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,

    /// How many plugins run at the same time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32], value_parser = clap::value_parser!(u32).range(1..=64))]
    concurrency: Vec<u32>,

    /// Writes every figure as JSON, and beside it a picture (.svg) of the first ones.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Another peer: a name, the directory of its plugins, and the file of its network configuration.
    #[arg(long, value_name = "NAME=DIRECTORY:FILE")]
    peer: Vec<ExtraPeer>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// A node with its agent, in a directory, until standard input ends.
    #[command(hide = true)]
    Node { directory: PathBuf },
    /// One round of one peer, which a file describes.
    #[command(hide = true)]
    Drive { file: PathBuf },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.part {
        Some(Part::Node { directory }) => node::run(directory),
        Some(Part::Drive { file }) => drive::run(file),
        None => compare(&cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            match error.downcast_ref() {
                Some(IsolationError::Forbidden { .. }) => ExitCode::from(NOT_ALLOWED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn compare(cli: &Cli) -> Result<(), Box<dyn Error>> {
    // As the user who called, in the namespaces of the machine.
    let plugins = playground::plugins::locate(None)?;
    isolate::enter()?;
    // On a disk: what a journal costs is a part of it.
    let directory = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(std::env::current_exe()?.parent().ok_or("no directory")?)?;
    let ours = node::Node::start(directory.path())?;
    let peers = peers::all(directory.path(), &plugins, &ours, &cli.peer)?;
    let results = rounds::run(&peers, &cli.concurrency, cli.rounds, directory.path(), ours.pid())?;
    let left = rounds::links_left(&ours)?;
    let report = report::Report::new(results, cli.rounds, left);
    println!("{}", report.markdown());
    if let Some(file) = &cli.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)?;
        fs::write(file.with_extension("svg"), report.svg())?;
    }
    Ok(report.verdict()?)
}
