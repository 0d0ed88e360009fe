//! Which container runtime the agent asks.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where runtimes listen as installed: containerd, CRI-O and cri-dockerd, as `crictl` knows them.
pub const USUAL: [&str; 3] = [
    "unix:///run/containerd/containerd.sock",
    "unix:///run/crio/crio.sock",
    "unix:///var/run/cri-dockerd.sock",
];

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

/// Why no runtime is asked where none was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRuntime {
    /// None of the usual sockets is there.
    Absent,
    /// Several are, and one that kubelet does not use knows none of its sandboxes.
    Several(Vec<RuntimeEndpoint>),
}

impl RuntimeEndpoint {
    /// The one of the usual endpoints whose socket is there, by `exists`.
    pub fn detect(exists: impl Fn(&Path) -> bool) -> Result<Self, NoRuntime> {
        let usual = USUAL.map(|text| text.parse::<Self>().expect("a test reads it"));
        let mut found: Vec<_> = usual
            .into_iter()
            .filter(|endpoint| exists(&endpoint.path))
            .collect();
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                found.push(last);
                Err(NoRuntime::Several(found))
            }
            (None, _) => Err(NoRuntime::Absent),
        }
    }

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

impl fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => write!(f, "no container runtime listens at {}", USUAL.join(", ")),
            Self::Several(found) => {
                let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "more than one container runtime is there ({})",
                    found.join(", ")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(there: &[&str]) -> Result<String, String> {
        let exists = |path: &Path| there.iter().any(|socket| path == Path::new(socket));
        let detected = RuntimeEndpoint::detect(exists);
        detected
            .map(|endpoint| endpoint.to_string())
            .map_err(|none| none.to_string())
    }

    #[test]
    fn the_only_runtime_is_taken() {
        for usual in USUAL {
            let path = usual.strip_prefix("unix://").unwrap();
            assert_eq!(detect(&[path]), Ok(usual.to_owned()));
        }
    }

    #[test]
    fn of_several_runtimes_none_is_guessed() {
        let refused = detect(&["/run/containerd/containerd.sock", "/var/run/cri-dockerd.sock"]).unwrap_err();
        assert!(
            refused.contains(USUAL[0]) && refused.contains(USUAL[2]),
            "{refused}"
        );
        assert!(detect(&[]).is_err());
    }

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
