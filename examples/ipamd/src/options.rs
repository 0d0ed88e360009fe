//! The command line: TKE's flags and defaults as far as the pool of shared ENIs goes, and what contradicts.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::{
    ArgAction, Args, CommandFactory, Parser, ValueEnum,
    error::{Error, ErrorKind},
};
use eni_core::{
    cloud::PaceConfig,
    controller::ClaimConfig,
    model::{SubnetId, WarmRange},
};
use eni_kube::{Access, NodeMarkOptions};
use jiff::SignedDuration;
use tracing_subscriber::EnvFilter;

use crate::{tencent::TencentFlags, unsupported};

/// Keeps a pool of VPC addresses on every node of a cluster.
///
/// Any number of replicas may run: one leads and works, the others wait for its lease. Exit status: 0 after
/// SIGTERM or SIGINT, 1 if it cannot start, 2 for a wrong flag.
#[derive(Clone, Debug, Parser)]
#[command(name = "tke-eni-ipamd", version)]
pub struct Options {
    /// The cluster's id, such as cls-1a2b3c4d; ENIs bear it as a tag, and those without are never touched.
    #[arg(long = "clusterid", value_name = "ID", value_parser = word)]
    pub cluster_id: String,

    /// The subnets that ENIs are created in, of all zones: subnet-a:subnet-b.
    #[arg(
        long, value_name = "SUBNET:...", env = "TKE_ENI_IPAMD_SUBNET_ID", value_delimiter = ':', required = true,
        value_parser = subnet
    )]
    pub subnets: Vec<SubnetId>,

    /// The pool of a node.
    #[command(flatten)]
    pub pool: PoolFlags,

    /// The cloud.
    #[command(flatten)]
    pub cloud: CloudFlags,

    /// The Kubernetes API.
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,

    /// Marks of nodes.
    #[command(flatten)]
    pub marks: MarkFlags,

    /// Who leads.
    #[command(flatten)]
    pub election: ElectionFlags,

    /// Where /healthz (also as /health) and /metrics are served.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:61678")]
    pub health_address: SocketAddr,

    /// What is logged: a level, or a filter such as info,eni_core=debug.
    #[arg(long, value_name = "FILTER", env = "TKE_ENI_LOG_LEVEL", default_value = "info", value_parser = filter)]
    pub log_level: String,
}

/// The pool of a node. A NodeENIConfig may have a range of its own.
#[derive(Clone, Debug, Args)]
pub struct PoolFlags {
    /// The pool grows below this number of idle addresses.
    #[arg(long, value_name = "ADDRESSES", default_value_t = WarmRange::default().min)]
    pub ip_min_warm_target: u32,

    /// The pool shrinks above this number of idle addresses.
    #[arg(long, value_name = "ADDRESSES", default_value_t = WarmRange::default().max)]
    pub ip_max_warm_target: u32,

    /// Static addresses: every pod has a VpcIPClaim, and an address of its own that no pool gives out. Nodes keep
    /// nothing idle.
    #[arg(long)]
    pub enable_static_ip: bool,

    /// For how long a static address is kept without a pod, 5m or more, where the pod does not say; without it for
    /// ever.
    #[arg(long, value_name = "DURATION", requires = "enable_static_ip", value_parser = claim_duration)]
    pub claim_expired_duration: Option<Duration>,

    /// A static address is given up with the workload that made its pod, such as a StatefulSet, once the pod is gone.
    /// Claims that are there already stay as they are until the next pod of their name.
    #[arg(long, requires = "enable_static_ip")]
    pub enable_ownerref: bool,

    /// Of the subnets those that only pods get addresses of which nominate them: subnet-a:subnet-b.
    #[arg(
        long, value_name = "SUBNET:...", value_delimiter = ':', requires = "enable_static_ip", value_parser = subnet
    )]
    pub only_nominated_eni_subnets: Vec<SubnetId>,
}

/// The cloud.
#[derive(Clone, Debug, Args)]
pub struct CloudFlags {
    /// The cloud; `memory` is one in this process, which forgets everything with it.
    #[arg(long, value_enum)]
    pub cloud: CloudKind,

    /// The VPC of `--cloud memory`, as JSON: {"subnets": [{"id", "zone", "cidr"}], "instances": [{"id", "subnet",
    /// "enis", "addressesPerEni"}]}.
    #[arg(long, value_name = "FILE", required_if_eq("cloud", "memory"))]
    pub memory_cloud: Option<PathBuf>,

