//! From a command to what it prints.

use serde_json::json;

use crate::{
    addresses,
    cluster::Cluster,
    enis,
    error::Error,
    journal, nodes,
    options::{Command, Options, Output},
    table::print,
    verify,
    why::{self, Cause},
};

/// What a command prints, and its exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it prints.
    pub text: String,
    /// 0, or 1 if something is not as it should be.
    pub code: u8,
}

/// Runs a command.
///
/// # Errors
///
/// [`Error`], if there is no answer.
pub async fn run(options: &Options) -> Result<Report, Error> {
    let output = options.output;
    let (text, code) = match &options.command {
        Command::Nodes => {
            let cluster = Cluster::connect(options).await?;
            let (nodes, configs, pods) = (
                cluster.nodes().await?,
                cluster.configs().await?,
                cluster.pods(None).await?,
            );
            (print(&nodes::rows(&nodes, &configs, &pods), output)?, 0)
        }
        Command::Enis => {
            let cluster = Cluster::connect(options).await?;
            let rows = enis::rows(&cluster.records().await?, &cluster.configs().await?);
            (print(&rows, output)?, 0)
        }
        Command::Addresses => {
            let cluster = Cluster::connect(options).await?;
            let rows = addresses::rows(&cluster.configs().await?, &cluster.pods(None).await?);
            (print(&rows, output)?, 0)
        }
        Command::Why {
            pod: (namespace, name),
        } => {
            let cluster = Cluster::connect(options).await?;
            let cause = why::decide(&why::read(&cluster, namespace, name).await?);
            let fine = matches!(
                cause,
                Cause::HasAddress { .. } | Cause::HostNetwork | Cause::Finished
            );
            let text = match output {
                Output::Table => format!("{namespace}/{name}: {cause}"),
                Output::Json => serde_json::to_string_pretty(&json!({
                    "pod": format!("{namespace}/{name}"), "why": cause, "message": cause.to_string(),
                }))?,
            };
            (text, u8::from(!fine))
        }
        Command::Verify { socket } => {
            let differences = verify::verify(socket).await?;
            let text = match (output, differences.is_empty()) {
                (Output::Table, true) => "the kernel is as the agent has it".to_owned(),
                _ => print(&differences, output)?,
            };
            (text, u8::from(!differences.is_empty()))
        }
        Command::Journal { file } => (print(&journal::rows(&journal::read(file).await?), output)?, 0),
    };
    Ok(Report { text, code })
}
