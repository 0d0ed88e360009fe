//! Which container runtime the agent asks.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where containerd listens as installed.
pub const CONTAINERD: &str = "unix:///run/containerd/containerd.sock";

/// The Unix socket of a container runtime, written `unix:///run/containerd/containerd.sock` or as the path
/// alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeEndpoint {
    path: PathBuf,
}

/// An endpoint that is not the absolute path of a socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a runtime's socket; expected something like unix:///run/containerd/containerd.sock")]
pub struct InvalidRuntimeEndpoint(String);

impl RuntimeEndpoint {
    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl FromStr for RuntimeEndpoint {
    type Err = InvalidRuntimeEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        let path = Path::new(path.strip_prefix("//").unwrap_or(path));
        // What becomes part of a URI must be text, which it is here.
        if !path.is_absolute() || path.file_name().is_none() {
            return Err(InvalidRuntimeEndpoint(text.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for RuntimeEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_as_good_as_a_url() {
        let path = "/run/k3s/containerd/containerd.sock";
        let endpoint: RuntimeEndpoint = path.parse().unwrap();
        assert_eq!(endpoint.path(), Path::new(path));
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }

    #[test]
    fn what_is_no_socket_is_refused() {
        for text in [
            "",
            "/",
            "unix://",
            "unix://run/x.sock",
            "tcp://127.0.0.1:1",
            "run/x.sock",
        ] {
            assert!(text.parse::<RuntimeEndpoint>().is_err(), "{text}");
        }
    }
}
