//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::topology::LIMITS;

/// Builds a VPC with nodes and pods on this machine, runs the whole system in it, checks that every
/// pod reaches every other, takes everything down again and proves that nothing is left.
///
/// Exit status: 0 everything is right, 1 something is wrong, 77 this machine does not allow it,
/// 130 interrupted (everything is cleaned up).
#[derive(Clone, Debug, Parser)]
#[command(version)]
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

impl Options {
    /// Reads the command line; ends the process if it is wrong, or asks for help.
    pub fn read() -> Self {
        let options = Self::parse();
        let room = options.nodes * LIMITS.pods();
        if options.pods > room {
            let message = format!(
                "{} nodes have room for {room} pods ({} each); ask for fewer pods or more nodes",
                options.nodes,
                LIMITS.pods()
            );
            Self::command().error(ErrorKind::ValueValidation, message).exit();
        }
        options
    }
}
