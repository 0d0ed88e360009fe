//! Whether an API server serves: its own `/readyz`, which anybody may ask for.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks one API server on loopback.
#[derive(Debug)]
pub(crate) struct Probe {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Probe {
    /// For the server on `port`, whose authority's certificate is `trusted`.
    pub(crate) fn new(port: u16, trusted: &str) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(trusted.as_bytes()).map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            config: Arc::new(config),
        })
    }

    /// Whether everything that the server needs is there.
    pub(crate) fn is_ready(&self) -> bool {
        self.ask().is_ok_and(|answer| answer.starts_with("HTTP/1.0 200 "))
    }

    fn ask(&self) -> io::Result<String> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let session = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, stream);
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
        let mut status = [0; 13];
        stream.read_exact(&mut status)?;
        Ok(String::from_utf8_lossy(&status).into_owned())
    }
}
