//! What the checks need and the machine lacks: Debian packages, one tool of cargo's, and Tencent's SDK.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::sdk;
use crate::{
    run::{cargo, run, succeeds},
    stage::{Failure, Outcome, REQUIRE_KERNEL, Workspace},
};

/// The version that is installed if there is none.
const CARGO_DENY: &str = "0.20.2";

/// A Debian package, a program of its by which it is found on any system, and what is lost without it.
#[derive(Debug)]
struct Package {
    name: &'static str,
    program: &'static str,
    costs: &'static str,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "iproute2",
        program: "ip",
        costs: "the kernel tests, which read with it what we set up",
    },
    Package {
        name: "iptables",
        program: "iptables",
        costs: "the tests of the pod network beside iptables rules",
    },
    Package {
        name: "containernetworking-plugins",
        program: "host-local",
        costs: "the tests that chain our plugin with the reference ones",
    },
    Package {
        name: "containerd",
        program: "containerd",
        costs: "clusters (`cargo testbed up`) and the tests in one",
    },
    Package {
        name: "conntrack",
        program: "conntrack",
        costs: "clusters (`cargo testbed up`) and the tests in one, whose kube-proxy runs it",
    },
];

/// Where programs are, PATH apart: an ordinary user's lacks the first two, and CNI plugins have their own.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/lib/cni", "/opt/cni/bin"];

/// Installs what is missing; an ordinary user only hears of it.
pub(super) fn install(workspace: &Workspace) -> Result<Outcome, Failure> {
    if !succeeds(cargo_deny(workspace).arg("--version")) {
        // It runs for a second: optimizing it would take longer than everything it ever does.
        let version = format!("cargo-deny@{CARGO_DENY}");
        let mut command = cargo(["install", "--debug", "--locked", &version, "--root"]);
        run(command.arg(tools(workspace)))?;
    }
    let mut outcome = packages(workspace)?;
    outcome.notes.extend(sdk::install(workspace)?);
    Ok(outcome)
}

fn packages(workspace: &Workspace) -> Result<Outcome, Failure> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(Outcome::default());
    }
    if workspace.superuser {
        apt_get(&["update"])?;
        let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
        apt_get(&[&["install", "--yes", "--no-install-recommends"], &*names].concat())?;
        return Ok(Outcome::default());
    }
    let lost: Vec<String> = missing
        .iter()
        .map(|package| {
            format!(
                "`apt-get install {}`, or without: {}",
                package.name, package.costs
            )
        })
        .collect();
    match workspace.kernel_required {
        true => Err(Failure::rule(
            format!("packages are missing, and {REQUIRE_KERNEL} forbids to do without"),
            lost,
        )),
        false => Ok(Outcome {
            notes: lost,
            ..Outcome::default()
        }),
    }
}

/// cargo-deny: the user's own, or ours below the target directory.
pub(super) fn cargo_deny(workspace: &Workspace) -> Command {
    if succeeds(&mut cargo(["deny", "--version"])) {
        return cargo(["deny"]);
    }
    Command::new(tools(workspace).join("bin/cargo-deny"))
}

fn tools(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}

fn missing() -> Vec<&'static Package> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(DIRECTORIES.map(PathBuf::from))
        .collect();
    let exists = |program: &str| {
        directories
            .iter()
            .any(|directory: &PathBuf| is_file(directory, program))
    };
    PACKAGES
        .iter()
        .filter(|package| !exists(package.program))
        .collect()
}

fn is_file(directory: &Path, program: &str) -> bool {
    directory.join(program).is_file()
}

pub(super) fn apt_get(arguments: &[&str]) -> Result<(), Failure> {
    run(Command::new("apt-get")
        .arg("--quiet")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}
