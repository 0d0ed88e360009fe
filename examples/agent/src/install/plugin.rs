//! The plugins' executables.

use std::{collections::BTreeMap, fs, io, path::Path, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::{Chain, ENI_IPAMC, InstallConfig, InstallError, ROUTE_ENI};
use crate::file;

/// How long a plugin may take to say its versions.
const DEADLINE: Duration = Duration::from_secs(10);

/// Everybody reads and executes it, its owner writes it.
const EXECUTABLE: u32 = 0o755;

/// A plugin's answer to VERSION.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    supported_versions: Vec<String>,
}

/// Copies the plugins of the chain that are in `source` to the node; the names of those that were not there so.
/// Standard ones that are not in `source` must be on the node.
pub(super) fn copy(source: &Path, config: &InstallConfig) -> Result<Vec<&'static str>, InstallError> {
    let mut copied = Vec::new();
    let ours = [ROUTE_ENI, ENI_IPAMC].map(|name| (name, true));
    let others = config.chain.standard().map(|name| (name, false));
    for (name, required) in ours.into_iter().chain(others) {
        let from = source.join(name);
        let contents = match fs::read(&from) {
            Ok(contents) => contents,
            Err(error) if !required && error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(InstallError::Source { path: from, source }),
        };
        let to = config.binaries.join(name);
        let replaced = file::replace(&to, &contents, EXECUTABLE);
        let replaced = replaced.map_err(|source| InstallError::NotWritable {
            path: to,
            flag: "--cni-bin-dir",
            source,
        })?;
        if replaced {
            copied.push(name);
        }
    }
    Ok(copied)
}

/// The versions of CNI that each plugin of the chain speaks, asked of what is on the node.
pub(super) async fn versions(
    chain: &Chain,
    binaries: &Path,
) -> Result<BTreeMap<&'static str, Vec<String>>, InstallError> {
    let mut versions = BTreeMap::new();
    for name in [ROUTE_ENI, ENI_IPAMC].into_iter().chain(chain.standard()) {
        let path = binaries.join(name);
        let asked = timeout(DEADLINE, ask(&path)).await;
        let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}")));
        let spoken = asked.map_err(|why| InstallError::Plugin { path, why })?;
        versions.insert(name, spoken);
    }
    Ok(versions)
}

async fn ask(plugin: &Path) -> Result<Vec<String>, String> {
    let failed = |error: io::Error| error.to_string();
    let mut child = Command::new(plugin)
        .env_clear()
        .env("CNI_COMMAND", "VERSION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(br#"{"cniVersion":"1.0.0"}"#).await {
            // It need not read it.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => {}
        }
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    let answer: Result<Versions, _> = serde_json::from_slice(&output.stdout);
    match answer {
        Ok(versions) => Ok(versions.supported_versions),
        Err(error) => Err(format!(
            "it ended with {} and an answer that is none: {error}",
            output.status
        )),
    }
}
