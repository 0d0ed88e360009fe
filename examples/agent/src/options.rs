//! The command line: TKE's flags and defaults where TKE has them.

use std::{ffi::OsString, fs, net::SocketAddr, path::PathBuf, time::Duration};

use agent_api::Endpoint;
use clap::{
    ArgAction, Args, CommandFactory, Parser, ValueEnum,
    error::{Error, ErrorKind},
};
use eni_core::{
    agent::{DialogueConfig, Release, ServiceConfig},
    model::{InstanceId, NodeName},
    policy::Advertise,
};
use eni_kube::Access;
use jiff::SignedDuration;
use tracing_subscriber::EnvFilter;

use crate::{
    AgentConfig,
    devices::{DeviceConfig, ENI_IP},
    install::{Chain, CniVersion, InstallConfig},
    results,
    runtime::{CONTAINERD, RuntimeEndpoint},
    unsupported,
};

/// Gives the pods of one node their VPC addresses.
///
/// It runs in the node's network namespace, as root, once on each node. Exit status: 0 after SIGTERM or SIGINT, 1 if
/// it cannot start or cannot go on, 2 for a wrong flag. Pods keep their network while it is away.
#[derive(Clone, Debug, Parser)]
#[command(name = "tke-eni-agent", version)]
pub struct Options {
    /// The node.
    #[command(flatten)]
    pub node: NodeFlags,

    /// The Kubernetes API.
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,

    /// The addresses.
    #[command(flatten)]
    pub pool: PoolFlags,

    /// Kubelet and the container runtime.
    #[command(flatten)]
    pub kubelet: KubeletFlags,

    /// The CNI plugins and their configuration.
    #[command(flatten)]
    pub cni: CniFlags,

    /// What is logged: a level, or a filter such as info,eni_core=debug.
    #[arg(long, value_name = "FILTER", env = "TKE_ENI_LOG_LEVEL", default_value = "info", value_parser = filter)]
    pub log_level: String,
}

/// The node, and where the agent keeps and shows what it knows.
#[derive(Clone, Debug, Args)]
pub struct NodeFlags {
    /// The name of the Node object; the host's name by default.
    #[arg(long, value_name = "NAME", env = "NODE_NAME", value_parser = word)]
    pub node_name: Option<String>,

    /// The id of the instance, such as ins-1a2b3c4d; by default what the Node object says, which is remembered for
    /// a start without the API server.
    #[arg(long, value_name = "ID", value_parser = word)]
    pub instance_id: Option<String>,

    /// The device of the primary ENI; by default the one by which the node's default route leaves.
    #[arg(long, value_name = "DEVICE", value_parser = word)]
    pub primary_interface: Option<String>,

    /// Where the journal is, which must outlive the pod and the boot.
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/lib/tke-eni-agent")]
    pub state_dir: PathBuf,

    /// Where the plugins find it: unix:///path/of.sock or 127.0.0.1:61677. The plugins of the node must see a socket
    /// under the same path.
    #[arg(long, value_name = "ENDPOINT", default_value = Endpoint::DEFAULT)]
    pub endpoint: Endpoint,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:61679")]
    pub health_address: SocketAddr,
}

/// The Kubernetes API.
#[derive(Clone, Debug, Args)]
pub struct KubernetesFlags {
    /// A kubeconfig file; without it the service account of the pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The API server's own address, such as https://10.0.0.1:60002, so as not to depend on kube-proxy.
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
}

/// The addresses of the node.
#[derive(Clone, Debug, Args)]
pub struct PoolFlags {
    /// Gives all surplus addresses back at once, rather than one at a time.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub enable_quick_release: bool,

    /// How often surplus addresses are given back.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub release_interval: Duration,

    /// How long a released address rests before it is given out again.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub cooldown: Duration,

    /// How often ipamd is told what changed, besides what is urgent.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub report_interval: Duration,

    /// How often addresses are looked for whose pods are gone.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub gc_interval: Duration,
}

/// Kubelet and the container runtime.
#[derive(Clone, Debug, Args)]
pub struct KubeletFlags {
    /// Offers the addresses to kubelet as the resource tke.cloud.tencent.com/eni-ip.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub device_plugin: bool,

    /// How many addresses are offered.
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = AdvertiseKind::Attainable)]
    pub advertise: AdvertiseKind,

    /// Kubelet's directory, with device-plugins and pod-resources in it.
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/lib/kubelet")]
    pub kubelet_dir: PathBuf,

    /// The socket of the container runtime, which lists sandboxes by CRI; with `none` they are told by their network
    /// namespaces.
    #[arg(long, value_name = "SOCKET", default_value = CONTAINERD, value_parser = runtime)]
    pub container_runtime_endpoint: Runtime,

    /// Where the runtime keeps the results of CNI calls, which tell the owners if the journal was lost; may be given
    /// more than once.
    #[arg(long, value_name = "DIRECTORY", default_values = results::DIRECTORIES)]
    pub cni_results_dir: Vec<PathBuf>,
}

