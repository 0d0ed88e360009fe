//! The command line.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::topology::LIMITS;

/// Builds a VPC with nodes and pods on this machine, runs the whole system in it, checks that every
/// pod reaches every other, takes everything down again and proves that nothing is left.
///
/// Exit status: 0 everything is right, 1 something is wrong, 77 this machine does not allow it,
/// 130 interrupted (everything is cleaned up).
#[derive(Clone, Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Something else than a run in namespaces.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The run in namespaces.
    #[command(flatten)]
    pub options: Options,
}

/// What else the playground can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Simulates clusters in virtual time, each decided by a seed, with everything going wrong that can, and
    /// judges every step. Exit status 1 if an invariant broke.
    Simulate(Simulate),
}

/// Which seeds to simulate.
#[derive(Clone, Debug, Args)]
pub struct Simulate {
    /// How many seeds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,

    /// The first of them.
    #[arg(long, default_value_t = 0)]
    pub from: u64,

    /// This seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    pub seed: Option<u64>,

    /// Prints every step of it.
    #[arg(long, requires = "seed")]
    pub trace: bool,

    /// Seeds at the same time; as many as the machine has cores by default.
    #[arg(long)]
    pub jobs: Option<NonZeroUsize>,

    /// Leaves these faults out, to see which one it takes; `all` for every fault. Without it, those are left
    /// out that the code is known not to survive.
    #[arg(long, value_name = "FAULT,...", value_delimiter = ',')]
    pub without: Option<Vec<String>>,

    /// Goes on after a violation, up to so many.
    #[arg(long, value_name = "VIOLATIONS", default_value_t = 1)]
    pub stop_after: u64,
}

/// How large a run in namespaces is, and what is shown of it.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Nodes, each a network namespace.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub nodes: u32,

    /// Pods, spread over the nodes.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub pods: u32,

    /// Deletes and creates random pods for this long before the checks.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub churn: u64,

    /// Prints one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// Leaves everything up after the checks until Ctrl-C, and says how to look around.
    #[arg(long)]
    pub keep: bool,

    /// Seed of every random choice; another one is drawn and printed if it is not given.
    #[arg(long)]
    pub seed: Option<u64>,

    /// Where the CNI plugins are; by default they are built next to this program.
    #[arg(long, value_name = "DIRECTORY")]
    pub plugins: Option<PathBuf>,
}

impl Cli {
    /// Reads the command line; ends the process if it is wrong, or asks for help.
    pub fn read() -> Self {
        let cli = Self::parse();
        let options = &cli.options;
        let room = options.nodes * LIMITS.pods();
        if options.pods > room {
            let message = format!(
                "{} nodes have room for {room} pods ({} each); ask for fewer pods or more nodes",
                options.nodes,
                LIMITS.pods()
            );
            Self::command().error(ErrorKind::ValueValidation, message).exit();
        }
        cli
    }
}
