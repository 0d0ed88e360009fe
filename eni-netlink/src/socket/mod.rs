//! A small synchronous exchange with the kernel over rtnetlink.
//!
//! Requests go out together in one system call and are answered one by one; the kernel works while it
//! receives, so nothing here waits for anything but the kernel's own locks. A socket stays in the
//! network namespace in which it was opened, whichever thread uses it later.

mod request;

use std::io;

use nix::errno::Errno;
use rtnetlink::packet_core::{
    DefaultNla, ErrorMessage, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla, NlasIterator, Parseable,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

pub use self::request::{Outcome, Refusal, Request, tolerate};
use crate::namespace::{Namespace, NamespaceError};

/// The kernel sends dumps in datagrams of at most 32 KiB (`netlink_dump` in `net/netlink/af_netlink.c`).
const RECEIVE_BYTES: usize = 64 * 1024;

/// Requests per system call: their answers must fit the socket's receive buffer (208 KiB by default).
const BATCH: usize = 64;

/// Attempts at a dump that changes under the reader.
const DUMP_ATTEMPTS: usize = 10;

/// A socket to the kernel's routing subsystem.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// An exchange that failed as a whole. The socket should be dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetlinkError {
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The socket failed.
    #[error("{operation}: {source}")]
    Socket {
        /// What was attempted.
        operation: String,
        /// The error.
        source: io::Error,
    },
    /// The kernel refused a request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Every dump was interrupted by changes.
    #[error("{what}: the kernel's tables changed during {DUMP_ATTEMPTS} readings; try again")]
    Unsteady {
        /// What was read.
        what: String,
    },
}

