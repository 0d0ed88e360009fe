//! Flags that TKE's agent has and this one does not: who brings a deployment along is told why it does not start.

use clap::error::{ContextKind, ContextValue, Error};

/// Flags, and why they are not here.
const FLAGS: &[(&[&str], &str)] = &[(
    &["--kube-client-qps", "--kube-client-burst"],
    "limits calls of the API server, which this agent makes only when it starts and to report a change, at most one \
     in --report-interval",
)];

/// What to tell instead of an error that calls such a flag unknown.
pub(crate) fn explain(error: &Error) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let flag = argument.split('=').next()?;
    let (_, reason) = FLAGS.iter().find(|(flags, _)| flags.contains(&flag))?;
    Some(format!("{flag} {reason}; leave it out"))
}
