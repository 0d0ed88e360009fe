//! What happened, step by step: a hash of all of it, and the last of it in words.

use std::{collections::VecDeque, fmt, time::Duration};

/// How many steps a failure shows.
const SHOWN: usize = 60;

/// One step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) who: String,
    pub(super) action: &'static str,
    pub(super) resource: String,
    pub(super) outcome: &'static str,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            who,
            action,
            resource,
            outcome,
        } = self;
        write!(
            f,
            "{:>10.3}s {who:<12} {action:<18} {outcome:<12} {resource}",
            at.as_secs_f64()
        )
    }
}

/// The steps so far.
#[derive(Debug)]
pub(super) struct Trace {
    last: VecDeque<Step>,
    hash: u64,
    steps: u64,
    print: bool,
}

impl Trace {
    pub(super) fn new(print: bool) -> Self {
        Self {
            last: VecDeque::with_capacity(SHOWN),
            // The offset basis of FNV-1a.
            hash: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            print,
        }
    }

    pub(super) fn push(&mut self, step: Step) {
        self.steps += 1;
        self.mix(&step.at.as_nanos().to_le_bytes());
        for part in [&step.who, step.action, &step.resource, step.outcome] {
            self.mix(part.as_bytes());
        }
        if self.print {
            println!("{step}");
        }
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(step);
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn last(&self) -> Vec<String> {
        self.last.iter().map(Step::to_string).collect()
    }
}
