//! Finds the CNI plugins: the very executables that are shipped, built next to this one.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The plugins that a run executes.
pub const PLUGINS: [&str; 2] = ["tke-route-eni", "tke-eni-ipamc"];

/// How the plugins are linked that are shipped; what `examples/deploy` builds has the same. Of a plugin's life its start
/// is a good part, and of that the loader of its libraries and the moving of its addresses; besides, it runs on a node
/// whatever C library that has.
pub const SHIPPED: [&str; 6] = [
    "-C",
    "target-feature=+crt-static",
    "-C",
    "relocation-model=static",
    "-C",
    "panic=abort",
];

/// Why the plugins cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The path of this program cannot be told.
    #[error("the path of this program is unknown ({0}); name the plugins' directory with --plugins")]
    Own(#[source] io::Error),
    /// They are not there, and cargo is not at hand to build them.
    #[error(
        "there is no `{name}` in {directory}; build it with `cargo build -p cni`, \
         or name its directory with --plugins"
    )]
    Missing {
        /// The plugin.
        name: &'static str,
        /// Where it should be.
        directory: PathBuf,
    },
    /// Cargo did not build them.
    #[error("`{command}` failed ({reason}); the CNI plugins are not built")]
    Build {
        /// The command.
        command: String,
        /// How it ended.
        reason: String,
    },
}

/// The directory of the plugins: `given`, or the one of this program, where cargo builds them first.
///
/// `cargo run` builds the programs of one package only, and the plugins are another's. Cargo itself
/// knows best what is out of date, so it is asked each time it started us.
pub fn locate(given: Option<&Path>) -> Result<PathBuf, PluginError> {
    let directory = match given {
        Some(directory) => directory.to_owned(),
        None => {
            let directory = own_directory()?;
            if let Some(cargo) = env::var_os("CARGO") {
                build(Path::new(&cargo), &directory)?;
            }
            directory
        }
    };
    match PLUGINS.into_iter().find(|name| !directory.join(name).is_file()) {
        Some(name) => Err(PluginError::Missing { name, directory }),
        None => Ok(directory),
    }
}

/// `target/<profile>`, also for a test, which cargo puts one level below.
fn own_directory() -> Result<PathBuf, PluginError> {
    let mut directory = env::current_exe().map_err(PluginError::Own)?;
    directory.pop();
    if directory.ends_with("deps") {
        directory.pop();
    }
    Ok(directory)
}

fn build(cargo: &Path, directory: &Path) -> Result<(), PluginError> {
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        // The one profile whose directory bears another name.
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    if profile == "dev" {
        return call(
            cargo,
            directory,
            &["build", "--package", "cni", "--bins", "--profile", profile],
            &[],
        );
    }
    for plugin in PLUGINS {
        let build = ["rustc", "--package", "cni", "--bin", plugin, "--profile", profile];
        call(cargo, directory, &build, &SHIPPED)?;
    }
    Ok(())
}

fn call(cargo: &Path, directory: &Path, build: &[&str], flags: &[&str]) -> Result<(), PluginError> {
    let mut command = Command::new(cargo);
    command.args(build).stdin(Stdio::null()).stdout(Stdio::null());
    if let Some(target) = directory.parent() {
        command.arg("--target-dir").arg(target);
    }
    if let Some(package) = env::var_os("CARGO_MANIFEST_DIR") {
        // The caller may stand outside the workspace.
        command.current_dir(package);
    }
    if !flags.is_empty() {
        command.arg("--").args(flags);
    }
    let ended = command.status();
    let reason = match ended {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    Err(PluginError::Build {
        command: format!("{command:?}"),
        reason,
    })
}
