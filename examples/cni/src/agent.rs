//! The node's agent, as a plugin sees it.

use std::{error, future::Future, time::Duration};

use agent_api::{
    DelRecord, Endpoint, Spool,
    proto::{self, agent_client::AgentClient},
    spoken,
};
use eni_core::model::PodAddresses;
use futures::TryFutureExt as _;
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout_at},
};
use tonic::{
    Response, Status, Streaming,
    transport::{self, Channel},
};
use tower::service_fn;

use crate::{
    conf::Attachment,
    error::{Code, Error},
    skeleton::Call,
};

/// A connection to the agent.
pub(crate) struct Agent<'a> {
    rpc: AgentClient<Channel>,
    endpoint: &'a Endpoint,
    call: &'a Call,
    deadline: Instant,
}

/// What an interface owns.
pub(crate) struct Grant {
    pub(crate) addresses: PodAddresses,
    pub(crate) table: u32,
}

/// A grant whose ADD is still under way: until it is dropped, a DEL of the interface waits.
pub(crate) struct OpenGrant {
    pub(crate) grant: Grant,
    _stream: Streaming<proto::AddReply>,
}

/// How the agent stands.
pub(crate) enum Standing {
    /// It would serve an ADD.
    Ready,
    /// It would not, for this reason.
    NotReady(String),
    /// Nor may pods that run reach everything.
    Limited(String),
}

/// A call that the agent did not carry out.
pub(crate) enum Failure {
    /// It is not there, or went away before it answered.
    Away(Error),
    /// It answered no.
    Refused(Error),
}

impl<'a> Agent<'a> {
    /// Connects to the agent. An error means that it is not there.
    pub(crate) async fn connect(
        endpoint: &'a Endpoint,
        call: &'a Call,
        deadline: Instant,
    ) -> Result<Self, Error> {
        // gRPC wants a host's name; the agent does not look at it.
        let channel = transport::Endpoint::from_static("http://agent");
        let connected = async {
            match endpoint {
                Endpoint::Unix(path) => {
                    let path = path.clone();
                    let connect = move |_| UnixStream::connect(path.clone()).map_ok(TokioIo::new);
                    channel.connect_with_connector(service_fn(connect)).await
                }
                Endpoint::Loopback(address) => {
                    let address = *address;
                    let connect = move |_| TcpStream::connect(address).map_ok(TokioIo::new);
                    channel.connect_with_connector(service_fn(connect)).await
                }
            }
        };
        let channel = timeout_at(deadline, connected)
            .await
            .map_err(|_| late(endpoint))?
            .map_err(|error| away(endpoint, &error))?;
        Ok(Self {
            rpc: AgentClient::new(channel),
            endpoint,
            call,
            deadline,
        })
    }

    /// Gives another deadline to the calls that follow.
    pub(crate) fn until(mut self, deadline: Instant) -> Self {
        self.deadline = deadline;
        self
    }

    /// Asks for the interface's addresses, and waits for them in order.
    pub(crate) async fn add(&mut self) -> Result<OpenGrant, Failure> {
        let env = &self.call.env;
        // An IPAM plugin does not depend on it; without, the agent knows the sandbox by its id alone.
        let netns = env.existing_netns().ok();
        let request = proto::AddRequest {
            versions: Some(spoken()),
            interface: Some((&self.call.key()).into()),
            netns: env.netns.clone().unwrap_or_default(),
            pod: env.pod.as_ref().map(|pod| proto::Pod {
                namespace: pod.namespace.to_string(),
                name: pod.name.to_string(),
                uid: env.pod_uid.as_ref().map(ToString::to_string).unwrap_or_default(),
            }),
            started_ns: nanoseconds(self.call.started),
            deadline_ms: self.patience(),
            netns_device: netns.as_ref().map_or(0, |netns| netns.device),
            netns_inode: netns.as_ref().map_or(0, |netns| netns.inode),
        };
        let mut rpc = self.rpc.clone();
        let answer = async {
            let mut stream = rpc.add(request).await?.into_inner();
            let first = stream.message().await?;
            Ok(Response::new((first, stream)))
        };
        let (first, stream) = self.within(answer).await?;
        let grant = read(first.and_then(|reply| reply.grant)).map_err(Failure::Refused)?;
        Ok(OpenGrant {
            grant,
            _stream: stream,
        })
    }

