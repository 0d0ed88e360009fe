//! Runs a large cluster in virtual time, measures what it costs this process, and says what came of it.

use std::{
    alloc::System,
    io::{self, IsTerminal},
    sync::Arc,
    time::{Duration, Instant},
};

use cap::Cap;
use eni_core::sim::scale::{Observer, Scale, scale};
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;

use crate::options;

/// How often a terminal is told how far it is.
const NEWS: Duration = Duration::from_secs(2);

/// Runs the cluster; whether everything is within its limits.
pub fn run(wanted: &options::Scale, allocator: &'static Cap<System>) -> bool {
    let began = Instant::now();
    let scenario = Scale {
        nodes: wanted.nodes,
        pods: wanted.pods,
        calls_per_second: wanted.calls_per_second,
        ..Scale::default()
    };
    let process = Process {
        allocator,
        told: Mutex::new(io::stderr().is_terminal().then_some(began)),
    };
    let report = scale(&scenario, Arc::new(process));
    match (wanted.json, serde_json::to_string(&report)) {
        (true, Ok(text)) => println!("{text}"),
        (true, Err(error)) => {
            eprintln!("\nerror: {error}");
            return false;
        }
        (false, _) => println!(
            "{report}\n{:.0} s have passed on this machine",
            began.elapsed().as_secs_f64()
        ),
    }
    report.broken.is_empty()
}

/// This process, which computes everything on the calling thread.
struct Process {
    allocator: &'static Cap<System>,
    /// When a terminal was told last; `None` without one.
    told: Mutex<Option<Instant>>,
}

impl Observer for Process {
    fn computed(&self) -> Duration {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
        time.map_or(Duration::ZERO, Duration::from)
    }

    fn allocated(&self) -> u64 {
        self.allocator.allocated() as u64
    }

    fn progress(&self, phase: &'static str, elapsed: Duration, served: usize) {
        let mut told = self.told.lock();
        let Some(last) = told.filter(|last| last.elapsed() > NEWS) else {
            return;
        };
        let now = last + last.elapsed();
        *told = Some(now);
        eprintln!(
            "{phase}: {:.0} s of virtual time, {served} pods served",
            elapsed.as_secs_f64()
        );
    }
}
