//! The tests in whole clusters that take longer than what they show can break from one change to the next.

use super::suite::count;
use crate::{
    kubernetes::{Binaries, REQUIRE_KUBERNETES, programs},
    run::cargo,
    stage::{Failure, Outcome, Workspace},
};

/// The testbed itself, on the reference plugins; a minute without the API server; and a node that dies.
const TESTS: [&str; 3] = ["bridge::", "eni::a_minute_without_the_api_server", "static::"];

/// Runs what the gate's own run of the tests ignores.
pub(super) fn clusters(_: &Workspace) -> Result<Outcome, Failure> {
    Binaries::provide(programs::CLUSTER)?;
    // Such a program takes one filter.
    let commands = TESTS.map(|filter| {
        let mut command = cargo(["test", "--package", "testbed", "--test", "cluster", "--"]);
        command.args(["--ignored", filter]).env(REQUIRE_KUBERNETES, "1");
        command
    });
    count(commands)
}
