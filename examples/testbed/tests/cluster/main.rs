//! Whole clusters: what pods do in one, and that nothing of one is left.

mod eni;
mod life;
mod pods;

use std::{
    process::ExitCode,
    sync::{Arc, Once, OnceLock},
};

use libtest_mimic::{Arguments, Failed, Trial};
use testbed::cluster::{Cluster, Cni, Options};

type Outcome = Result<(), Failed>;

/// A test in a cluster that others use too.
type Case = (&'static str, fn(&Bed) -> Outcome);

/// The cluster that the tests of one network share; it comes up with the first that runs.
#[derive(Debug)]
struct Bed {
    cluster: Cluster,
    cni: Cni,
    /// That its pods were made.
    applied: Once,
}

/// None where there can be no cluster, which was told.
type Shared = Arc<OnceLock<Option<Bed>>>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let directory = match tempfile::Builder::new().prefix("testbed-").tempdir() {
        Ok(directory) => directory,
        Err(error) => {
            eprintln!("no directory for clusters: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    let mut beds = Vec::new();
    for (network, cni) in [("eni", Cni::Eni), ("bridge", Cni::Bridge)] {
        let bed = Shared::default();
        let options = Options {
            state: directory.path().join(network),
            nodes: 2,
            cni,
        };
        let mut cases = pods::CASES.to_vec();
        if cni == Cni::Eni {
            cases.extend_from_slice(eni::CASES);
            cases.push(eni::LAST);
        }
        cases.push(pods::LAST);
        for (name, body) in cases {
            let (bed, options) = (bed.clone(), options.clone());
            let up = move || {
                let cluster = Cluster::for_tests("the tests in a cluster", &options)?;
                let applied = Once::new();
                Some(Bed {
                    cluster,
                    cni,
                    applied,
                })
            };
            trials.push(Trial::test(format!("{network}::{name}"), move || {
                bed.get_or_init(up).as_ref().map_or(Ok(()), body)
            }));
        }
        beds.push(bed);
    }
    for (name, body) in life::CASES {
        let state = directory.path().join(name);
        trials.push(Trial::test(format!("life::{name}"), move || body(&state)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Before the directory goes.
    drop(beds);
    conclusion.exit_code()
}
