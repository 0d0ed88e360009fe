//! Upstream's own tests of pod networks, against a cluster on ENIs.

use super::suite::count;
use crate::{
    kubernetes::{Binaries, REQUIRE_KUBERNETES, programs},
    run::cargo,
    stage::{Failure, Outcome, Workspace},
};

/// The test that runs them; without the programs it is ignored.
const TEST: &str = "eni::upstream_conformance_of_pod_networks_passes";

/// Builds them, which takes minutes, and runs them.
pub(super) fn conformance(_: &Workspace) -> Result<Outcome, Failure> {
    Binaries::provide(programs::CLUSTER)?;
    Binaries::provide(programs::CONFORMANCE)?;
    let mut command = cargo(["test", "--package", "testbed", "--test", "cluster"]);
    command.args(["--", "--exact", TEST]).env(REQUIRE_KUBERNETES, "1");
    count([command])
}
