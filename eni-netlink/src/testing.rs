//! A runner for tests that need a kernel of their own (feature `test-support`).
//!
//! A test target with `harness = false` hands its tests over in `main`:
//!
//! ```no_run
//! use eni_netlink::testing::{KernelTest, kernel_tests};
//!
//! fn main() -> std::process::ExitCode {
//!     kernel_tests(vec![KernelTest::new("a_new_namespace_is_empty", || {
//!         // The calling thread is alone in a new network namespace, with every right in it.
//!     })])
//! }
//! ```
//!
//! As root the tests run in a network and mount namespace apart from the machine's; as anybody else in a
//! user namespace too. Where the kernel permits neither, or `ip` of iproute2 (by which tests check what
//! they did) is not there, they are left out, and a banner on the standard error says so; with
//! `ENI_REQUIRE_KERNEL=1` in the environment that is a failure.

use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::{env, fs, io};

use libtest_mimic::{Arguments, Trial};
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::namespace::Namespace;

/// The variable that turns tests left out into a failure.
pub const REQUIRE: &str = "ENI_REQUIRE_KERNEL";

/// One test, which runs on a thread of its own in a new network namespace.
#[derive(Clone, Copy, Debug)]
pub struct KernelTest {
    name: &'static str,
    body: fn(),
}

impl KernelTest {
    /// A test that fails by panicking.
    pub fn new(name: &'static str, body: fn()) -> Self {
        Self { name, body }
    }

    fn run(self) -> Result<(), libtest_mimic::Failed> {
        Namespace::anonymous()?.run_in(self.body)?;
        Ok(())
    }
}

/// Runs the tests as the command line says (`cargo test`'s usual arguments). To be called first in
/// `main`, while the process has a single thread: the kernel asks for that.
pub fn kernel_tests(tests: Vec<KernelTest>) -> ExitCode {
    let obstacle = isolate().and_then(|()| probe()).err();
    if let Some(obstacle) = &obstacle {
        eprintln!("{}", banner(&tests, obstacle));
        if env::var_os(REQUIRE).is_some_and(|value| value == "1") {
            return ExitCode::FAILURE;
        }
    }
    let trial =
        |test: KernelTest| Trial::test(test.name, move || test.run()).with_ignored_flag(obstacle.is_some());
    let trials = tests.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Leaves the machine's network and mount namespaces, for a test program with a runner of its own. To be called first
/// in `main`, while the process has a single thread.
///
/// # Errors
///
/// Why the kernel permits it neither to root nor in a user namespace.
pub fn isolate() -> Result<(), String> {
    let apart = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    let (uid, gid) = (geteuid(), getegid());
    let as_root = if uid.is_root() {
        unshare(apart)
    } else {
        Err(nix::Error::EPERM)
    };
    if as_root.is_err() {
        unshare(apart | CloneFlags::CLONE_NEWUSER)
            .map_err(|errno| format!("the kernel permits no user namespace: {errno}"))?;
        let map = |file: &str, text: String| {
            fs::write(format!("/proc/self/{file}"), text)
                .map_err(|error| format!("cannot write {file}: {error}"))
        };
        map("setgroups", "deny".into())?;
        map("uid_map", format!("0 {uid} 1"))?;
        map("gid_map", format!("0 {gid} 1"))?;
    }
    nix::mount::mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .map_err(|errno| format!("cannot make the mounts private: {errno}"))
}

/// Tries what every test needs.
fn probe() -> Result<(), String> {
    let namespace = Namespace::anonymous().map_err(|error| error.to_string())?;
    let made = namespace.run_in(|| ip("link add probe0 type veth peer name probe1"));
    made.map_err(|error| error.to_string())?
        .map(drop)
        .map_err(|error| format!("cannot make a pair of devices with `ip` of iproute2: {error}"))
}

/// What `ip` of iproute2 prints, run in the calling thread's namespace.
///
/// # Errors
///
/// What it prints to its standard error when it fails.
pub fn ip(arguments: &str) -> io::Result<String> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!(
            "ip {arguments}: {}",
            complaint.trim_end()
        )))
    }
}

fn banner(tests: &[KernelTest], obstacle: &str) -> String {
    let line = "!".repeat(100);
    let mut text = format!(
        "\n{line}\n{} KERNEL TESTS ARE LEFT OUT: nothing about routes, rules and devices is tested here.\n\
         Why: {obstacle}\nRun them as root or where user namespaces are permitted, with iproute2.\n\
         {REQUIRE}=1 makes this a failure. Left out:\n",
        tests.len()
    );
    for test in tests {
        // Writing to a string cannot fail.
        let _: Result<(), std::fmt::Error> = writeln!(text, "  {}", test.name);
    }
    text + &line
}
