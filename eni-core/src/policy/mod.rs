//! Sizing, choice and judgement, as pure functions of what is known.
//!
//! Each room answers one question and knows no cloud, no cluster and no clock of its own.

mod advertise;
mod choice;
pub mod claim;
mod departure;
mod grant;
mod leak;
mod sizing;
mod warm;

pub use advertise::{Advertise, Allowance, InvalidAdvertise, advertised, to_report, to_tell};
pub use choice::{Spread, spread};
pub use departure::{Implausible, LISTING_LAG, Roll};
pub use grant::{Claimant, Deal, GrantPolicy, Ledger, Share, Stock, deal};
pub use leak::{Judgement, LEAK_AGE, LEAKS_PER_ROUND, Leaks, confirms_leak};
pub use sizing::{Sizing, ceiling, offer};
pub use warm::{InvalidWarmRange, warm_range};
