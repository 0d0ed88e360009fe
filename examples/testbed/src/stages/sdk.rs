//! Tencent's SDK for Python, in a virtual environment below the target directory.

use std::{fs, process::Command};

use super::install::apt_get;
use crate::{
    run::{run, succeeds},
    stage::{Failure, Workspace},
};

/// What the tests of `eni-cloud-tencent` want, each at one version.
const REQUIREMENTS: &str = "eni-cloud-tencent/tests/sdk/requirements.txt";

/// The environment variable that forbids tests to skip for want of the SDK.
pub(super) const REQUIRE_SDK: &str = "ENI_REQUIRE_SDK";

/// Installs it, unless it is there. Where it need not be there, a failure is a note.
pub(super) fn install(workspace: &Workspace) -> Result<Option<String>, Failure> {
    match attempt(workspace) {
        Err(failure) if !workspace.kernel_required => Ok(Some(format!(
            "Tencent's SDK is not installed, which costs the tests that drive the simulator with it: {failure}"
        ))),
        result => result.map(|()| None),
    }
}

fn attempt(workspace: &Workspace) -> Result<(), Failure> {
    let environment = workspace.target.join("python-sdk");
    let unreadable = |error| Failure::rule(format!("{REQUIREMENTS} cannot be read: {error}"), Vec::new());
    let requirements = fs::read_to_string(workspace.root.join(REQUIREMENTS)).map_err(unreadable)?;
    let installed = environment.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|text| text == requirements) {
        return Ok(());
    }
    if workspace.superuser && !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        apt_get(&["update"])?;
        apt_get(&["install", "--yes", "--no-install-recommends", "python3-venv"])?;
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    run(Command::new(environment.join("bin/pip"))
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ])
        .arg(workspace.root.join(REQUIREMENTS)))?;
    fs::write(&installed, requirements).map_err(|error| {
        Failure::rule(
            format!("{} cannot be written: {error}", installed.display()),
            Vec::new(),
        )
    })
}
