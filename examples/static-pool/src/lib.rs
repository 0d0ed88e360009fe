//! A cloud that is none: machines whose spare interfaces are wired already, and ranges of addresses that nobody else
//! uses, as in a rack of one's own, or on OpenStack where ports allow pairs of addresses.
//!
//! It is the worked example of [`eni_core::cloud::guide`]. An ENI is a *port*: a
//! line in a book that holds addresses. Attaching it gives it one of the machine's spare interfaces, whose MAC it has
//! from then on; assigning an address writes it into the port. On a network that lets every interface send from every
//! address that is all; where ports are guarded, the one place that writes the book is where the network is told, too.
//!
//! * [`Plan`]: what there is, as a file says it.
//! * `book`: who has what. Pure.
//! * [`StaticPool`]: the book on disk, behind the core's trait `Cloud`.
#![deny(missing_docs)]

mod book;
mod plan;
mod pool;

pub use plan::{Machine, Plan, PlanError, Range};
pub use pool::{OpenError, StaticPool};