    /// Calls to the cloud in any second.
    #[arg(
        long, value_name = "CALLS", default_value_t = PaceConfig::default().calls_per_second,
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    pub cloud_calls_per_second: u32,

    /// ENIs that the VPC leaves to this cluster in all, the instances' own included; without it the quota is never
    /// the limit.
    #[arg(long, value_name = "ENIS")]
    pub eni_quota: Option<u32>,

    /// Tencent Cloud.
    #[command(flatten)]
    pub tencent: TencentFlags,
}

/// Which cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CloudKind {
    /// One in the memory of this process, for trials.
    Memory,
    /// Tencent Cloud, or a simulator of its API.
    Tencent,
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

/// Marks of nodes that advertise no address for pods.
#[derive(Clone, Debug, Args)]
pub struct MarkFlags {
    /// Sets the condition tke.cloud.tencent.com/ENIIPUnavailable.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub enable_node_condition: bool,

    /// Sets the taint tke.cloud.tencent.com/eni-ip-unavailable, and removes it once the node has addresses, whoever
    /// set it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub enable_node_taint: bool,
}

/// Who leads. The names are those of Kubernetes' own components.
#[derive(Clone, Debug, Args)]
pub struct ElectionFlags {
    /// The namespace of the lease.
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system", value_parser = word)]
    pub leader_elect_resource_namespace: String,

    /// The name of the lease.
    #[arg(long, value_name = "NAME", default_value = "tke-eni-ipamd", value_parser = word)]
    pub leader_elect_resource_name: String,

    /// How long others leave a lease alone that is not renewed; whole seconds.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub leader_elect_lease_duration: Duration,

    /// How long the leader acts on without a renewal.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub leader_elect_renew_deadline: Duration,

    /// How often the leader renews its lease, and others look.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub leader_elect_retry_period: Duration,
}

/// Flags that make no sense together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Contradiction {
    #[error(
        "--ip-min-warm-target {min} is above --ip-max-warm-target {max}; raise the second to {min}, or lower the \
         first"
    )]
    Warm { min: u32, max: u32 },
    #[error(
        "--only-nominated-eni-subnets {subnet} is not among --subnets; add it there, or leave it out here"
    )]
    UnknownSubnet { subnet: SubnetId },
    #[error(
        "--leader-elect-lease-duration {lease:?} is no number of whole seconds, which is all that a Lease can say; \
         round it"
    )]
    FractionalLease { lease: Duration },
    #[error(
        "--leader-elect-lease-duration {lease:?} leaves less than {call:?} after --leader-elect-renew-deadline \
         {deadline:?}: a call to the cloud takes so long at most, and must end before another leads; raise the \
         first to {:?}", .deadline.saturating_add(*.call)
    )]
    ShortLease {
        lease: Duration,
        deadline: Duration,
        call: Duration,
    },
    #[error(
        "--leader-elect-renew-deadline {deadline:?} has no room for two attempts every --leader-elect-retry-period \
         {period:?}; lower the second to half of the first or less"
    )]
    RareRenewal { deadline: Duration, period: Duration },
}

