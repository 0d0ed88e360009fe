//! How many listings must say the same before it is believed. No I/O.

use tokio::time::Instant;

use super::seen::LAG;

/// How many listings in a row must lack what nobody ordered away. One may lack something at any time, and two
/// may be all that an outage leaves of a lag.
pub(in crate::controller) const AGREEING: u32 = 3;
/// As many for what we ordered away.
const AGREEING_ON_ORDER: u32 = 2;

/// Complete listings in a row that say the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    first: Instant,
    last: Instant,
    listings: u32,
}

impl Run {
    /// A listing that began at `asked` is the first.
    pub(super) fn first(asked: Instant) -> Self {
        Self {
            first: asked,
            last: asked,
            listings: 1,
        }
    }

    /// One that began at `asked` is another; that a listing is told twice adds nothing.
    pub(super) fn again(self, asked: Instant) -> Self {
        Self {
            first: self.first,
            last: self.last.max(asked),
            listings: self.listings + u32::from(asked > self.last),
        }
    }

    /// When the first of them began.
    pub(super) fn since(self) -> Instant {
        self.first
    }

    /// Whether it is more than one.
    pub(super) fn is_repeated(self) -> bool {
        self.listings >= AGREEING_ON_ORDER
    }

    /// Whether what they say is certain: for longer than listings may lag, in enough of them.
    pub(super) fn is_certain(self, ordered: bool) -> bool {
        let agreeing = if ordered { AGREEING_ON_ORDER } else { AGREEING };
        self.last >= self.first + LAG && self.listings >= agreeing
    }
}
