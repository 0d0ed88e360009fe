//! The kernel tests as an ordinary user: they work in a user namespace, or skip and say so.

use std::{
    io::Cursor,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{Message, TargetKind};

use super::suite::count;
use crate::{
    run::{capture, cargo, succeeded},
    stage::{Failure, Outcome, REQUIRE_KERNEL, Workspace},
};

/// The crates whose integration tests set up networks.
const CRATES: [&str; 2] = ["eni-netlink", "cni"];

/// The user `nobody`, who owns nothing.
const NOBODY: &str = "65534";

/// Shows a directory to everybody in a mount namespace of its own: `$1` is the directory, `$2` the one
/// above it that is closed to others, the rest the command. A tree below `/root` is the usual case.
const SHOW: &str = r#"
set -eu
shown=$1 closed=$2; shift 2
aside=$(mktemp --directory)
mount --bind "$shown" "$aside"
mount --types tmpfs --options mode=755 tmpfs "$closed"
mkdir --parents "$shown"
mount --move "$aside" "$shown"
rmdir "$aside"
exec "$@"
"#;

/// Runs the kernel tests without any privilege.
pub(super) fn unprivileged(workspace: &Workspace) -> Result<Outcome, Failure> {
    if !workspace.superuser {
        return Ok(Outcome::noted("the stage `test` ran as an ordinary user already"));
    }
    let programs = programs()?;
    count(
        programs
            .iter()
            .map(|program| as_nobody(program, &workspace.target)),
    )
}

/// The test programs, which the stage `test` has built with the same features.
fn programs() -> Result<Vec<PathBuf>, Failure> {
    let build = [
        "test",
        "--workspace",
        "--all-features",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ];
    let mut command = cargo(build);
    let (status, messages) = capture(&mut command)?;
    succeeded(&command, status, Vec::new())?;
    let unreadable = |error| Failure::rule(format!("cargo's messages cannot be read: {error}"), Vec::new());
    let mut programs = Vec::new();
    for message in Message::parse_stream(Cursor::new(messages)) {
        if let Message::CompilerArtifact(artifact) = message.map_err(unreadable)?
            && artifact.target.kind.contains(&TargetKind::Test)
            && CRATES.iter().any(|name| is_of(&artifact.package_id.repr, name))
        {
            programs.extend(artifact.executable.map(PathBuf::from));
        }
    }
    Ok(programs)
}

/// Whether a package id, `path+file:///…/eni-netlink#0.1.0`, is that of a crate here.
fn is_of(id: &str, name: &str) -> bool {
    let (path, fragment) = id.split_once('#').unwrap_or((id, ""));
    path.rsplit('/').next() == Some(name) || fragment.starts_with(&format!("{name}@"))
}

/// A program as `nobody`, who need not be able to reach the directory it is in.
fn as_nobody(program: &Path, target: &Path) -> Command {
    let mut command = match closed(target) {
        None => Command::new("setpriv"),
        Some(closed) => {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation=private", "sh", "-c", SHOW, "show"]);
            command.args([target, &closed]).arg("setpriv");
            command
        }
    };
    command
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"])
        .arg(program)
        .current_dir("/")
        .env("HOME", "/")
        .env_remove(REQUIRE_KERNEL);
    command
}

/// The topmost directory on the way to `path`, itself included, that others may not enter.
fn closed(path: &Path) -> Option<PathBuf> {
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    way.into_iter()
        .find(|directory| !open(directory))
        .map(Path::to_owned)
}

/// Whether others may enter a directory; one that cannot be looked at is left to fail by itself.
fn open(directory: &Path) -> bool {
    std::fs::metadata(directory).map_or(true, |data| data.permissions().mode() & 0o001 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_ids_are_told_apart() {
        assert!(is_of("path+file:///w/eni-netlink#0.1.0", "eni-netlink"));
        assert!(is_of("path+file:///w/examples/plugins#cni@0.1.0", "cni"));
        assert!(!is_of("path+file:///w/examples/cni-tools#0.1.0", "cni"));
        assert!(!is_of("registry+https://example.org/index#cni-x@1.0.0", "cni"));
    }

    #[test]
    fn the_topmost_closed_directory_is_found() {
        let top = std::env::temp_dir().join(format!("eni-testbed-{}", std::process::id()));
        let inner = top.join("inner");
        std::fs::create_dir_all(&inner).unwrap();
        let mode = |mode| {
            std::fs::set_permissions(&top, std::fs::Permissions::from_mode(mode)).unwrap();
            closed(&inner)
        };
        let (shut, passable) = (mode(0o700), mode(0o711));
        std::fs::remove_dir_all(&top).unwrap();
        assert_eq!(shut, Some(top));
        assert_eq!(passable, None);
    }
}
