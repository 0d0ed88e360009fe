//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Shows the ENIs and addresses of a cluster, and why a pod has none. It changes nothing.
///
/// Exit status: 0; 1 if `verify` found differences or `why` a cause; 2 if there is no answer.
#[derive(Clone, Debug, Parser)]
#[command(name = "enictl", version)]
pub struct Options {
    /// A kubeconfig file; else those of KUBECONFIG, or ~/.kube/config, or the service account of the pod.
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig; else its current one.
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,

    /// How the answer is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table, global = true)]
    pub output: Output,

    /// What is asked.
    #[command(subcommand)]
    pub command: Command,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What is asked.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Nodes and how their pools stand.
    Nodes,
    /// ENIs in service, in creation and in deletion.
    Enis,
    /// Addresses for pods, and who has them.
    Addresses,
    /// Why a pod has no address: the first cause that is found.
    Why {
        /// NAMESPACE/POD.
        #[arg(value_name = "NAMESPACE/POD", value_parser = pod)]
        pod: (String, String),
    },
    /// On a node: whether the kernel is as the agent has it.
    Verify {
        /// The agent's introspection socket.
        #[arg(
            long,
            value_name = "PATH",
            default_value = "/var/run/tke-eni-agent/introspection.sock"
        )]
        socket: PathBuf,
    },
    /// What a journal remembers, read from a copy of it; of a running agent's the copy may be torn.
    Journal {
        /// The journal, such as /var/lib/tke-eni-agent/journal.
        file: PathBuf,
    },
}

fn pod(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("write it as NAMESPACE/POD"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_named_with_its_namespace() {
        let read = |pod| Options::try_parse_from(["enictl", "why", pod, "-o", "json"]);
        let options = read("shop/web-0").unwrap();
        assert_eq!(options.output, Output::Json);
        let Command::Why { pod } = options.command else {
            panic!("why")
        };
        assert_eq!(pod, ("shop".to_owned(), "web-0".to_owned()));
        for wrong in ["web-0", "/web-0", "shop/", "a/b/c"] {
            assert!(
                read(wrong).unwrap_err().to_string().contains("NAMESPACE/POD"),
                "{wrong}"
            );
        }
    }
}
