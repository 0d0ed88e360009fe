//! Kubernetes' programs, downloaded and built unless they are there.

use crate::{
    kubernetes::{Binaries, programs},
    stage::{Failure, Outcome, REQUIRE_KERNEL, Workspace},
};

/// Gets the programs. A machine without Debian's archive does without, unless nothing may be skipped.
pub(super) fn kubernetes(workspace: &Workspace) -> Result<Outcome, Failure> {
    match Binaries::provide(programs::CLUSTER) {
        Ok(_) => Ok(Outcome::default()),
        Err(failure) if workspace.kernel_required => Err(failure),
        Err(failure) => Ok(Outcome::noted(format!(
            "{failure}; without Kubernetes the tests against an API server and in a cluster are left out \
             ({REQUIRE_KERNEL}=1 forbids that)"
        ))),
    }
}