impl Options {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// A flag that is wrong, missing, not of this ipamd, or against another one, and what to do; or help that was
    /// asked for.
    pub fn read<T: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        let fail = |kind, message: String| Self::command().error(kind, message);
        let options =
            Self::try_parse_from(arguments).map_err(|error| match unsupported::explain(&error) {
                Some(message) => fail(ErrorKind::UnknownArgument, message),
                None => error,
            })?;
        match options.contradiction() {
            Some(contradiction) => Err(fail(ErrorKind::ValueValidation, contradiction.to_string())),
            None => Ok(options),
        }
    }

    /// The range of idle addresses of a node without one of its own.
    pub fn warm(&self) -> WarmRange {
        if self.pool.enable_static_ip {
            return WarmRange { min: 0, max: 0 };
        }
        WarmRange {
            min: self.pool.ip_min_warm_target,
            max: self.pool.ip_max_warm_target,
        }
    }

    /// How static addresses are kept, if pods have such.
    pub fn claims(&self) -> Option<ClaimConfig> {
        self.pool.enable_static_ip.then_some(ClaimConfig {
            keep: self.pool.claim_expired_duration,
            owned: self.pool.enable_ownerref,
            nominated_only: Arc::new(self.pool.only_nominated_eni_subnets.iter().cloned().collect()),
        })
    }

    /// The way to the Kubernetes API.
    pub fn access(&self) -> Access {
        Access {
            kubeconfig: self.kubernetes.kubeconfig.clone(),
            master: self.kubernetes.master.clone(),
        }
    }

    /// The marks that nodes shall have.
    pub fn node_marks(&self) -> NodeMarkOptions {
        NodeMarkOptions {
            condition: self.marks.enable_node_condition,
            taint: self.marks.enable_node_taint,
        }
    }

    /// The limits of the calls to the cloud.
    pub fn pace(&self) -> PaceConfig {
        PaceConfig {
            calls_per_second: self.cloud.cloud_calls_per_second,
            ..PaceConfig::default()
        }
    }

    fn contradiction(&self) -> Option<Contradiction> {
        let WarmRange { min, max } = self.warm();
        let (election, call) = (&self.election, self.pace().call_timeout);
        let lease = election.leader_elect_lease_duration;
        let deadline = election.leader_elect_renew_deadline;
        let period = election.leader_elect_retry_period;
        if min > max {
            return Some(Contradiction::Warm { min, max });
        }
        let mut nominated = self.pool.only_nominated_eni_subnets.iter();
        if let Some(subnet) = nominated.find(|subnet| !self.subnets.contains(subnet)) {
            let subnet = subnet.clone();
            return Some(Contradiction::UnknownSubnet { subnet });
        }
        if lease.subsec_nanos() > 0 {
            return Some(Contradiction::FractionalLease { lease });
        }
        if lease < deadline.saturating_add(call) {
            return Some(Contradiction::ShortLease {
                lease,
                deadline,
                call,
            });
        }
        (period > deadline / 2).then_some(Contradiction::RareRenewal { deadline, period })
    }
}

fn word(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("it is empty; give it a value"),
        text => Ok(text.to_owned()),
    }
}

fn subnet(text: &str) -> Result<SubnetId, &'static str> {
    match text.trim() {
        "" => Err("a subnet's id is empty; write them as subnet-a:subnet-b"),
        text => Ok(SubnetId::from(text)),
    }
}

fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; name one of error, warn, info, debug and trace")),
    }
}

/// TKE's lower limit of `--claim-expired-duration`.
const LEAST_CLAIM: Duration = Duration::from_secs(300);

fn claim_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        kept if kept < LEAST_CLAIM => Err(format!("an address is kept for {LEAST_CLAIM:?} at least")),
        kept => Ok(kept),
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
mod tests {
    use super::*;

    const LEAST: [&str; 5] = [
        "tke-eni-ipamd",
        "--clusterid=cls-1",
        "--subnets=subnet-a:subnet-b",
        "--cloud=memory",
        "--memory-cloud=vpc.json",
    ];

    fn read(more: &[&str]) -> Result<Options, Error> {
        Options::read(LEAST.iter().chain(more))
    }

