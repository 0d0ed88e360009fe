//! Runs each test in a VPC of its own; all of them in namespaces of this process.

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use fabric::isolate::{self, RunDirectory};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::time::{sleep, timeout};

/// No test takes longer on a machine that is not broken.
const LIMIT: Duration = Duration::from_secs(120);

/// A named test and its body.
pub(crate) struct Case(
    &'static str,
    Box<dyn FnOnce(PathBuf) -> Result<(), Failed> + Send>,
);

/// A test that gets an empty directory.
pub(crate) fn trial<F, T>(name: &'static str, body: F) -> Case
where
    F: FnOnce(PathBuf) -> T + Send + 'static,
    T: Future<Output = Result<(), Failed>>,
{
    let run = move |directory| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(async { timeout(LIMIT, body(directory)).await })?
    };
    Case(name, Box::new(run))
}

/// Runs the tests. Where the kernel forbids namespaces they are left out, and a banner says so; with
/// `ENI_REQUIRE_KERNEL=1` in the environment that is a failure.
pub(crate) fn main(cases: Vec<Case>) -> ExitCode {
    // While there is one thread: the kernel gives a user namespace to no other process.
    let run = isolate::enter().and_then(|_| RunDirectory::create());
    if let Err(error) = &run {
        eprintln!("*** {} tests are LEFT OUT ***\n{error}", cases.len());
        if std::env::var_os("ENI_REQUIRE_KERNEL").is_some_and(|value| value == "1") {
            return ExitCode::FAILURE;
        }
    }
    let root = run.as_ref().map(|run| run.path().to_owned()).unwrap_or_default();
    let next = Arc::new(AtomicU32::new(0));
    let trials = cases
        .into_iter()
        .map(|Case(name, body)| {
            let (root, next) = (root.clone(), next.clone());
            let trial = move || body(make_directory(&root, next.fetch_add(1, Ordering::Relaxed))?);
            Trial::test(name, trial).with_ignored_flag(run.is_err())
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Waits until `condition` holds, for a bounded time.
pub(crate) async fn eventually<F>(what: &str, mut condition: impl FnMut() -> F) -> Result<(), Failed>
where
    F: Future<Output = bool>,
{
    for _ in 0..200 {
        if condition().await {
            return Ok(());
        }
        sleep(Duration::from_millis(25)).await;
    }
    Err(format!("{what}: not within 5 s").into())
}

fn make_directory(root: &Path, number: u32) -> std::io::Result<PathBuf> {
    let directory = root.join(number.to_string());
    std::fs::create_dir(&directory)?;
    Ok(directory)
}
