//! gRPC without a runtime: one call after the other over one connection, on the calling thread.
//!
//! A plugin lives for two or three calls. A runtime and a channel, which serve thousands at once, cost it more than the
//! calls themselves. What is left to do here is to let HTTP/2 write all it has and then wait for one answer of the agent.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use agent_api::Endpoint;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{
    RecvStream,
    client::{Builder, Connection, SendRequest},
};
use http::{HeaderMap, Request, StatusCode};
use percent_encoding::percent_decode;
use prost::Message;

/// The flag and the length before a message ("Length-Prefixed-Message" of gRPC over HTTP/2).
const PREFIX: usize = 5;

/// The longest message that is taken for one; the agent's are below a kilobyte.
const LONGEST: usize = 1 << 20;

/// The service of `agent.proto`. The host is one because HTTP wants it; the agent does not look at it.
const SERVICE: &str = "http://agent/eni.agent.v1.Agent/";

/// A connection on which calls are made one after the other.
pub(crate) struct Rpc {
    requests: SendRequest<Bytes>,
    connection: Connection<Wire, Bytes>,
    line: Rc<Line>,
    closed: bool,
}

/// A call whose answer goes on until this is dropped.
pub(crate) struct Open(#[expect(dead_code, reason = "it is held, not read")] RecvStream);

/// A call that failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// There was no answer in time.
    Late,
    /// The agent is not there, or went away before it answered.
    Away(String),
    /// It answered no.
    Refused(Status),
}

/// An answer without a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: GrpcCode,
    pub(crate) message: String,
}

/// Why the agent refuses ("Status codes and their use in gRPC"), as far as it makes a difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrpcCode {
    DeadlineExceeded,
    Aborted,
    Unimplemented,
    Internal,
    Unavailable,
    Other(u32),
}

impl GrpcCode {
    fn new(number: u32) -> Self {
        match number {
            4 => Self::DeadlineExceeded,
            10 => Self::Aborted,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            other => Self::Other(other),
        }
    }
}

impl Rpc {
    /// Connects to an endpoint.
    pub(crate) fn connect(endpoint: &Endpoint, deadline: Instant) -> Result<Self, Failed> {
        let socket: Box<dyn Socket> = match endpoint {
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path).map_err(away)?),
            Endpoint::Loopback(address) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let left = left.max(Duration::from_millis(1));
                Box::new(TcpStream::connect_timeout(address, left).map_err(away)?)
            }
        };
        let line = Rc::new(Line {
            reads: Cell::new(false),
            deadline: Cell::new(deadline),
        });
        let wire = Wire {
            socket,
            line: line.clone(),
        };
        // It writes the preface and waits for nothing.
        let handshake = pin!(Builder::new().enable_push(false).handshake(wire));
        match handshake.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok((requests, connection))) => Ok(Self {
                requests,
                connection,
                line,
                closed: false,
            }),
            Poll::Ready(Err(error)) => Err(away(error)),
            Poll::Pending => Err(Failed::Away("the connection cannot be opened".to_owned())),
        }
    }

    /// A call with one answer.
    pub(crate) fn call<T: Message + Default>(
        &mut self,
        method: &str,
        request: &impl Message,
        deadline: Instant,
    ) -> Result<T, Failed> {
        let mut body = self.ask(method, request, deadline)?;
        let answer = self.message(&mut body)?;
        let trailers = self.drive(poll_fn(|context| body.poll_trailers(context)))?;
        status(&trailers.map_err(away)?.unwrap_or_default())?;
        answer.ok_or_else(|| Failed::Away("an answer without a message".to_owned()))
    }

    /// The first message of a call whose answer goes on.
    pub(crate) fn open<T: Message + Default>(
        &mut self,
        method: &str,
        request: &impl Message,
        deadline: Instant,
    ) -> Result<(T, Open), Failed> {
        let mut body = self.ask(method, request, deadline)?;
        if let Some(first) = self.message(&mut body)? {
            return Ok((first, Open(body)));
        }
        let trailers = self.drive(poll_fn(|context| body.poll_trailers(context)))?;
        status(&trailers.map_err(away)?.unwrap_or_default())?;
        Err(Failed::Away("an answer without a message".to_owned()))
    }

    fn ask(&mut self, method: &str, request: &impl Message, deadline: Instant) -> Result<RecvStream, Failed> {
        self.line.deadline.set(deadline);
        let head = Request::post(format!("{SERVICE}{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(());
        let ready = self.requests.clone().ready();
        let mut requests = self.drive(ready)?.map_err(away)?;
        let (answer, mut body) = requests.send_request(head.map_err(away)?, false).map_err(away)?;
        body.send_data(framed(request), true).map_err(away)?;
        let answer = self.drive(answer)?.map_err(away)?;
        if answer.status() != StatusCode::OK {
            return Err(Failed::Away(format!("it answers HTTP {}", answer.status())));
        }
        let (head, body) = answer.into_parts();
        // An answer without a message has its status at once.
        if head.headers.contains_key("grpc-status") {
            status(&head.headers)?;
        }
        Ok(body)
    }

    /// The next message of an answer; none where it ends before one.
    fn message<T: Message + Default>(&mut self, body: &mut RecvStream) -> Result<Option<T>, Failed> {
        let nonsense = |what: String| Failed::Away(format!("an answer that makes no sense: {what}"));
        let mut read = BytesMut::new();
        while let Some(data) = self.drive(poll_fn(|context| body.poll_data(context)))? {
            let data = data.map_err(away)?;
            body.flow_control().release_capacity(data.len()).map_err(away)?;
            read.extend_from_slice(&data);
            let Some((mut prefix, rest)) = read.split_at_checked(PREFIX) else {
                continue;
            };
            let (compressed, length) = (prefix.get_u8() != 0, prefix.get_u32() as usize);
            if compressed || length > LONGEST {
                return Err(nonsense(format!(
                    "a message of {length} bytes, or a compressed one"
                )));
            }
            if let Some(message) = rest.get(..length) {
                return T::decode(message)
                    .map(Some)
                    .map_err(|error| nonsense(error.to_string()));
            }
        }
        match read.is_empty() {
            true => Ok(None),
            false => Err(nonsense("it ends within a message".to_owned())),
        }
    }

    /// Waits for something of the connection: writes all there is to be written, then reads what comes next, until it
    /// is there.
    fn drive<T>(&mut self, wanted: impl Future<Output = T>) -> Result<T, Failed> {
        let mut wanted = pin!(wanted);
        let mut context = Context::from_waker(Waker::noop());
        let mut reads = false;
        loop {
            self.line.reads.set(reads);
            if !self.closed
                && let Poll::Ready(ended) = Pin::new(&mut self.connection).poll(&mut context)
            {
                self.closed = true;
                if let Err(error) = ended {
                    return Err(match Instant::now() < self.line.deadline.get() {
                        true => away(error),
                        false => Failed::Late,
                    });
                }
            }
            if let Poll::Ready(value) = wanted.as_mut().poll(&mut context) {
                return Ok(value);
            }
            if self.closed {
                return Err(Failed::Away("it closed the connection".to_owned()));
            }
            reads = !reads;
        }
    }
}

fn away(error: impl std::fmt::Display) -> Failed {
    Failed::Away(error.to_string())
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    // Far below 4 GiB: it is made of what a plugin's environment and configuration say.
    bytes.put_u32(length as u32);
    message.encode(&mut bytes).expect("the buffer grows as needed");
    bytes.freeze()
}

/// What the trailers say.
fn status(trailers: &HeaderMap) -> Result<(), Failed> {
    let text = |name| trailers.get(name).map(http::HeaderValue::as_bytes);
    let code = text("grpc-status").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    match code {
        Some(0) => Ok(()),
        Some(number) => Err(Failed::Refused(Status {
            code: GrpcCode::new(number),
            message: percent_decode(text("grpc-message").unwrap_or_default())
                .decode_utf8_lossy()
                .into_owned(),
        })),
        None => Err(Failed::Away("an answer without a status".to_owned())),
    }
}

/// What the connection may do now.
struct Line {
    /// It may read once, which waits for the agent.
    reads: Cell<bool>,
    /// Until when that may wait.
    deadline: Cell<Instant>,
}

/// A socket that blocks.
trait Socket: Read + Write {
    /// How long a reading may wait.
    fn set_patience(&self, patience: Duration) -> io::Result<()>;
}

impl Socket for UnixStream {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
}

impl Socket for TcpStream {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
}

/// A blocking socket as HTTP/2 wants it: what is written is written at once, and read is only when it may.
struct Wire {
    socket: Box<dyn Socket>,
    line: Rc<Line>,
}

impl tokio::io::AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.line.reads.replace(false) {
            return Poll::Pending;
        }
        let mut read = || {
            let left = self.line.deadline.get().saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.socket.set_patience(left)?;
            self.socket.read(buffer.initialize_unfilled())
        };
        let read = loop {
            match read() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        Poll::Ready(read.map(|count| buffer.advance(count)))
    }
}

