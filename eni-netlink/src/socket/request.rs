//! One request to the kernel, and its refusal.

use std::fmt;

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;

/// One request of an exchange.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it does, with its arguments, such as `add rule 512 to 10.0.0.7/32`: an error of the kernel
    /// says little more than a number.
    pub what: String,
    /// The message.
    pub message: RouteNetlinkMessage,
    /// Its flags, without REQUEST and ACK, which every request has.
    pub flags: u16,
}

impl Request {
    /// Reads, changes or deletes what exists.
    pub fn new(what: impl Into<String>, message: RouteNetlinkMessage) -> Self {
        Self {
            what: what.into(),
            message,
            flags: 0,
        }
    }

    /// Adds what must not exist: the kernel answers EEXIST if it does.
    pub fn create(what: impl Into<String>, message: RouteNetlinkMessage) -> Self {
        Self {
            what: what.into(),
            message,
            flags: NLM_F_CREATE | NLM_F_EXCL,
        }
    }

    /// Adds, or puts in the place of what exists. Never for rules: the kernel adds them twice.
    pub fn replace(what: impl Into<String>, message: RouteNetlinkMessage) -> Self {
        Self {
            what: what.into(),
            message,
            flags: NLM_F_CREATE | NLM_F_REPLACE,
        }
    }
}

/// The kernel's refusal of one request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// What was asked.
    pub what: String,
    /// Why not.
    pub errno: Errno,
    /// The kernel's own words, where it has some.
    pub detail: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.errno)?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

/// What became of one request: what the kernel sent besides its acknowledgement, if anything.
pub type Outcome = Result<Option<RouteNetlinkMessage>, Refusal>;

/// Takes `errnos` for success: what was to be there is there already, or what was to go is gone.
pub fn tolerate(outcome: Outcome, errnos: &[Errno]) -> Outcome {
    match outcome {
        Err(refusal) if errnos.contains(&refusal.errno) => Ok(None),
        outcome => outcome,
    }
}
