//! Our programs, built next to this one.

use std::{
    env, io,
    path::Path,
    process::{Command, Stdio},
};

/// The agent, and the plugins that it puts on the node from its own directory.
pub(super) const AGENT: [&str; 3] = ["tke-eni-agent", "tke-route-eni", "tke-eni-ipamc"];

/// ipamd.
pub(super) const IPAMD: [&str; 1] = ["tke-eni-ipamd"];

/// The scheduler's extender.
pub(super) const IP_SCHEDULER: [&str; 1] = ["tke-eni-ip-scheduler"];

/// The packages that they are of.
pub(in crate::cluster) const PACKAGES: [&str; 4] = ["agent", "cni", "ipamd", "ip-scheduler"];

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