    fn refused(more: &[&str]) -> String {
        read(more).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_those_of_tke() {
        let options = read(&[]).unwrap();
        assert_eq!(options.warm(), WarmRange { min: 5, max: 5 });
        assert_eq!(options.pace().calls_per_second, 50);
        assert_eq!(options.health_address.port(), 61678);
        assert_eq!(options.subnets, ["subnet-a", "subnet-b"].map(SubnetId::from));
        assert_eq!(options.election.leader_elect_resource_namespace, "kube-system");
        assert_eq!(options.cloud.eni_quota, None);
    }

    #[test]
    fn a_switch_is_on_alone_or_as_it_says() {
        let marks = |flags: &[&str]| read(flags).unwrap().node_marks();
        let on = NodeMarkOptions {
            condition: true,
            taint: true,
        };
        assert_eq!(marks(&[]), NodeMarkOptions::default());
        assert_eq!(
            marks(&["--enable-node-condition", "--enable-node-taint=true"]),
            on
        );
        assert_eq!(marks(&["--enable-node-taint=false"]), NodeMarkOptions::default());
    }

    #[test]
    fn what_is_missing_is_named() {
        for left_out in &LEAST[1..] {
            let arguments = LEAST.iter().filter(|argument| *argument != left_out);
            let error = Options::read(arguments).unwrap_err();
            let flag = left_out.split('=').next().unwrap();
            assert!(error.to_string().contains(flag), "{flag}: {error}");
        }
    }

    #[test]
    fn the_manifest_starts_it() {
        let objects: Vec<serde_json::Value> = serde_saphyr::from_multiple(deploy::IPAMD_WORKLOAD).unwrap();
        let deployment = objects
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let arguments = [&container["command"], &container["args"]];
        let arguments = arguments.into_iter().flat_map(|list| list.as_array().unwrap());
        let options = Options::read(arguments.map(|text| text.as_str().unwrap())).unwrap();
        let port = &container["ports"][0]["containerPort"];
        assert_eq!(port, options.health_address.port());
    }

    #[test]
    fn a_minimum_above_the_maximum_says_what_to_raise() {
        let message = refused(&["--ip-min-warm-target=10"]);
        assert!(
            message.contains("above --ip-max-warm-target 5; raise the second to 10"),
            "{message}"
        );
        assert!(read(&["--ip-min-warm-target=0", "--ip-max-warm-target=0"]).is_ok());
    }

    #[test]
    fn a_lease_that_a_call_outlasts_is_refused() {
        let message = refused(&["--leader-elect-lease-duration=19s"]);
        assert!(message.contains("raise the first to 20s"), "{message}");
        let message = refused(&["--leader-elect-lease-duration=20500ms"]);
        assert!(message.contains("whole seconds"), "{message}");
        let message = refused(&["--leader-elect-retry-period=6s"]);
        assert!(message.contains("lower the second"), "{message}");
        assert!(
            read(&[
                "--leader-elect-lease-duration=1m10s",
                "--leader-elect-renew-deadline=1m"
            ])
            .is_ok()
        );
    }

    #[test]
    fn a_flag_of_tke_that_this_ipamd_lacks_says_why_and_what_to_do() {
        for flag in ["--eni-min-warm-target=1", "--cluster-cidrs=10.0.0.0/8"] {
            let message = refused(&[flag]);
            let name = flag.split('=').next().unwrap();
            assert!(message.contains(&format!("{name} is for")), "{message}");
            assert!(message.contains("leave it out"), "{message}");
        }
        let message = refused(&["--ip-min-warm-targt=3"]);
        assert!(
            message.contains("--ip-min-warm-target"),
            "a slip gets a hint: {message}"
        );
    }

    #[test]
    fn static_addresses_have_no_idle_ones_beside_them() {
        let flags = [
            "--enable-static-ip",
            "--claim-expired-duration=1h",
            "--enable-ownerref",
            "--only-nominated-eni-subnets=subnet-b",
        ];
        let options = read(&flags).unwrap();
        let expected = ClaimConfig {
            keep: Some(Duration::from_secs(3600)),
            owned: true,
            nominated_only: Arc::new(["subnet-b".into()].into()),
        };
        assert_eq!(options.claims(), Some(expected));
        assert_eq!(options.warm(), WarmRange { min: 0, max: 0 });
        assert_eq!(read(&[]).unwrap().claims(), None);
        for alone in [
            "--claim-expired-duration=1h",
            "--enable-ownerref",
            "--only-nominated-eni-subnets=subnet-a",
        ] {
            let message = refused(&[alone]);
            assert!(message.contains("--enable-static-ip"), "{message}");
        }
    }

    #[test]
    fn a_subnet_that_pods_nominate_is_one_of_the_clusters() {
        let message = refused(&["--enable-static-ip", "--only-nominated-eni-subnets=subnet-x"]);
        assert!(message.contains("subnet-x is not among --subnets"), "{message}");
    }

    #[test]
    fn nonsense_of_every_kind_is_refused() {
        for flag in [
            "--subnets=subnet-a::subnet-b",
            "--clusterid= ",
            "--ip-max-warm-target=-1",
            "--cloud-calls-per-second=0",
            "--leader-elect-retry-period=0s",
            "--leader-elect-retry-period=-1s",
            "--leader-elect-retry-period=2",
            "--health-address=61678",
            "--log-level=loud=yes",
            "--cloud=nimbus",
            "--enable-static-ip=maybe",
        ] {
            let name = flag.split('=').next().unwrap();
            // The last one wins, but for flags that may be given once: so each without the usual one.
            let usual = LEAST
                .iter()
                .filter(|usual| !usual.starts_with(&format!("{name}=")));
            let error = Options::read(usual.chain([&flag])).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