    /// Gives the interface's addresses back; which they were.
    pub(crate) async fn del(&mut self) -> Result<Option<PodAddresses>, Failure> {
        let request = proto::DelRequest {
            versions: Some(spoken()),
            interface: Some((&self.call.key()).into()),
            started_ns: nanoseconds(self.call.started),
            deadline_ms: self.patience(),
        };
        let mut rpc = self.rpc.clone();
        let reply = self.within(rpc.del(request)).await?;
        match reply.released.as_slice() {
            [] => Ok(None),
            released => read_addresses(released).map(Some).map_err(Failure::Refused),
        }
    }

    /// What the interface owns.
    pub(crate) async fn check(&mut self) -> Result<Grant, Failure> {
        let request = proto::CheckRequest {
            versions: Some(spoken()),
            interface: Some((&self.call.key()).into()),
        };
        let mut rpc = self.rpc.clone();
        let reply = self.within(rpc.check(request)).await?;
        read(reply.grant).map_err(Failure::Refused)
    }

    /// Whether it would serve an ADD.
    pub(crate) async fn status(&mut self) -> Result<Standing, Failure> {
        let request = proto::StatusRequest {
            versions: Some(spoken()),
        };
        let mut rpc = self.rpc.clone();
        let reply = self.within(rpc.status(request)).await?;
        Ok(match reply {
            reply if reply.ready => Standing::Ready,
            reply if reply.limited => Standing::Limited(reply.reason),
            reply => Standing::NotReady(reply.reason),
        })
    }

    /// Takes back what belongs to none of these attachments; what could not be, with the reason.
    pub(crate) async fn gc(&mut self, valid: Vec<Attachment>) -> Result<Vec<String>, Failure> {
        let network = &self.call.conf.network;
        let valid = valid.into_iter().map(|attachment| proto::Interface {
            network: network.clone(),
            container_id: attachment.container,
            name: attachment.interface,
        });
        let request = proto::GcRequest {
            versions: Some(spoken()),
            network: network.clone(),
            valid: valid.collect(),
        };
        let mut rpc = self.rpc.clone();
        Ok(self.within(rpc.gc(request)).await?.failed)
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match timeout_at(self.deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(failure(self.endpoint, &status)),
            Err(_) => Err(Failure::Refused(late(self.endpoint))),
        }
    }

    /// How long the agent may take: a little less than there is, so that its answer still arrives.
    fn patience(&self) -> u32 {
        let left = self.deadline.saturating_duration_since(Instant::now());
        u32::try_from((left * 9 / 10).as_millis()).unwrap_or(u32::MAX)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(error) | Failure::Refused(error) => error,
        }
    }
}

/// Records a DEL for an agent that is away, durably.
pub(crate) fn record_del(endpoint: &Endpoint, call: &Call) -> Result<(), Error> {
    let failed = |error: &dyn error::Error| {
        Error::new(
            Code::Io,
            format!("the agent on {endpoint} is away, and the DEL cannot be recorded for it: {error}"),
        )
    };
    let record = DelRecord::new(call.key(), call.started).map_err(|error| failed(&error))?;
    Spool::new(endpoint.spool_directory())
        .write(&record)
        .map_err(|error| failed(&error))
}

