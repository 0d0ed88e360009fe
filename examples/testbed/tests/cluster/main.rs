//! Whole clusters: what pods do in one, and that nothing of one is left.

mod agreement;
mod conformance;
mod eni;
mod faults;
mod life;
mod pings;
mod pods;
mod statics;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, Once, OnceLock, PoisonError, RwLock},
    time::Instant,
};

use jiff::Timestamp;
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
    /// Held by tests that need the whole cluster to themselves; others share it.
    peace: RwLock<()>,
    /// When its API server was started again, and when it was ready.
    starts: Mutex<Vec<(Timestamp, Timestamp)>>,
}

/// None where there can be no cluster, which was told.
type Shared = Arc<OnceLock<Option<Bed>>>;

/// Cases of minutes, which the long stage `clusters` runs with those on the reference plugins.
const LONG: [&str; 2] = [faults::OUTAGE_CASE, statics::LAST.0];

/// Runs a case and tells how long it took: these are the longest of all.
fn timed(name: &str, body: impl FnOnce() -> Outcome) -> Outcome {
    let begun = Instant::now();
    let outcome = body();
    println!("{name}: {:.0} s", begun.elapsed().as_secs_f64());
    outcome
}

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
    let networks = [
        ("eni", Cni::Eni, 2),
        ("static", Cni::EniStatic, 3),
        ("bridge", Cni::Bridge, 2),
    ];
    for (network, cni, nodes) in networks {
        let bed = Shared::default();
        let options = Options {
            state: directory.path().join(network),
            nodes,
            cni,
        };
        let shared = |case: &Case| (*case, false);
        let common = match cni {
            Cni::EniStatic => statics::CASES,
            Cni::Eni | Cni::Bridge | Cni::None => pods::CASES,
        };
        let mut cases: Vec<(Case, bool)> = common.iter().map(shared).collect();
        if cni == Cni::Eni {
            cases.extend(eni::CASES.iter().map(shared));
            cases.push((conformance::CASE, false));
            cases.extend(faults::CASES.iter().map(|case| (*case, true)));
            cases.extend(eni::LAST.iter().map(shared));
        }
        cases.push((pods::LAST, false));
        if cni == Cni::EniStatic {
            cases.push((statics::LAST, true));
        }
        for ((name, body), alone) in cases {
            let (bed, options) = (bed.clone(), options.clone());
            let up = move || {
                let cluster = Cluster::for_tests("the tests in a cluster", &options)?;
                Some(Bed {
                    cluster,
                    cni,
                    applied: Once::new(),
                    peace: RwLock::default(),
                    starts: Mutex::default(),
                })
            };
            let trial = Trial::test(format!("{network}::{name}"), move || {
                let Some(bed) = bed.get_or_init(up) else {
                    return Ok(());
                };
                // What a failed test left is as good as what it would have left.
                let (_shared, _alone) = match alone {
                    false => (
                        Some(bed.peace.read().unwrap_or_else(PoisonError::into_inner)),
                        None,
                    ),
                    true => (
                        None,
                        Some(bed.peace.write().unwrap_or_else(PoisonError::into_inner)),
                    ),
                };
                timed(name, || body(bed))
            });
            let ignored = match name {
                name if name == conformance::CASE.0 => !conformance::is_possible(),
                name => cni == Cni::Bridge || LONG.contains(&name),
            };
            trials.push(trial.with_ignored_flag(ignored));
        }
        beds.push(bed);
    }
    for (name, body) in life::CASES {
        let state = directory.path().join(name);
        trials.push(Trial::test(format!("life::{name}"), move || {
            timed(name, || body(&state))
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Before the directory goes.
    drop(beds);
    conclusion.exit_code()
}
