//! The manifests in this directory, so that tests run with what is deployed and with no other rights. README.md says
//! what each is for.
#![deny(missing_docs)]

/// TKE's role of the agent.
pub const AGENT_ROLE: &str = include_str!("../role-agent.yaml");

/// TKE's role of ipamd.
pub const IPAMD_ROLE: &str = include_str!("../role-ipamd.yaml");

/// TKE's role of the scheduler's extender.
pub const IP_SCHEDULER_ROLE: &str = include_str!("../role-ip-scheduler.yaml");

/// What ipamd's election needs beyond TKE's role.
pub const IPAMD_LEASE_ROLE: &str = include_str!("../role-ipamd-lease.yaml");

/// What the extender's election needs beyond TKE's role.
pub const IP_SCHEDULER_LEASE_ROLE: &str = include_str!("../role-ip-scheduler-lease.yaml");

/// What lets those who may view a cluster use `enictl`.
pub const VIEW_ROLE: &str = include_str!("../role-view.yaml");

/// The account of the agents, and the DaemonSet.
pub const AGENT_WORKLOAD: &str = include_str!("../agent.yaml");

/// The account of ipamd, and the Deployment.
pub const IPAMD_WORKLOAD: &str = include_str!("../ipamd.yaml");

/// The account of the scheduler's extender, the Service and the Deployment.
pub const IP_SCHEDULER_WORKLOAD: &str = include_str!("../ip-scheduler.yaml");

/// All that the scheduler's extender needs, in the order in which it is applied.
pub const IP_SCHEDULER: &[&str] = &[IP_SCHEDULER_ROLE, IP_SCHEDULER_LEASE_ROLE, IP_SCHEDULER_WORKLOAD];

/// How kube-scheduler 1.19 to 1.22 is told of the extender.
pub const SCHEDULER_CONFIG: &str = include_str!("../scheduler-config-v1beta1.yaml");

/// All that the agents need, in the order in which it is applied.
pub const AGENT: &[&str] = &[AGENT_ROLE, AGENT_WORKLOAD];

/// All that ipamd needs, in the order in which it is applied.
pub const IPAMD: &[&str] = &[IPAMD_ROLE, IPAMD_LEASE_ROLE, IPAMD_WORKLOAD];

/// All that the webhook needs, its configuration included.
pub const WEBHOOK: &str = include_str!("../webhook.yaml");
