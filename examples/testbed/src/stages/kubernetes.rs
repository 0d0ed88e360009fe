//! etcd and kube-apiserver, downloaded and built unless they are there.

use crate::{
    kubernetes::Binaries,
    stage::{Failure, Outcome, REQUIRE_KERNEL, Workspace},
};

/// Gets the programs. A machine without Debian's archive does without, unless nothing may be skipped.
pub(super) fn kubernetes(workspace: &Workspace) -> Result<Outcome, Failure> {
    match Binaries::provide() {
        Ok(_) => Ok(Outcome::default()),
        Err(failure) if workspace.kernel_required => Err(failure),
        Err(failure) => Ok(Outcome::noted(format!(
            "{failure}; without an API server the tests of eni-kube against one are left out \
             ({REQUIRE_KERNEL}=1 forbids that)"
        ))),
    }
}
