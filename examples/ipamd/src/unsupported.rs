//! Flags that TKE's ipamd has and this one does not: who brings a deployment along is told why it does not start.

use clap::error::{ContextKind, ContextValue, Error};

/// Flags, and what they are for.
const FLAGS: &[(&[&str], &str)] = &[
    (
        &["--eni-min-warm-target", "--eni-max-warm-target"],
        "pods with an ENI of their own",
    ),
    (
        &["--enable-security-groups", "--security-groups"],
        "security groups of the node's ENIs",
    ),
    (
        &[
            "--enable-customized-pod-cidr",
            "--enable-gr-route-controller",
            "--cluster-cidrs",
        ],
        "clusters with global routing",
    ),
    (
        &[
            "--enable-cilium-overlay",
            "--enable-cilium-node-controller",
            "--base-pod-number",
            "--desired-pod-number",
        ],
        "clusters of Cilium and nodes outside of the VPC",
    ),
];

/// What to tell instead of an error that calls such a flag unknown.
pub(crate) fn explain(error: &Error) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let flag = argument.split('=').next()?;
    let (_, purpose) = FLAGS.iter().find(|(flags, _)| flags.contains(&flag))?;
    Some(format!(
        "{flag} is for {purpose}, which this ipamd does not do; leave it out"
    ))
}
