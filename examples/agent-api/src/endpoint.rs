//! Where the agent listens: a Unix socket, or a loopback port.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

/// The kernel's limit on a Unix socket's path (`sun_path`, without the final zero byte).
const SOCKET_PATH: usize = 107;

/// Where the agent listens.
///
/// Written `unix:///run/agent.sock`, `127.0.0.1:61677`, `[::1]:61677` or `localhost:61677`. Other hosts are
/// refused: the protocol has no authentication beyond "a process of this node".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket, reachable by its owner alone.
    Unix(PathBuf),
    /// A loopback port, reachable by every process in the node's network namespace.
    Loopback(SocketAddr),
}

/// An endpoint that is not usable, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {reason}; expected unix:///path/of.sock or 127.0.0.1:61677")]
pub struct InvalidEndpoint {
    text: String,
    reason: &'static str,
}

impl Endpoint {
    /// The Unix socket that plugins and agent use unless told otherwise.
    pub const DEFAULT: &str = "unix:///var/run/tke-eni-agent/agent.sock";

    /// The directory where plugins leave DEL records while the agent is away: `deleted` beside the
    /// socket; for a loopback port, beside the default socket.
    pub fn spool_directory(&self) -> PathBuf {
        let beside = match self {
            Self::Unix(path) => path.parent(),
            Self::Loopback(_) => None,
        };
        beside
            .unwrap_or(Path::new("/var/run/tke-eni-agent"))
            .join("deleted")
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::DEFAULT.parse().expect("a test reads it")
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |reason| InvalidEndpoint {
            text: text.to_owned(),
            reason,
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path.strip_prefix("//").unwrap_or(path));
            return match path {
                path if !path.is_absolute() || path.file_name().is_none() => {
                    Err(invalid("is not the absolute path of a socket"))
                }
                path if path.as_os_str().len() > SOCKET_PATH => Err(invalid(
                    "is longer than the 107 bytes that a socket's path may have",
                )),
                path => Ok(Self::Unix(path.to_owned())),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| invalid("has no port"))?;
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| invalid("has no valid port"))?;
        let address = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .parse::<IpAddr>()
                .map_err(|_| invalid("names a host by something else than an address"))?,
        };
        if !address.is_loopback() {
            return Err(invalid(
                "is not a loopback address, and the agent serves its own node only",
            ));
        }
        Ok(Self::Loopback(SocketAddr::new(address, port)))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Loopback(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in [
            "unix:///run/x/agent.sock",
            "127.0.0.1:61677",
            "[::1]:61677",
            Endpoint::DEFAULT,
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!(
            "localhost:7".parse::<Endpoint>().unwrap().to_string(),
            "127.0.0.1:7"
        );
        assert_eq!(Endpoint::default().to_string(), Endpoint::DEFAULT);
    }

    #[test]
    fn refuses_what_is_not_of_this_node() {
        for text in [
            "10.0.0.1:61677",
            "0.0.0.0:61677",
            "[::]:61677",
            "[fe80::1]:1",
            "169.254.0.1:1",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("loopback"), "{error}");
        }
    }

    #[test]
    fn refuses_what_is_no_endpoint() {
        let long = format!("unix:///{}", "x".repeat(SOCKET_PATH));
        for text in [
            "",
            "unix:",
            "unix://",
            "unix:///",
            "unix://relative",
            "127.0.0.1",
            "127.0.0.1:",
            &long,
        ]
        .into_iter()
        .chain([
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "127.0.0.1:x",
            "agent.example:80",
            "http://127.0.0.1:1",
        ]) {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_spool_is_beside_the_socket() {
        let spool = |text: &str| text.parse::<Endpoint>().unwrap().spool_directory();
        assert_eq!(spool("unix:///run/x/agent.sock"), Path::new("/run/x/deleted"));
        assert_eq!(spool("127.0.0.1:61677"), spool(Endpoint::DEFAULT));
    }
}