fn failure(endpoint: &Endpoint, status: &Status) -> Failure {
    // An answer of the agent comes without a source; one that the transport made up has one.
    if let Some(source) = error::Error::source(status) {
        return Failure::Away(away(endpoint, source));
    }
    let code = match status.code() {
        tonic::Code::DeadlineExceeded | tonic::Code::Aborted => Code::TryAgainLater,
        tonic::Code::Unavailable => return Failure::Away(Error::new(Code::TryAgainLater, status.message())),
        tonic::Code::Internal => Code::Io,
        tonic::Code::Unimplemented => {
            let sentence =
                format!("the agent on {endpoint} does not know this call; update it, or install its plugins");
            return Failure::Refused(Error::new(Code::Refused, sentence));
        }
        _ => Code::Refused,
    };
    Failure::Refused(Error::new(code, status.message()))
}

fn away(endpoint: &Endpoint, error: &(dyn error::Error + 'static)) -> Error {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Error::new(
        Code::TryAgainLater,
        format!("the agent does not answer on {endpoint}: {cause}; see whether its pod runs on this node"),
    )
}

fn late(endpoint: &Endpoint) -> Error {
    Error::new(
        Code::TryAgainLater,
        format!("the agent on {endpoint} did not answer in time; see its log"),
    )
}

fn read(grant: Option<proto::Grant>) -> Result<Grant, Error> {
    let grant = grant.ok_or_else(|| nonsense("no grant"))?;
    Ok(Grant {
        addresses: read_addresses(&grant.addresses)?,
        table: grant.table,
    })
}

fn read_addresses(addresses: &[String]) -> Result<PodAddresses, Error> {
    if addresses.is_empty() {
        return Err(nonsense("no address"));
    }
    addresses
        .iter()
        .map(|text| {
            text.parse()
                .map_err(|_| nonsense(&format!("the address `{text}`")))
        })
        .collect()
}

fn nonsense(answer: &str) -> Error {
    Error::new(
        Code::Refused,
        format!("the agent answered with {answer}, which this plugin does not understand"),
    )
}

fn nanoseconds(since_boot: Duration) -> u64 {
    // 584 years fit.
    since_boot.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: Status) -> (bool, Error) {
        match failure(&Endpoint::default(), &status) {
            Failure::Away(error) => (true, error),
            Failure::Refused(error) => (false, error),
        }
    }

    #[test]
    fn each_answer_has_its_code_and_keeps_its_sentence() {
        for (status, code) in [
            (Status::deadline_exceeded("s"), Code::TryAgainLater),
            (Status::aborted("s"), Code::TryAgainLater),
            (Status::internal("s"), Code::Io),
            (Status::cancelled("s"), Code::Refused),
            (Status::failed_precondition("s"), Code::Refused),
            (Status::not_found("s"), Code::Refused),
            (Status::invalid_argument("s"), Code::Refused),
        ] {
            assert_eq!(judged(status), (false, Error::new(code, "s")));
        }
        assert_eq!(
            judged(Status::unavailable("s")),
            (true, Error::new(Code::TryAgainLater, "s"))
        );
    }

    #[test]
    fn a_broken_connection_is_an_absent_agent() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let (away, error) = judged(Status::from_error(Box::new(reset)));
        assert!(away);
        assert_eq!(error.code, Code::TryAgainLater);
        assert!(error.to_string().contains(Endpoint::DEFAULT), "{error}");
    }

    #[test]
    fn a_grant_is_understood_or_refused() {
        let grant = |addresses: &[&str]| {
            let addresses = addresses.iter().map(ToString::to_string).collect();
            read(Some(proto::Grant {
                addresses,
                table: 4003,
                eni: "eni-1".to_owned(),
            }))
        };
        let read = grant(&["10.0.0.7", "fd00::7"]).ok().unwrap();
        assert_eq!(
            (read.addresses.to_string(), read.table),
            ("10.0.0.7,fd00::7".to_owned(), 4003)
        );
        assert!(grant(&[]).is_err());
        assert!(grant(&["10.0.0.7/32"]).is_err());
        assert!(super::read(None).is_err());
    }
}
