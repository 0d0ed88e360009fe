//! Our programs, built next to this one.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::cluster::ClusterError;

/// What nodes run of ours: the agent, and the plugins that it puts on the node from its own directory.
const PROGRAMS: [&str; 3] = ["tke-eni-agent", "tke-route-eni", "tke-eni-ipamc"];

/// The packages that they are of.
const PACKAGES: [&str; 2] = ["agent", "cni"];

/// The agent of nodes, in a directory with all our programs.
pub(in crate::cluster) fn agent(directory: &Path) -> Result<PathBuf, ClusterError> {
    let [agent, ..] = PROGRAMS.map(|program| directory.join(program));
    match PROGRAMS
        .iter()
        .map(|program| directory.join(program))
        .find(|program| !program.is_file())
    {
        Some(missing) => Err(ClusterError::Program(missing)),
        None => Ok(agent),
    }
}

/// Has cargo build them into `directory`, if cargo runs us: it knows best what is out of date.
pub(in crate::cluster) fn build(directory: &Path) -> io::Result<()> {
    let Some(cargo) = env::var_os("CARGO") else {
        return Ok(());
    };
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        // The one profile whose directory bears another name.
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--bins", "--profile", profile]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    if let Some(target) = directory.parent() {
        command.arg("--target-dir").arg(target);
    }
    if let Some(package) = env::var_os("CARGO_MANIFEST_DIR") {
        // The caller may stand outside the workspace.
        command.current_dir(package);
    }
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{command:?}: {status}"))),
    }
}
