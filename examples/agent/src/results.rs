//! The results of ADDs that the runtime keeps until the DEL: a witness of who owns what, for an agent whose
//! journal was lost.
//!
//! The runtime's CNI library (libcni) writes one file for each interface. Those of networks without our
//! plugins are none of our business. A file that cannot be understood is reported and hides no other.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use agent_api::netns;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use eni_core::{
    agent::CachedResult,
    model::{PodAddresses, PodKey, SandboxKey, Uid},
};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

/// Where libcni keeps them: since its version 0.7.1 (`CacheDir` of `libcni/api.go`, with `results` below it),
/// and where some runtimes move it to.
pub const DIRECTORIES: [&str; 2] = ["/var/lib/cni/cache/results", "/var/lib/cni/results"];

/// The plugins by which a network is ours.
const PLUGINS: [&str; 2] = ["tke-route-eni", "tke-eni-ipamc"];

/// A file in which libcni keeps a result (`cachedInfo` of `libcni/api.go`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    kind: String,
    container_id: String,
    if_name: String,
    network_name: String,
    /// The network's configuration, in base64.
    #[serde(default)]
    config: String,
    #[serde(default)]
    netns: Option<String>,
    /// Pairs of a name and a value.
    #[serde(default)]
    cni_args: Option<Vec<(String, String)>>,
    result: Kept,
}

#[derive(Debug, Deserialize)]
struct Kept {
    #[serde(default)]
    interfaces: Vec<Interface>,
    #[serde(default)]
    ips: Vec<Ip>,
}

#[derive(Debug, Deserialize)]
struct Interface {
    name: String,
    #[serde(default)]
    sandbox: String,
}

#[derive(Debug, Deserialize)]
struct Ip {
    address: IpNet,
    #[serde(default)]
    interface: Option<usize>,
}

/// Why a file says nothing.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no result of ADD as the runtime keeps them: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its kind is `{0}` and not `cniCacheV1`")]
    Kind(String),
    #[error("the network's configuration in it is not base64: {0}")]
    Config(#[from] base64::DecodeError),
    #[error("it has no address of interface {0}")]
    NoAddress(String),
}

/// Reads every result of our networks in `directories`.
pub(crate) async fn read(directories: Vec<PathBuf>) -> Vec<CachedResult> {
    let read = tokio::task::spawn_blocking(move || read_all(&directories)).await;
    read.unwrap_or_else(|error| {
        tracing::error!(%error, "the runtime's results of ADDs were not read");
        Vec::new()
    })
}

fn read_all(directories: &[PathBuf]) -> Vec<CachedResult> {
    let mut results = Vec::new();
    for directory in directories {
        let files = match list(directory) {
            Ok(files) => files,
            Err(error) => {
                tracing::error!(directory = %directory.display(), %error,
                    "the runtime's results of ADDs cannot be listed");
                continue;
            }
        };
        for file in files {
            match read_file(&file) {
                Ok(result) => results.extend(result),
                Err(error) => tracing::warn!(file = %file.display(), %error,
                    "a result that the runtime keeps is passed over"),
            }
        }
    }
    results
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let files: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut files = files?;
    files.sort();
    Ok(files)
}

/// `None` for an interface of somebody else's network.
fn read_file(path: &Path) -> Result<Option<CachedResult>, Unusable> {
    let file: File = serde_json::from_slice(&fs::read(path)?)?;
    if file.kind != "cniCacheV1" {
        return Err(Unusable::Kind(file.kind));
    }
    let config: Value = serde_json::from_slice(&STANDARD.decode(&file.config)?)?;
    if !is_ours(&config) {
        return Ok(None);
    }
    let addresses: PodAddresses = file.result.addresses_of(&file.if_name).collect();
    if addresses == PodAddresses::default() {
        return Err(Unusable::NoAddress(file.if_name));
    }
    let sandbox = file
        .result
        .interfaces
        .iter()
        .find(|interface| interface.name == file.if_name && !interface.sandbox.is_empty());
    let netns = sandbox
        .map(|interface| &interface.sandbox)
        .or(file.netns.as_ref());
    let argument = |name: &str| {
        let mut arguments = file.cni_args.iter().flatten();
        let (_, value) = arguments.find(|(key, value)| key == name && !value.is_empty())?;
        Some(value.as_str())
    };
    let pod = argument("K8S_POD_NAMESPACE").zip(argument("K8S_POD_NAME"));
    Ok(Some(CachedResult {
        key: SandboxKey::new(&file.network_name, &file.container_id, &file.if_name),
        addresses,
        pod: pod.map(|(namespace, name)| PodKey::new(namespace, name)),
        pod_uid: argument("K8S_POD_UID").map(Uid::from),
        netns: netns.map(|path| netns::identify(path)).transpose()?.flatten(),
    }))
}

/// Whether one of our plugins is part of a network, also as another one's IPAM plugin.
fn is_ours(config: &Value) -> bool {
    let ours = |plugin: &Value| {
        let types = [&plugin["type"], &plugin["ipam"]["type"]];
        types
            .iter()
            .any(|name| PLUGINS.iter().any(|own| name.as_str() == Some(own)))
    };
    ours(config) || config["plugins"].as_array().into_iter().flatten().any(ours)
}

impl Kept {
    /// The addresses of an interface in the sandbox, or of none in particular.
    fn addresses_of(&self, name: &str) -> impl Iterator<Item = std::net::IpAddr> {
        let of_it = move |ip: &&Ip| match ip.interface.and_then(|index| self.interfaces.get(index)) {
            Some(interface) => interface.name == name && !interface.sandbox.is_empty(),
            None => true,
        };
        self.ips.iter().filter(of_it).map(|ip| ip.address.addr())
    }
}

#[cfg(test)]
#[path = "results_tests.rs"]
mod tests;
