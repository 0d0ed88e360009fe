//! Debian's packages, downloaded by apt and unpacked into a directory of our own: nothing is installed, the
//! machine's own package lists stay as they are, and an ordinary user may do it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{run::run, stage::Failure};

/// The release that has what we need; its Kubernetes is the last one with the server in it.
const RELEASE: &str = "bookworm";

/// The environment variable that names another mirror of Debian than the usual one.
const MIRROR: &str = "ENI_DEBIAN_MIRROR";

/// Where Debian keeps the keys of its archive, in its package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Debian's archive, with package lists of our own.
#[derive(Debug)]
pub(super) struct Debian {
    directory: PathBuf,
}

impl Debian {
    /// Reads the archive's package lists into `directory`.
    pub(super) fn new(directory: PathBuf) -> Result<Self, Failure> {
        for path in ["lists/partial", "cache/archives/partial", "sources", "packages"] {
            create(&directory.join(path))?;
        }
        let mirror = std::env::var(MIRROR).unwrap_or_else(|_| "http://deb.debian.org/debian".to_owned());
        let sources = format!(
            "Types: deb deb-src\nURIs: {mirror}\nSuites: {RELEASE}\nComponents: main\nSigned-By: {KEYRING}\n"
        );
        let file = directory.join("sources/debian.sources");
        fs::write(&file, sources).map_err(|error| unwritable(&file, error))?;
        let debian = Self { directory };
        run(debian.apt_get().arg("update"))?;
        Ok(debian)
    }

    /// Downloads a package and unpacks it below `into`; the directory that then stands for `/`.
    pub(super) fn unpacked(&self, package: &str, into: &Path) -> Result<PathBuf, Failure> {
        let place = self.directory.join("packages").join(package);
        create(&place)?;
        run(self.apt_get().args(["download", package]).current_dir(&place))?;
        let root = into.join("root");
        for file in files(&place)? {
            run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&root))?;
        }
        Ok(root)
    }

    /// Downloads the source of a package and unpacks what its authors published, without Debian's patches;
    /// the directory that holds it.
    pub(super) fn source(&self, package: &str, into: &Path) -> Result<PathBuf, Failure> {
        let place = self.directory.join("packages").join(package);
        create(&place)?;
        run(self
            .apt_get()
            .args(["source", "--download-only", package])
            .current_dir(&place))?;
        let of_authors = |file: &PathBuf| file.to_string_lossy().contains(".orig.tar");
        let archive = files(&place)?.into_iter().find(of_authors);
        let archive = archive
            .ok_or_else(|| Failure::rule(format!("the source of {package} has no archive"), Vec::new()))?;
        let source = into.join(package);
        create(&source)?;
        run(Command::new("tar")
            .args(["--extract", "--strip-components=1", "--file"])
            .arg(archive)
            .arg("--directory")
            .arg(&source))?;
        Ok(source)
    }

    fn apt_get(&self) -> Command {
        let option = |name: &str, path: &Path| format!("--option={name}={}", path.display());
        let mut command = Command::new("apt-get");
        command
            .arg("--quiet")
            .arg(option("Dir::Etc::sourcelist", Path::new("/dev/null")))
            .arg(option("Dir::Etc::sourceparts", &self.directory.join("sources")))
            .arg(option("Dir::State::lists", &self.directory.join("lists")))
            .arg(option("Dir::Cache", &self.directory.join("cache")))
            // For root, apt gives up its rights and could not write below a home directory then.
            .arg("--option=APT::Sandbox::User=root");
        command
    }
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()
    });
    entries.map_err(|error| unwritable(directory, error))
}

fn create(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| unwritable(directory, error))
}

fn unwritable(path: &Path, error: std::io::Error) -> Failure {
    Failure::rule(format!("{}: {error}", path.display()), Vec::new())
}
