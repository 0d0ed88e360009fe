//! The listening socket.

use std::{
    fs::{self, Permissions},
    future::Future,
    io::{self, ErrorKind},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream,
    },
    path::Path,
};

use agent_api::Endpoint;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::server::Router;

/// A socket that listens already but is not served yet.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixListener),
    Loopback(TcpListener),
}

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody listens there.
    #[error("another process listens on {0}; is another agent running on this node?")]
    Taken(Endpoint),
    /// A file that is no socket has the socket's path.
    #[error("{0} is in the socket's place and is not a socket; remove it")]
    NotASocket(String),
    /// The socket could not be made.
    #[error("cannot listen on {endpoint}: {source}")]
    Io {
        /// Where.
        endpoint: Endpoint,
        /// What happened.
        source: io::Error,
    },
}

impl Listener {
    /// Listens. The directory of a Unix socket is made, and a socket that nobody listens on is replaced.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, ListenError> {
        let failed = |source: io::Error| match source.kind() {
            ErrorKind::AddrInUse => ListenError::Taken(endpoint.clone()),
            _ => ListenError::Io {
                endpoint: endpoint.clone(),
                source,
            },
        };
        let socket = match endpoint {
            Endpoint::Unix(path) => Socket::Unix(bind_alone(path)?),
            Endpoint::Loopback(address) => {
                Socket::Loopback(TcpListener::bind(address).await.map_err(failed)?)
            }
        };
        Ok(Self {
            endpoint: endpoint.clone(),
            socket,
        })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) async fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        match self.socket {
            Socket::Unix(socket) => {
                router
                    .serve_with_incoming_shutdown(UnixListenerStream::new(socket), stop)
                    .await
            }
            Socket::Loopback(socket) => {
                router
                    .serve_with_incoming_shutdown(TcpListenerStream::new(socket), stop)
                    .await
            }
        }
    }
}

fn refuse_if_taken(endpoint: &Endpoint, path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.display().to_string()));
        }
        _ => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ListenError::Taken(endpoint.clone())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(()),
        Err(source) => Err(ListenError::Io {
            endpoint: endpoint.clone(),
            source,
        }),
    }
}

/// Binds a socket that nobody listens on.
pub(crate) fn bind_alone(path: &Path) -> Result<UnixListener, ListenError> {
    let endpoint = Endpoint::Unix(path.to_owned());
    refuse_if_taken(&endpoint, path)?;
    bind_unix(path).map_err(|source| ListenError::Io { endpoint, source })
}

/// Binds beside the final path and moves the socket there, so that it is never seen with other rights
/// and a stale one is replaced in one step.
pub(crate) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let draft = directory.join(format!(".{}", std::process::id()));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
    fs::rename(&draft, path)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net;

    use super::*;

    fn unix(path: &Path) -> Endpoint {
        Endpoint::Unix(path.to_owned())
    }

    #[tokio::test]
    async fn makes_the_directory_and_keeps_others_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/agent.sock");
        let _listener = Listener::bind(&unix(&path)).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let files: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        assert_eq!(files, ["agent.sock"]);
    }

    #[tokio::test]
    async fn replaces_a_socket_that_nobody_listens_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        drop(net::UnixListener::bind(&path).unwrap());
        let _listener = Listener::bind(&unix(&path)).await.unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn leaves_a_socket_that_somebody_listens_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let other = net::UnixListener::bind(&path).unwrap();
        let refused = Listener::bind(&unix(&path)).await;
        assert!(matches!(refused, Err(ListenError::Taken(_))), "{refused:?}");
        other.accept().unwrap();
        UnixStream::connect(&path).unwrap();
        other.accept().unwrap();
    }

    #[tokio::test]
    async fn leaves_a_file_that_is_no_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        fs::write(&path, "precious").unwrap();
        let refused = Listener::bind(&unix(&path)).await;
        assert!(matches!(refused, Err(ListenError::NotASocket(_))), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn refuses_a_port_that_somebody_listens_on() {
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = Listener::bind(&Endpoint::Loopback(other.local_addr().unwrap())).await;
        assert!(matches!(refused, Err(ListenError::Taken(_))), "{refused:?}");
    }
}
