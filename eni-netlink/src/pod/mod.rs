//! Pods on the wire: a pair of devices, routes, neighbours and rules.

mod inside;
mod plan;
mod unwire;
mod verify;
mod wire;

pub use self::plan::{V4_ROUTER, V6_ROUTER};
pub(crate) use self::unwire::{unwire, unwire_again};
pub(crate) use self::verify::verify;
pub(crate) use self::wire::wire;
