//! What must hold at every step, one file each. They see the truth and what is about to happen.

mod accounting;
mod acknowledged;
mod claims;
mod creation;
mod deleted;
mod foreign;
mod handshake;
mod leadership;
mod losses;
mod ownership;
mod pace;
mod removal;
mod witnesses;

use tokio::time::Instant;

use super::{event::Event, truth::Truth};

/// Whether something may happen; if not, why.
type Check = fn(&Truth, &Event<'_>, Instant) -> Result<(), String>;

/// Every invariant, by the words in which a failure names it.
const ALL: [(&str, Check); 13] = [
    ("1: an address has one owner, and is attached", ownership::check),
    ("2: what is owned is not taken away", removal::check),
    ("2: what is released was offered back", handshake::check),
    ("3: every accepted address is accounted for", accounting::check),
    ("4: an acknowledged ADD lasts", acknowledged::check),
    ("5: a removal has two witnesses", witnesses::check),
    ("6: what is not ours is not touched", foreign::check),
    ("7: cloud calls are bounded", pace::check),
    ("9: a creation happens once", creation::check),
    ("10: a replaced leader destroys nothing", leadership::check),
    ("11: what is deleted is off the wire", deleted::check),
    ("12: only what is lost is told as lost", losses::check),
    ("13: a static address is its claim's", claims::check),
];

/// The first invariant that an event breaks, and how.
pub(super) fn judge(truth: &Truth, event: &Event<'_>, now: Instant) -> Option<(&'static str, String)> {
    ALL.iter()
        .find_map(|(name, check)| check(truth, event, now).err().map(|how| (*name, how)))
}
