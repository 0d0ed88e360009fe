//! The store of an API server, on loopback.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
};

use super::{Binaries, PATIENCE, Unavailable, process::Process, programs};

/// Starts one with its files in `directory`, on loopback as the calling thread sees it.
pub(crate) fn start(
    binaries: &Binaries,
    directory: &Path,
    port: u16,
    peer_port: u16,
) -> Result<Process, Unavailable> {
    let (client, peer) = (
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{peer_port}"),
    );
    let arguments = [
        "--name=testbed".to_owned(),
        format!("--data-dir={}", directory.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=testbed={peer}"),
        // Nothing has to survive the machine.
        "--unsafe-no-fsync".to_owned(),
        format!("--quota-backend-bytes={}", 1u64 << 30),
    ];
    let environment = [("GOMEMLIMIT", "512MiB")];
    let mut etcd = Process::start(
        "etcd",
        &binaries.path(&programs::ETCD),
        &arguments,
        &environment,
        directory,
    )?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    etcd.wait_until(PATIENCE, || TcpStream::connect(address).is_ok())?;
    Ok(etcd)
}
