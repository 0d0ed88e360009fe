//! The command line.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};

use fabric::topology::LIMITS;

use crate::clouds::CloudKind;

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
    /// Runs one large cluster in virtual time, without faults, and measures what it costs: cloud calls, waits,
    /// the controller's memory and computing. Exit status 1 if something is beyond its limit.
    Scale(Scale),
}

/// How large a cluster to run in virtual time.
#[derive(Clone, Debug, Args)]
pub struct Scale {
    /// Nodes, each with its real agent.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub nodes: u32,

    /// Pods, spread over the nodes; 90 per node at most.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub pods: u32,

    /// The budget of cloud calls.
    #[arg(long, value_name = "CALLS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub calls_per_second: u32,

    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
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

    /// Every pod has a claim on a static address.
    #[arg(long = "static")]
    pub claims: bool,

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

    /// How ipamd reaches the cloud.
    #[arg(long, value_enum, default_value_t)]
    pub cloud: CloudKind,

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
        if let Some(Command::Scale(scale)) = &cli.command
            && scale.pods.div_ceil(scale.nodes) > Scale::PODS_PER_NODE
        {
            let message = format!(
                "a node carries {} pods beside its warm addresses; ask for fewer pods or more nodes",
                Scale::PODS_PER_NODE
            );
            Self::command().error(ErrorKind::ValueValidation, message).exit();
        }
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

impl Scale {
    /// An instance of the run carries 95 addresses for pods, 5 of them warm.
    const PODS_PER_NODE: u32 = 90;
}
