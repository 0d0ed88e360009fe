//! TLS beneath the server: connections come to it when their handshake is done.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::Listener;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::certificate::Identity;

/// A client that does not finish its handshake by then is left.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that may wait for the server.
const BACKLOG: usize = 64;

/// Why it cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The PEM of the Secret.
    #[error("the Secret's certificate or key is no PEM ({0}); delete the Secret, another is made")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The certificate and the key.
    #[error("the Secret's certificate cannot be used ({0}); delete the Secret, another is made")]
    Unusable(#[from] rustls::Error),
}

/// What a connection needs for TLS.
pub fn acceptor(identity: &Identity) -> Result<TlsAcceptor, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&identity.certificate).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_no_client_auth().with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Connections whose handshake is done. One that takes its time holds up no other.
#[derive(Debug)]
pub struct Handshaken {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    /// Ends with this.
    _accepting: JoinSet<()>,
}

impl Handshaken {
    /// Those of a port.
    pub fn new(listener: TcpListener, tls: TlsAcceptor) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (shaken, ready) = mpsc::channel(BACKLOG);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, tls, shaken));
        Ok(Self {
            ready,
            address,
            _accepting: accepting,
        })
    }
}

impl Listener for Handshaken {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

async fn accept(
    mut listener: TcpListener,
    tls: TlsAcceptor,
    shaken: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    loop {
        let (stream, peer) = Listener::accept(&mut listener).await;
        let (tls, shaken) = (tls.clone(), shaken.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    if shaken.send((stream, peer)).await.is_err() {
                        tracing::debug!(%peer, "the server ends");
                    }
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
                Err(_) => tracing::debug!(%peer, "the handshake takes too long"),
            }
        });
    }
}
