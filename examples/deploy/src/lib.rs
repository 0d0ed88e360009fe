//! The manifests in this directory, so that tests run with what is deployed and with no other rights. README.md says
//! what each is for.
#![deny(missing_docs)]

/// TKE's role of the agent.
pub const AGENT_ROLE: &str = include_str!("../role-agent.yaml");

/// TKE's role of ipamd.
pub const IPAMD_ROLE: &str = include_str!("../role-ipamd.yaml");

/// TKE's role of the scheduler's extender; nothing is bound to it.
pub const IP_SCHEDULER_ROLE: &str = include_str!("../role-ip-scheduler.yaml");

/// What ipamd's election needs beyond TKE's role.
pub const IPAMD_LEASE_ROLE: &str = include_str!("../role-ipamd-lease.yaml");

/// The account of the agents, and the DaemonSet.
pub const AGENT_WORKLOAD: &str = include_str!("../agent.yaml");

/// The account of ipamd, and the Deployment.
pub const IPAMD_WORKLOAD: &str = include_str!("../ipamd.yaml");

/// All that the agents need, in the order in which it is applied.
pub const AGENT: &[&str] = &[AGENT_ROLE, AGENT_WORKLOAD];

/// All that ipamd needs, in the order in which it is applied.
pub const IPAMD: &[&str] = &[IPAMD_ROLE, IPAMD_LEASE_ROLE, IPAMD_WORKLOAD];

/// All that the webhook needs, its configuration included.
pub const WEBHOOK: &str = include_str!("../webhook.yaml");
