//! The stages that are one call of cargo.

use crate::{
    run::{cargo, run},
    stage::{Failure, Outcome, Workspace},
};

/// Every source file is as rustfmt would write it.
pub(super) fn fmt(_: &Workspace) -> Result<Outcome, Failure> {
    call(cargo(["fmt", "--all", "--check", "--", "--color=never"]))
}

/// Every target with every feature is free of lints.
pub(super) fn clippy(_: &Workspace) -> Result<Outcome, Failure> {
    let targets = ["clippy", "--workspace", "--all-targets", "--all-features"];
    call(cargo(targets.into_iter().chain(["--", "-D", "warnings"])))
}

/// Every link in the documentation leads somewhere.
pub(super) fn doc(_: &Workspace) -> Result<Outcome, Failure> {
    let mut command = cargo(["doc", "--workspace", "--no-deps", "--all-features"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    call(command)
}

/// The programs that tests of other crates run, which `cargo test` alone does not build.
pub(super) fn build(_: &Workspace) -> Result<Outcome, Failure> {
    call(cargo(["build", "--workspace", "--all-features", "--bins"]))
}

fn call(mut command: std::process::Command) -> Result<Outcome, Failure> {
    run(&mut command).map(|()| Outcome::default())
}