impl tokio::io::AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.socket.write_all(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use agent_api::proto::{CheckReply, CheckRequest};

    use super::*;

    /// What a call comes to whose other side does this.
    fn with(patience: Duration, peer: impl FnOnce(UnixStream) + Send + 'static) -> Failed {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let peer = thread::spawn(move || peer(listener.accept().unwrap().0));
        let deadline = Instant::now() + patience;
        let mut rpc = Rpc::connect(&Endpoint::Unix(path), deadline).ok().unwrap();
        let failed = rpc.call::<CheckReply>("Check", &CheckRequest::default(), deadline);
        drop(rpc);
        peer.join().unwrap();
        failed.unwrap_err()
    }

    #[test]
    fn a_silent_agent_is_late_and_one_that_hangs_up_or_babbles_is_away() {
        let until_end = |mut stream: UnixStream| drop(stream.read_to_end(&mut Vec::new()));
        let late = with(Duration::from_millis(50), until_end);
        assert!(matches!(late, Failed::Late), "{late:?}");
        let patient = Duration::from_secs(30);
        let gone = with(patient, drop);
        assert!(matches!(gone, Failed::Away(_)), "{gone:?}");
        let babbles = with(patient, |mut stream| {
            stream.write_all(&[b'x'; 64]).unwrap();
            drop(stream.read_to_end(&mut Vec::new()));
        });
        assert!(matches!(babbles, Failed::Away(_)), "{babbles:?}");
    }

    #[test]
    fn trailers_tell_how_it_went() {
        let trailers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let value = |text: &'static str| http::HeaderValue::from_static(text);
            pairs
                .iter()
                .map(|(name, text)| (http::HeaderName::from_static(name), value(text)))
                .collect()
        };
        assert!(status(&trailers(&[("grpc-status", "0")])).is_ok());
        let refused = trailers(&[("grpc-status", "14"), ("grpc-message", "it%20stops%3A 100%25")]);
        let Err(Failed::Refused(refused)) = status(&refused) else {
            panic!("status 14 is none");
        };
        let expected = Status {
            code: GrpcCode::Unavailable,
            message: "it stops: 100%".to_owned(),
        };
        assert_eq!(refused, expected);
        for nonsense in [&[][..], &[("grpc-status", "x")]] {
            let nonsense = status(&trailers(nonsense));
            assert!(matches!(nonsense, Err(Failed::Away(_))), "{nonsense:?}");
        }
    }
}
