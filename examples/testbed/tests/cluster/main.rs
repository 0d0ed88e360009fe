//! Whole clusters: what pods do in one, and that nothing of one is left.

mod bridge;
mod life;

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use libtest_mimic::{Arguments, Failed, Trial};
use testbed::cluster::{Cluster, Cni, Options};

type Outcome = Result<(), Failed>;

/// The cluster that the tests of one network share; it comes up with the first that runs.
type Shared = Arc<OnceLock<Option<Cluster>>>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let directory = match tempfile::Builder::new().prefix("testbed-").tempdir() {
        Ok(directory) => directory,
        Err(error) => {
            eprintln!("no directory for clusters: {error}");
            return ExitCode::FAILURE;
        }
    };
    let bridged = Shared::default();
    let options = Options {
        state: directory.path().join("bridge"),
        nodes: 2,
        cni: Cni::Bridge,
    };
    let mut trials = Vec::new();
    for (name, body) in bridge::CASES {
        let (shared, options) = (bridged.clone(), options.clone());
        trials.push(Trial::test(*name, move || {
            let up = || Cluster::for_tests("the tests in a cluster", &options);
            shared.get_or_init(up).as_ref().map_or(Ok(()), body)
        }));
    }
    for (name, body) in life::CASES {
        let state = directory.path().join(name);
        trials.push(Trial::test(*name, move || body(&state)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Before the directory goes.
    drop(bridged);
    conclusion.exit_code()
}