impl Netlink {
    /// A socket in the calling thread's namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        let failed = |source| NetlinkError::Socket {
            operation: "open a netlink socket".into(),
            source,
        };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        socket.set_cap_ack(true).map_err(failed)?;
        socket.set_ext_ack(true).map_err(failed)?;
        // Without it the kernel ignores the filters of a dump and sends everything.
        socket.set_netlink_get_strict_chk(true).map_err(failed)?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(RECEIVE_BYTES),
        })
    }

    /// A socket in `namespace`.
    pub fn open_in(namespace: &Namespace) -> Result<Self, NetlinkError> {
        namespace.run_in(Self::open)?
    }

    /// Sends `requests` in order and answers with one outcome for each. A refused request does not keep
    /// the kernel from carrying out the ones after it.
    pub fn exchange(&mut self, requests: &[Request]) -> Result<Vec<Outcome>, NetlinkError> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for batch in requests.chunks(BATCH) {
            let first = self.send(
                batch
                    .iter()
                    .map(|request| (&request.message, request.flags | NLM_F_ACK)),
            )?;
            for (offset, request) in (0u32..).zip(batch) {
                outcomes.push(self.receive_outcome(first.wrapping_add(offset), &request.what)?);
            }
        }
        Ok(outcomes)
    }

    /// Sends one request; a refusal is an error.
    pub fn request(&mut self, request: Request) -> Result<Option<RouteNetlinkMessage>, NetlinkError> {
        let outcome = self.exchange(std::slice::from_ref(&request))?.pop();
        Ok(outcome.expect("an exchange has one outcome for each request")?)
    }

    /// Everything that answers `message`, read again when it changed meanwhile.
    ///
    /// A single absence proves nothing: the kernel may pass over steady entries while others come and
    /// go, without a sign. What must not be missed is to be asked for by name.
    pub fn dump(
        &mut self,
        what: &str,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.send([(message, NLM_F_DUMP)].into_iter())?;
            if let Some(entries) = self.receive_dump(sequence, what)? {
                return Ok(entries);
            }
        }
        Err(NetlinkError::Unsteady { what: what.into() })
    }

    /// Returns the first sequence number; each message has the next one.
    fn send<'a>(
        &mut self,
        messages: impl Iterator<Item = (&'a RouteNetlinkMessage, u16)>,
    ) -> Result<u32, NetlinkError> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(2048);
        for (message, flags) in messages {
            self.sequence = self.sequence.wrapping_add(1);
            let mut header = NetlinkHeader::default();
            header.flags = NLM_F_REQUEST | flags;
            header.sequence_number = self.sequence;
            let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message.clone()));
            message.finalize();
            // Attributes are padded, hence lengths are multiples of four and messages stay aligned.
            let start = bytes.len();
            bytes.resize(start + message.buffer_len(), 0);
            message.serialize(&mut bytes[start..]);
        }
        match self.socket.send(&bytes, 0) {
            Ok(sent) if sent == bytes.len() => Ok(first),
            Ok(sent) => Err(broken(format!(
                "a batch was cut to {sent} of {} bytes",
                bytes.len()
            ))),
            Err(source) => Err(NetlinkError::Socket {
                operation: "send to the kernel".into(),
                source,
            }),
        }
    }

    fn receive_outcome(&mut self, sequence: u32, what: &str) -> Result<Outcome, NetlinkError> {
        let mut answer = None;
        loop {
            for message in self.receive()? {
                match message? {
                    message if message.header.sequence_number != sequence => continue,
                    NetlinkMessage {
                        header,
                        payload: NetlinkPayload::Error(error),
                        ..
                    } => {
                        return Ok(acknowledged(&header, &error, what).map(|()| answer));
                    }
                    NetlinkMessage {
                        payload: NetlinkPayload::InnerMessage(inner),
                        ..
                    } => answer = Some(inner),
                    _ => {}
                }
            }
        }
    }

    /// `None` when the tables changed while they were read.
    fn receive_dump(
        &mut self,
        sequence: u32,
        what: &str,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>, NetlinkError> {
        let mut entries = Vec::new();
        let mut steady = true;
        loop {
            for message in self.receive()? {
                let message = match message {
                    Ok(message) => message,
                    // Somebody else's exotic device must not keep us from seeing our own.
                    Err(error) => {
                        tracing::warn!(%error, what, "an entry of the kernel cannot be read; left out");
                        continue;
                    }
                };
                if message.header.sequence_number != sequence {
                    continue;
                }
                steady &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => entries.push(inner),
                    NetlinkPayload::Done(done) if done.code == 0 => return Ok(steady.then_some(entries)),
                    NetlinkPayload::Done(done) => {
                        let errno = Errno::from_raw(done.code.saturating_abs());
                        return Err(Refusal {
                            what: what.into(),
                            errno,
                            detail: None,
                        }
                        .into());
                    }
                    NetlinkPayload::Error(error) => acknowledged(&message.header, &error, what)?,
                    _ => {}
                }
            }
        }
    }

    /// The messages of one datagram.
    fn receive(
        &mut self,
    ) -> Result<Vec<Result<NetlinkMessage<RouteNetlinkMessage>, NetlinkError>>, NetlinkError> {
        self.buffer.clear();
        let received = loop {
            match self
                .socket
                .recv(&mut self.buffer, nix::sys::socket::MsgFlags::MSG_TRUNC.bits())
            {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let received = received.map_err(|source| NetlinkError::Socket {
            operation: "receive from the kernel".into(),
            source,
        })?;
        if received > self.buffer.len() {
            return Err(broken(format!("a datagram of {received} bytes did not fit")));
        }
        let mut messages = Vec::new();
        let mut rest = &self.buffer[..];
        while rest.len() >= 4 {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if length < 16 || length > rest.len() {
                return Err(broken(format!("a message of {length} in {} bytes", rest.len())));
            }
            messages.push(
                NetlinkMessage::deserialize(&rest[..length]).map_err(|error| broken(error.to_string())),
            );
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Ok(messages)
    }
}

fn acknowledged(header: &NetlinkHeader, error: &ErrorMessage, what: &str) -> Result<(), Refusal> {
    let Some(code) = error.code else {
        return Ok(());
    };
    // The extended answer follows the header of the refused message, which alone is echoed.
    let told = header.flags & NLM_F_ACK_TLVS != 0;
    let detail = told
        .then(|| error.header.get(16..))
        .flatten()
        .and_then(extended_message);
    Err(Refusal {
        what: what.into(),
        errno: Errno::from_raw(code.get().saturating_abs()),
        detail,
    })
}

/// `NLMSGERR_ATTR_MSG` of `linux/netlink.h`.
const EXTENDED_MESSAGE: u16 = 1;

fn extended_message(attributes: &[u8]) -> Option<String> {
    NlasIterator::new(attributes)
        .filter_map(|attribute| DefaultNla::parse(&attribute.ok()?).ok())
        .find(|attribute| attribute.kind() == EXTENDED_MESSAGE)
        .map(|attribute| {
            let mut text = vec![0; attribute.value_len()];
            attribute.emit_value(&mut text);
            String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned()
        })
}

fn broken(operation: String) -> NetlinkError {
    NetlinkError::Socket {
        operation,
        source: io::ErrorKind::InvalidData.into(),
    }
}
