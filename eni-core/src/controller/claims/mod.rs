//! Static addresses: the claim of every pod, taken through its life one written step at a time.
//!
//! What the cluster says of claims and their pods is in the [`Book`]; a turn decides a claim's next step
//! ([`decide`](crate::policy::claim::decide)) and writes it. What needs the cloud is not done here: the turn of the
//! node whose ENI has the address, or is to have it, sees by the claims what to do.

mod book;
mod records;
mod sight;
mod turn;

pub(super) use book::Book;
