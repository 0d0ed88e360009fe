//! Where the programs are, and getting them once.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use nix::fcntl::{Flock, FlockArg};

use super::{Unavailable, build, debian::Debian};
use crate::stage::{Failure, Workspace};

/// The environment variable that names the directory in which the programs are kept.
const CACHE: &str = "ENI_TESTBED_CACHE";

/// The programs of a control plane.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The directory that holds them.
    directory: PathBuf,
}

impl Binaries {
    /// The programs that were built before.
    pub fn cached() -> Result<Self, Unavailable> {
        let binaries = Self::place()?;
        for program in [binaries.etcd(), binaries.kube_apiserver()] {
            if !program.is_file() {
                return Err(Unavailable::Missing(program));
            }
        }
        Ok(binaries)
    }

    /// The programs, downloaded and built if they are not there.
    pub(crate) fn provide() -> Result<Self, Failure> {
        let binaries = Self::place().map_err(|error| Failure::rule(error.to_string(), Vec::new()))?;
        let directory = &binaries.directory;
        let broken =
            |error: io::Error| Failure::rule(format!("{}: {error}", directory.display()), Vec::new());
        fs::create_dir_all(directory).map_err(broken)?;
        // Whoever asks at the same time waits, and finds them built.
        let lock = File::create(directory.join("lock")).map_err(broken)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| broken(error.into()))?;
        let missing = [binaries.etcd(), binaries.kube_apiserver()].map(|program| !program.is_file());
        if missing == [false, false] {
            println!("the programs are in {}", directory.display());
            return Ok(binaries);
        }
        let work = directory.join("work");
        if work.exists() {
            fs::remove_dir_all(&work).map_err(broken)?;
        }
        let debian = Debian::new(work.join("apt"))?;
        // A program gets its name only when it is whole: whoever is killed in between begins anew.
        if missing[0] {
            let made = debian.unpacked("etcd-server", &work)?.join("usr/bin/etcd");
            fs::rename(made, binaries.etcd()).map_err(broken)?;
        }
        if missing[1] {
            let made = build::kubernetes(&debian, &work, "kube-apiserver")?;
            fs::rename(made, binaries.kube_apiserver()).map_err(broken)?;
        }
        // Two gigabytes of sources and build cache serve nobody any more.
        fs::remove_dir_all(&work).map_err(broken)?;
        drop(lock);
        Ok(binaries)
    }

    fn place() -> Result<Self, Unavailable> {
        let directory = match std::env::var_os(CACHE) {
            Some(directory) => PathBuf::from(directory),
            None => {
                let workspace = Workspace::find().map_err(|error| Unavailable::Machine {
                    what: "the target directory is unknown".to_owned(),
                    source: io::Error::other(error),
                })?;
                workspace.target.join("testbed")
            }
        };
        Ok(Self {
            directory: directory.join(format!("kubernetes-{}", build::VERSION)),
        })
    }

    pub(super) fn etcd(&self) -> PathBuf {
        self.directory.join("etcd")
    }

    pub(super) fn kube_apiserver(&self) -> PathBuf {
        self.directory.join("kube-apiserver")
    }
}
