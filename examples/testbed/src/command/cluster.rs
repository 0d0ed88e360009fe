//! The commands of a cluster: `cargo testbed up`, `status` and `down`.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Subcommand;

use crate::{
    cluster::{Cluster, Cni, Options, State, node, supervisor},
    kubernetes::{Binaries, programs},
    stage::Workspace,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Brings a Kubernetes cluster up on this machine, with nodes that are instances of a simulated VPC.
    Up(Up),
    /// Tells what of it runs.
    Status(Place),
    /// Takes it down and removes everything of it.
    Down(Place),

    /// Holds a cluster.
    #[command(hide = true)]
    Supervise { options: PathBuf },
    /// Holds a node.
    #[command(hide = true)]
    Node { file: PathBuf },
    /// Is the first process of a node.
    #[command(hide = true)]
    NodeInit { file: PathBuf },
}

#[derive(Debug, clap::Args)]
pub(super) struct Up {
    /// Nodes, besides the control plane.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=20))]
    nodes: u32,

    /// The network of the pods.
    #[arg(long, value_enum, default_value_t = Cni::Eni)]
    cni: Cni,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The directory that holds the cluster [default: target/testbed/cluster]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Does what is asked for.
pub(super) fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Up(wanted) => up(&wanted),
        Command::Status(place) => {
            for line in State::at(place.directory()?).status()? {
                println!("{line}");
            }
            Ok(())
        }
        Command::Down(place) => {
            let begun = Instant::now();
            State::at(place.directory()?).down()?;
            println!("down after {:.1} s", begun.elapsed().as_secs_f64());
            Ok(())
        }
        Command::Supervise { options } => {
            let options: Options = serde_json::from_str(&std::fs::read_to_string(options)?)?;
            Ok(supervisor::run(&options)?)
        }
        Command::Node { file } => {
            let status = node::boundary::run(&file)?;
            Err(format!("the node ended: {status}").into())
        }
        Command::NodeInit { file } => Ok(node::init::run(&file)?),
    }
}

fn up(wanted: &Up) -> Result<(), Box<dyn Error>> {
    Binaries::provide(programs::CLUSTER)?;
    let options = Options {
        state: wanted.place.directory()?,
        nodes: wanted.nodes,
        cni: wanted.cni,
    };
    let cluster = Cluster::up(&options, |line| println!("{line}"))?;
    let state = cluster.stay()?;
    println!("export KUBECONFIG={}", state.kubeconfig().display());
    Ok(())
}

impl Place {
    fn directory(&self) -> Result<PathBuf, Box<dyn Error>> {
        let directory = match &self.state {
            Some(directory) => directory.clone(),
            None => Workspace::find()?.target.join("testbed/cluster"),
        };
        Ok(absolute(&directory)?)
    }
}

fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}
