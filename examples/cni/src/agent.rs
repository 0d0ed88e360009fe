//! The node's agent, as a plugin sees it.

use std::time::{Duration, Instant};

use agent_api::{DelRecord, Endpoint, Spool, proto, spoken};
use eni_core::model::PodAddresses;

use crate::{
    conf::Attachment,
    error::{Code, Error},
    rpc::{Failed, GrpcCode, Open, Rpc, Status},
    skeleton::Call,
};

/// A connection to the agent.
pub(crate) struct Agent<'a> {
    rpc: Rpc,
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
    _answer: Open,
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
    pub(crate) fn connect(endpoint: &'a Endpoint, call: &'a Call, deadline: Instant) -> Result<Self, Error> {
        let rpc =
            Rpc::connect(endpoint, deadline).map_err(|failed| Error::from(failure(endpoint, failed)))?;
        Ok(Self {
            rpc,
            endpoint,
            call,
            deadline,
        })
    }

    /// Asks for the interface's addresses, and waits for them in order.
    pub(crate) fn add(&mut self) -> Result<OpenGrant, Failure> {
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
        let (first, answer) = self
            .rpc
            .open::<proto::AddReply>("Add", &request, self.deadline)
            .map_err(|failed| failure(self.endpoint, failed))?;
        let grant = read(first.grant).map_err(Failure::Refused)?;
        Ok(OpenGrant {
            grant,
            _answer: answer,
        })
    }

    /// Gives the interface's addresses back; which they were.
    pub(crate) fn del(&mut self) -> Result<Option<PodAddresses>, Failure> {
        let request = proto::DelRequest {
            versions: Some(spoken()),
            interface: Some((&self.call.key()).into()),
            started_ns: nanoseconds(self.call.started),
            deadline_ms: self.patience(),
        };
        let reply: proto::DelReply = self.ask("Del", &request)?;
        match reply.released.as_slice() {
            [] => Ok(None),
            released => read_addresses(released).map(Some).map_err(Failure::Refused),
        }
    }

    /// What the interface owns.
    pub(crate) fn check(&mut self) -> Result<Grant, Failure> {
        let request = proto::CheckRequest {
            versions: Some(spoken()),
            interface: Some((&self.call.key()).into()),
        };
        let reply: proto::CheckReply = self.ask("Check", &request)?;
        read(reply.grant).map_err(Failure::Refused)
    }

    /// Whether it would serve an ADD.
    pub(crate) fn status(&mut self) -> Result<Standing, Failure> {
        let request = proto::StatusRequest {
            versions: Some(spoken()),
        };
        let reply: proto::StatusReply = self.ask("Status", &request)?;
        Ok(match reply {
            reply if reply.ready => Standing::Ready,
            reply if reply.limited => Standing::Limited(reply.reason),
            reply => Standing::NotReady(reply.reason),
        })
    }

    /// Takes back what belongs to none of these attachments; what could not be, with the reason.
    pub(crate) fn gc(&mut self, valid: Vec<Attachment>) -> Result<Vec<String>, Failure> {
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
        let reply: proto::GcReply = self.ask("Gc", &request)?;
        Ok(reply.failed)
    }

    fn ask<T: prost::Message + Default>(
        &mut self,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<T, Failure> {
        let answer = self.rpc.call(method, request, self.deadline);
        answer.map_err(|failed| failure(self.endpoint, failed))
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
    let failed = |error: &dyn std::error::Error| {
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

fn failure(endpoint: &Endpoint, failed: Failed) -> Failure {
    let Status { code, message } = match failed {
        Failed::Late => return Failure::Refused(late(endpoint)),
        Failed::Away(why) => return Failure::Away(away(endpoint, &why)),
        Failed::Refused(status) => status,
    };
    let code = match code {
        GrpcCode::DeadlineExceeded | GrpcCode::Aborted => Code::TryAgainLater,
        GrpcCode::Unavailable => return Failure::Away(Error::new(Code::TryAgainLater, message)),
        GrpcCode::Internal => Code::Io,
        GrpcCode::Unimplemented => {
            let sentence =
                format!("the agent on {endpoint} does not know this call; update it, or install its plugins");
            return Failure::Refused(Error::new(Code::Refused, sentence));
        }
        GrpcCode::Other(_) => Code::Refused,
    };
    Failure::Refused(Error::new(code, message))
}

fn away(endpoint: &Endpoint, why: &str) -> Error {
    Error::new(
        Code::TryAgainLater,
        format!("the agent does not answer on {endpoint}: {why}; see whether its pod runs on this node"),
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

    fn judged(failed: Failed) -> (bool, Error) {
        match failure(&Endpoint::default(), failed) {
            Failure::Away(error) => (true, error),
            Failure::Refused(error) => (false, error),
        }
    }

    #[test]
    fn each_answer_has_its_code_and_keeps_its_sentence() {
        let refused = |code| {
            let message = "s".to_owned();
            Failed::Refused(Status { code, message })
        };
        for (grpc, code) in [
            (GrpcCode::DeadlineExceeded, Code::TryAgainLater),
            (GrpcCode::Aborted, Code::TryAgainLater),
            (GrpcCode::Internal, Code::Io),
            (GrpcCode::Other(9), Code::Refused),
        ] {
            assert_eq!(judged(refused(grpc)), (false, Error::new(code, "s")));
        }
        assert_eq!(
            judged(refused(GrpcCode::Unavailable)),
            (true, Error::new(Code::TryAgainLater, "s"))
        );
    }

    #[test]
    fn a_broken_connection_is_an_absent_agent() {
        let (away, error) = judged(Failed::Away("connection reset".to_owned()));
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
