//! The protocol of scheduler extenders: what `kube-scheduler` posts and what it wants back.
//!
//! The types are those of `k8s.io/kube-scheduler/extender/v1`, whose fields bear no JSON names of their own and so are in
//! CamelCase; schedulers before 1.17 wrote them in lower case, and read either. Node objects are never decoded: of a
//! list in which they come whole only the names are read, and those that fit are sent back as they came.

mod answer;
mod bind;
mod request;

pub use answer::{Binding, Filtered, Preempted, Reason, Scored, Victims};
pub use bind::{BindError, Binder};
pub use request::{Args, BindingArgs, Candidates, PreemptionArgs};
