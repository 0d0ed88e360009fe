//! Runs many seeds of the simulation side by side, and says what came of them.

use std::{
    io::{self, IsTerminal},
    num::NonZeroUsize,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use eni_core::sim::world::{FAULTS, Outcome, Scenario, simulate};

use crate::options::Simulate;

/// How often a terminal is told how far it is.
const NEWS: Duration = Duration::from_secs(2);

/// Runs the seeds; whether every invariant held.
pub fn run(wanted: &Simulate) -> bool {
    let usual = Scenario::default();
    let without = wanted.without.clone().unwrap_or_else(|| usual.without.clone());
    let known = |name: &String| name == "all" || FAULTS.contains(&name.as_str());
    if let Some(name) = without.iter().find(|name| !known(name)) {
        eprintln!(
            "there is no fault `{name}`; there are: all, {}",
            FAULTS.join(", ")
        );
        return false;
    }
    let scenario = Scenario {
        print: wanted.trace,
        claims: wanted.claims,
        faults: !without.iter().any(|name| name == "all"),
        without,
        ..usual
    };
    let (from, count) = match wanted.seed {
        Some(seed) => (seed, 1),
        None => (wanted.from, wanted.seeds),
    };
    let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = wanted.jobs.map_or_else(cores, NonZeroUsize::get);
    let next = AtomicU64::new(from);
    let end = from.saturating_add(count);
    let mut tally = Tally::new(count);
    let (done, outcomes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (done, next, scenario) = (done.clone(), &next, &scenario);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || done.send(simulate(seed, scenario)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        for outcome in outcomes {
            tally.add(&outcome);
            if tally.violations >= wanted.stop_after {
                next.store(end, Ordering::Relaxed);
            }
        }
    });
    println!("{}", tally.line());
    tally.violations == 0
}

/// What came of the seeds so far.
struct Tally {
    wanted: u64,
    seeds: u64,
    steps: u64,
    virtual_time: Duration,
    violations: u64,
    began: Instant,
    told: Instant,
}

impl Tally {
    fn new(wanted: u64) -> Self {
        let began = Instant::now();
        Self {
            wanted,
            seeds: 0,
            steps: 0,
            virtual_time: Duration::ZERO,
            violations: 0,
            began,
            told: began,
        }
    }

    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.virtual_time += outcome.time;
        if outcome.violation.is_some() {
            self.violations += 1;
            println!("{outcome}\n");
        } else if self.wanted == 1 {
            println!("{outcome}");
        }
        if io::stderr().is_terminal() && self.told.elapsed() > NEWS {
            self.told = Instant::now();
            eprintln!("{}", self.line());
        }
    }

    fn line(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-9);
        format!(
            "{} of {} seeds, {} steps, {:.1} days of virtual time in {seconds:.1} s ({:.0} seeds/s, {:.0} steps/s); \
             {} violations",
            self.seeds,
            self.wanted,
            self.steps,
            self.virtual_time.as_secs_f64() / 86_400.0,
            self.seeds as f64 / seconds,
            self.steps as f64 / seconds,
            self.violations
        )
    }
}
