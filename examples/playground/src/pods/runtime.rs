//! A stand-in for a container runtime: executes CNI plugins as the CNI specification 1.0.0 says.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use eni_core::model::{PodKey, Uid};
use eni_netlink::namespace::Namespace;
use ipnet::IpNet;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    runtime::Handle,
    task::spawn_blocking,
    time::timeout,
};

/// The interface that a pod gets.
const INTERFACE: &str = "eth0";

/// A little more than the plugin's own limit, so that the plugin has the first word about why.
const PATIENCE: Duration = Duration::from_secs(75);

/// How long a plugin may try, in seconds.
const PLUGIN_PATIENCE: u32 = 60;

/// A container runtime on one node.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Where the plugins are.
    pub plugins: PathBuf,
    /// The node's network namespace, in which the plugins run.
    pub netns: PathBuf,
    /// The agent's endpoint, as the network configuration names it.
    pub agent: String,
}

/// A pod's sandbox: one network namespace.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The runtime's id of it.
    pub container: String,
    /// The path of its network namespace.
    pub netns: PathBuf,
    /// Its pod.
    pub pod: PodKey,
    /// The pod's uid.
    pub uid: Uid,
}

/// What ADD answered.
#[derive(Clone, Debug)]
pub struct Added {
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The result as DEL wants to have it back.
    pub result: Value,
}

/// A failed call of a plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CniError {
    /// It could not be executed.
    #[error("{plugin} cannot be executed: {source}")]
    Execution {
        /// The plugin.
        plugin: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// It did not end.
    #[error("{command} did not end within {PATIENCE:?}; it was killed")]
    Hung {
        /// ADD or DEL.
        command: &'static str,
    },
    /// It answered an error.
    #[error("{command} failed: {message}")]
    Refused {
        /// ADD or DEL.
        command: &'static str,
        /// Its words.
        message: String,
    },
    /// It succeeded and did not say which address the pod has.
    #[error("ADD succeeded without an IPv4 address in its result: {0}")]
    NoAddress(String),
}

impl Runtime {
    /// ADD, and how long the plugin ran.
    pub async fn add(&self, sandbox: &Sandbox) -> Result<(Added, Duration), CniError> {
        let (output, took) = self.call("ADD", sandbox, self.configuration()).await?;
        let result: Value = serde_json::from_slice(&output).map_err(|error| CniError::Refused {
            command: "ADD",
            message: format!(
                "its result is no JSON ({error}): {}",
                String::from_utf8_lossy(&output)
            ),
        })?;
        match address_in(&result) {
            Some(address) => Ok((Added { address, result }, took)),
            None => Err(CniError::NoAddress(result.to_string())),
        }
    }

    /// DEL, with what ADD answered if it did, and how long the plugin ran.
    pub async fn del(&self, sandbox: &Sandbox, result: Option<&Value>) -> Result<Duration, CniError> {
        let mut configuration = self.configuration();
        if let Some(result) = result {
            configuration["prevResult"] = result.clone();
        }
        let (_, took) = self.call("DEL", sandbox, configuration).await?;
        Ok(took)
    }

    fn configuration(&self) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "name": "tke-route-eni",
            "type": PLUGIN,
            "mtu": 1500,
            "timeoutSeconds": PLUGIN_PATIENCE,
            "ipam": { "type": "tke-eni-ipamc", "backend": self.agent },
        })
    }

    async fn call(
        &self,
        command: &'static str,
        sandbox: &Sandbox,
        configuration: Value,
    ) -> Result<(Vec<u8>, Duration), CniError> {
        let began = Instant::now();
        let failed = |source| CniError::Execution {
            plugin: PLUGIN,
            source,
        };
        let child = self.spawn(command, sandbox).await.map_err(failed)?;
        let finish = finish(child, configuration.to_string());
        let Ok(output) = timeout(PATIENCE, finish).await else {
            return Err(CniError::Hung { command });
        };
        let output = output.map_err(failed)?;
        let took = began.elapsed();
        if output.status.success() {
            return Ok((output.stdout, took));
        }
        let said = [output.stdout, output.stderr].concat();
        let message = String::from_utf8_lossy(&said).trim().to_owned();
        Err(CniError::Refused {
            command,
            message: format!("{message} ({})", output.status),
        })
    }

    /// A child is born into the network namespace of the thread that made it.
    async fn spawn(&self, command: &'static str, sandbox: &Sandbox) -> io::Result<Child> {
        let mut plugin = Command::new(self.plugins.join(PLUGIN));
        let pod = &sandbox.pod;
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_UID={};K8S_POD_INFRA_CONTAINER_ID={}",
            pod.namespace, pod.name, sandbox.uid, sandbox.container
        );
        plugin
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &sandbox.container)
            .env("CNI_NETNS", &sandbox.netns)
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_ARGS", arguments)
            .env("CNI_PATH", &self.plugins)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // The terminal's Ctrl-C is for us alone; we end what we started.
            .process_group(0)
            .kill_on_drop(true);
        let (handle, netns) = (Handle::current(), self.netns.clone());
        let spawned = spawn_blocking(move || {
            let node = Namespace::open(netns).map_err(io::Error::other)?;
            node.run_in(|| {
                let _runtime = handle.enter();
                plugin.spawn()
            })
            .map_err(io::Error::other)?
        });
        spawned.await.map_err(io::Error::other)?
    }
}

/// The plugin that does the work; it asks the agent for the address itself.
const PLUGIN: &str = "tke-route-eni";

async fn finish(mut child: Child, configuration: String) -> io::Result<std::process::Output> {
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(configuration.as_bytes()).await {
            // A plugin may fail before it reads; its own words are better than ours.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    child.wait_with_output().await
}

/// The first IPv4 address of a CNI result.
fn address_in(result: &Value) -> Option<Ipv4Addr> {
    let addresses = result.get("ips")?.as_array()?.iter();
    let texts = addresses.filter_map(|entry| entry.get("address")?.as_str());
    texts
        .filter_map(|text| text.parse::<IpNet>().ok())
        .find_map(|net| match net.addr() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ipv4_address_of_a_result() {
        let result =
            json!({"ips": [{"address": "fd00::7/128"}, {"address": "10.40.0.7/32", "interface": 1}]});
        assert_eq!(address_in(&result), Some(Ipv4Addr::new(10, 40, 0, 7)));
        for result in [
            json!({}),
            json!({"ips": []}),
            json!({"ips": [{"address": "10.40.0.7"}]}),
        ] {
            assert_eq!(address_in(&result), None, "{result}");
        }
    }
}
