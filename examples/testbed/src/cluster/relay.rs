//! A port of 127.0.0.1 outside that leads to the API server inside its network namespace.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
};

use eni_netlink::namespace::Namespace;

/// Relays connections to `target`, as seen in the namespace at `netns`, as long as this process lives; the port.
pub(super) fn start(netns: &Path, target: SocketAddr) -> io::Result<u16> {
    let namespace = Namespace::open(netns).map_err(io::Error::other)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::Builder::new().name("relay".into()).spawn(move || {
        for client in listener.incoming() {
            let relayed = client.and_then(|client| {
                let connect = || TcpStream::connect(target);
                let server = namespace.run_in(connect).map_err(io::Error::other)??;
                copy(client.try_clone()?, server.try_clone()?)?;
                copy(server, client)
            });
            // The client sees that its connection ends, as it does while the server is not there.
            if let Err(error) = relayed
                && error.kind() != io::ErrorKind::ConnectionRefused
            {
                eprintln!("relay to {target}: {error}");
            }
        }
    })?;
    Ok(port)
}

/// Copies one direction on a thread that ends with it.
fn copy(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let copy = move || {
        // Either side may end a connection at any time.
        let ended = io::copy(&mut from, &mut to).and_then(|_| to.shutdown(Shutdown::Write));
        if let Err(error) = ended
            && let Err(also) = from
                .shutdown(Shutdown::Both)
                .and_then(|()| to.shutdown(Shutdown::Both))
            && also.kind() != io::ErrorKind::NotConnected
        {
            eprintln!("relay: {error}; {also}");
        }
    };
    thread::Builder::new().name("relay-copy".into()).spawn(copy)?;
    Ok(())
}
