//! The flags.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{CommandFactory, Parser, error::ErrorKind};
use eni_kube::Access;
use jiff::SignedDuration;
use tracing_subscriber::EnvFilter;

/// Keeps pods away from nodes that have no VPC address for them, and binds them.
///
/// Any number of replicas may run: one leads and answers, the others wait for its lease and are not ready. Exit status:
/// 0 after SIGTERM or SIGINT, 1 if it cannot start, 2 for a wrong flag.
#[derive(Clone, Debug, Parser)]
#[command(name = "tke-eni-ip-scheduler", version)]
pub struct Options {
    /// Where kube-scheduler reaches it (/filter, /prioritize, /preempt, /bind), and where /healthz, /readyz and
    /// /metrics are.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:50055")]
    pub listen: SocketAddr,

    /// How long kube-scheduler waits for an answer: httpTimeout of its configuration. A binding ends a second before
    /// that, and a new leader waits for so long for those of the one before.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub http_timeout: Duration,

    /// A kubeconfig file; without it the service account of the pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The API server's own address, such as https://10.0.0.1:60002, so as not to depend on kube-proxy.
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,

    /// The namespace of the lease.
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub leader_elect_resource_namespace: String,

    /// The name of the lease.
    #[arg(long, value_name = "NAME", default_value = "tke-eni-ip-scheduler")]
    pub leader_elect_resource_name: String,

    /// What is logged: a level, or a filter such as info,eni_core=debug.
    #[arg(long, value_name = "FILTER", env = "TKE_ENI_LOG_LEVEL", default_value = "info", value_parser = filter)]
    pub log_level: String,
}

/// The shortest time in which a pod can be read, bound and read again.
const SHORTEST: Duration = Duration::from_secs(4);

/// The longest: a leader's calls end before its lease does.
const LONGEST: Duration = Duration::from_secs(10);

impl Options {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// A flag that is wrong, and what to do; or help that was asked for.
    pub fn read<T: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let options = Self::try_parse_from(arguments)?;
        if !(SHORTEST..=LONGEST).contains(&options.http_timeout) {
            let message = format!(
                "--http-timeout {:?} is not between {SHORTEST:?} and {LONGEST:?}; change it here and in the \
                 scheduler's configuration",
                options.http_timeout
            );
            return Err(Self::command().error(ErrorKind::ValueValidation, message));
        }
        Ok(options)
    }

    /// The way to the Kubernetes API.
    pub fn access(&self) -> Access {
        Access {
            kubeconfig: self.kubeconfig.clone(),
            master: self.master.clone(),
        }
    }

    /// How long each of the three calls of a binding may take, so that all end a second before the scheduler gives up.
    pub fn call_timeout(&self) -> Duration {
        (self.http_timeout - Duration::from_secs(1)) / 3
    }
}

fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; name one of error, warn, info, debug and trace")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<SignedDuration, _> = text.parse();
    let duration = parsed.ok().and_then(|parsed| Duration::try_from(parsed).ok());
    duration.ok_or_else(|| format!("`{text}` is no duration; write it as 10s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_tkes_and_a_binding_ends_before_the_scheduler_gives_up() {
        let options = Options::read(["tke-eni-ip-scheduler"]).unwrap();
        assert_eq!(options.listen.port(), 50055);
        assert!(options.call_timeout() * 3 < options.http_timeout);
        for wrong in ["1s", "30s", "soon"] {
            let error = Options::read(["x".to_owned(), format!("--http-timeout={wrong}")]).unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains("scheduler's configuration") || said.contains("write it as 10s"),
                "{said}"
            );
        }
    }
}