/// Which addresses kubelet is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AdvertiseKind {
    /// As many as ipamd grants the node: pods of a burst are scheduled at once and wait for theirs in order.
    Attainable,
    /// As many as are bound, as TKE does: a burst climbs in steps of the warm range.
    Bound,
}

/// Who lists sandboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// The container runtime.
    Cri(RuntimeEndpoint),
    /// The kernel, by their network namespaces.
    Namespaces,
}

/// The CNI plugins and their configuration.
#[derive(Clone, Debug, Args)]
pub struct CniFlags {
    /// Copies the plugins to the node and writes its network configuration.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub install_cni: bool,

    /// Where the runtime looks for plugins.
    #[arg(long, value_name = "DIRECTORY", default_value = "/opt/cni/bin")]
    pub cni_bin_dir: PathBuf,

    /// Where the plugins are copied from; by default the directory of this program.
    #[arg(long, value_name = "DIRECTORY")]
    pub cni_bin_source: Option<PathBuf>,

    /// Where the runtime looks for network configurations.
    #[arg(long, value_name = "DIRECTORY", default_value = "/etc/cni/net.d")]
    pub cni_conf_dir: PathBuf,

    /// The newest version of CNI that the configuration may have; it is the newest that all of its plugins speak.
    #[arg(long, value_name = "VERSION", default_value_t = CniVersion::V1_0_0)]
    pub cni_version: CniVersion,

    /// The MTU of pods' links, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = clap::value_parser!(u32).range(68..=65535))]
    pub mtu: u32,

    /// Chains the plugin portmap, for the hostPort of pods.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub port_mapping: bool,

    /// Chains the plugin bandwidth, for the annotations kubernetes.io/ingress-bandwidth and egress-bandwidth.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub bandwidth: bool,
}

impl Options {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// A flag that is wrong or not of this agent, and what to do; or help that was asked for.
    pub fn read<T: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        Self::try_parse_from(arguments).map_err(|error| match unsupported::explain(&error) {
            Some(message) => Self::command().error(ErrorKind::UnknownArgument, message),
            None => error,
        })
    }

    /// The way to the Kubernetes API.
    pub fn access(&self) -> Access {
        Access {
            kubeconfig: self.kubernetes.kubeconfig.clone(),
            master: self.kubernetes.master.clone(),
        }
    }

    /// The node's name. A host's name is lowered, as kubelet does.
    pub fn node_name(&self) -> NodeName {
        let given = self.node.node_name.clone();
        let name = given.unwrap_or_else(|| {
            let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            host.trim().to_lowercase()
        });
        NodeName::from(name)
    }

    /// What the agent has to know.
    pub fn agent(&self, node: NodeName, instance: InstanceId) -> AgentConfig {
        let Self { pool, kubelet, .. } = self;
        let devices = DeviceConfig {
            resource: ENI_IP.to_owned(),
            directory: kubelet.kubelet_dir.join("device-plugins"),
            pod_resources: kubelet.kubelet_dir.join("pod-resources/kubelet.sock"),
        };
        AgentConfig {
            node,
            instance,
            endpoint: self.node.endpoint.clone(),
            journal: self.node.state_dir.join("journal"),
            service: ServiceConfig {
                cooldown: pool.cooldown,
                ..ServiceConfig::default()
            },
            dialogue: DialogueConfig {
                release: match pool.enable_quick_release {
                    true => Release::Quick,
                    false => Release::Slow,
                },
                release_interval: pool.release_interval,
                report_interval: pool.report_interval,
                advertise: match kubelet.advertise {
                    AdvertiseKind::Attainable => Advertise::Attainable,
                    AdvertiseKind::Bound => Advertise::Bound,
                },
                ..DialogueConfig::default()
            },
            collection: pool.gc_interval,
            results: kubelet.cni_results_dir.clone(),
            devices: kubelet.device_plugin.then_some(devices),
        }
    }

    /// What is put on the node for its container runtime; `None`: nothing.
    pub fn install(&self) -> Option<InstallConfig> {
        let cni = &self.cni;
        cni.install_cni.then(|| InstallConfig {
            source: cni.cni_bin_source.clone(),
            binaries: cni.cni_bin_dir.clone(),
            configurations: cni.cni_conf_dir.clone(),
            newest: cni.cni_version,
            chain: Chain {
                backend: self.node.endpoint.clone(),
                mtu: cni.mtu,
                port_mapping: cni.port_mapping,
                bandwidth: cni.bandwidth,
            },
        })
    }
}

fn word(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("it is empty; give it a value, or leave it out"),
        text => Ok(text.to_owned()),
    }
}

fn runtime(text: &str) -> Result<Runtime, String> {
    match text {
        "none" => Ok(Runtime::Namespaces),
        text => match text.parse() {
            Ok(endpoint) => Ok(Runtime::Cri(endpoint)),
            Err(error) => Err(format!("{error}, or `none`")),
        },
    }
}

fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; name one of error, warn, info, debug and trace")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let advice = "write it as 20s or 1m30s";
    let parsed: SignedDuration = text.parse().map_err(|error| format!("{error}; {advice}"))?;
    match Duration::try_from(parsed) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(format!("it must be longer than nothing; {advice}")),
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
