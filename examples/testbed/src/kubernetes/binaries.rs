//! Where the programs are, and getting them once.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use nix::fcntl::{Flock, FlockArg};

use super::{
    Unavailable,
    build::{self, Tree},
    debian::Debian,
    images,
    programs::{Origin, Program},
};
use crate::stage::{Failure, Workspace};

/// The environment variable that names the directory in which the programs are kept.
const CACHE: &str = "ENI_TESTBED_CACHE";

/// The programs of a testbed.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The directory that holds them.
    directory: PathBuf,
}

impl Binaries {
    /// The programs that were built before.
    pub fn cached(programs: &[Program]) -> Result<Self, Unavailable> {
        let binaries = Self::place()?;
        match binaries.missing(programs).first() {
            Some(program) => Err(Unavailable::Missing(binaries.path(program))),
            None => Ok(binaries),
        }
    }

    /// The programs, downloaded and built if they are not there; how long each took is printed.
    pub(crate) fn provide(programs: &[Program]) -> Result<Self, Failure> {
        let binaries = Self::place().map_err(|error| Failure::rule(error.to_string(), Vec::new()))?;
        let directory = &binaries.directory;
        let broken =
            |error: io::Error| Failure::rule(format!("{}: {error}", directory.display()), Vec::new());
        fs::create_dir_all(directory).map_err(broken)?;
        let there = || println!("the programs are in {}", directory.display());
        if binaries.missing(programs).is_empty() {
            there();
            return Ok(binaries);
        }
        // Whoever asks at the same time waits, and finds them built.
        let lock = File::create(directory.join("lock")).map_err(broken)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| broken(error.into()))?;
        let missing = binaries.missing(programs);
        if missing.is_empty() {
            there();
            return Ok(binaries);
        }
        let work = directory.join("work");
        if work.exists() {
            fs::remove_dir_all(&work).map_err(broken)?;
        }
        let mut workshop = Workshop::new(work.clone())?;
        for program in missing {
            let begun = Instant::now();
            let made = workshop.make(program, directory)?;
            // A program gets its name only when it is whole: whoever is killed in between begins anew.
            fs::rename(made, binaries.path(program)).map_err(broken)?;
            println!("{} took {:.0} s", program.name, begun.elapsed().as_secs_f64());
        }
        // Two gigabytes of sources and build cache serve nobody any more.
        fs::remove_dir_all(&work).map_err(broken)?;
        drop(lock);
        Ok(binaries)
    }

    /// Where a program is.
    pub fn path(&self, program: &Program) -> PathBuf {
        self.directory.join(program.name)
    }

    fn missing<'a>(&self, programs: &'a [Program]) -> Vec<&'a Program> {
        let missing = |program: &&Program| !self.path(program).is_file();
        programs.iter().filter(missing).collect()
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
}

/// What programs are made with; the source, which takes long to get, only if one needs it.
struct Workshop {
    work: PathBuf,
    debian: Debian,
    tree: Option<Tree>,
}

impl Workshop {
    fn new(work: PathBuf) -> Result<Self, Failure> {
        Ok(Self {
            debian: Debian::new(work.join("apt"))?,
            work,
            tree: None,
        })
    }

    /// Makes a program, from those that were `made` where one needs others; where it is.
    fn make(&mut self, program: &Program, made: &Path) -> Result<PathBuf, Failure> {
        match program.origin {
            Origin::Debian { package, file } => Ok(self.debian.unpacked(package, &self.work)?.join(file)),
            Origin::Go(package) => self.tree()?.program(program.name, package),
            Origin::GoTests(package) => self.tree()?.tests(program.name, package),
            Origin::GoFile(text) => self.tree()?.file(program.name, text),
            Origin::C(file) => self.tree()?.c(program.name, file),
            Origin::Image(image) => images::of_programs(program.name, image, made, &self.work),
        }
    }

    fn tree(&mut self) -> Result<&Tree, Failure> {
        let tree = match self.tree.take() {
            Some(tree) => tree,
            None => Tree::prepare(&self.debian, &self.work)?,
        };
        Ok(self.tree.insert(tree))
    }
}
