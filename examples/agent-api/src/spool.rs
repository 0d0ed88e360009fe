//! DELs that no agent was there to hear: one durable file each, which the agent replays.
//!
//! The records lie beside the agent's socket, under `/run` as a rule, and a reboot takes them along with the
//! sandboxes that they are about: what those owned is reclaimed by the boot in which it was given.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use eni_core::model::SandboxKey;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::boot;

/// A DEL that was acknowledged without the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelRecord {
    /// Which interface.
    pub key: SandboxKey,
    /// When the plugin started, in nanoseconds of the boot clock.
    started_ns: u64,
    /// The boot in which that clock ran.
    boot_id: String,
}

/// The directory of the records.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
}

/// The spool cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the spool of DELs {path}: {source}")]
pub struct SpoolError {
    path: String,
    source: io::Error,
}

impl DelRecord {
    /// The record of a DEL whose plugin started at this time of the boot clock.
    pub fn new(key: SandboxKey, started: Duration) -> io::Result<Self> {
        // 584 years of nanoseconds fit.
        let started_ns = started.as_nanos() as u64;
        Ok(Self {
            key,
            started_ns,
            boot_id: boot::id()?,
        })
    }

    /// When the plugin started, on the clock of this boot: zero if it was an earlier one.
    pub fn started(&self) -> io::Result<Duration> {
        Ok(match self.boot_id == boot::id()? {
            true => Duration::from_nanos(self.started_ns),
            false => Duration::ZERO,
        })
    }
}

impl Spool {
    /// The spool in a directory, which need not exist.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Keeps a record, and replaces the one of the same interface; returns when it is durable.
    pub fn write(&self, record: &DelRecord) -> Result<(), SpoolError> {
        let path = self.path(&record.key);
        let written = || -> io::Result<()> {
            if !self.directory.exists() {
                fs::create_dir_all(&self.directory)?;
                self.directory
                    .parent()
                    .map_or(Ok(()), |parent| File::open(parent)?.sync_all())?;
            }
            // A dot file is no record, so that one half written is never replayed.
            let draft = path.with_file_name(format!(".{}", std::process::id()));
            let mut file = File::create(&draft)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        written().map_err(|source| SpoolError::new(&path, source))
    }

    /// The record of an interface.
    pub fn find(&self, key: &SandboxKey) -> Result<Option<DelRecord>, SpoolError> {
        Self::read(&self.path(key))
    }

    /// Forgets the record of an interface; one that is not there is no error.
    pub fn remove(&self, key: &SandboxKey) -> Result<(), SpoolError> {
        let path = self.path(key);
        absent_is_none(fs::remove_file(&path)).map_err(|source| SpoolError::new(&path, source))?;
        Ok(())
    }

    /// Every record, or why one cannot be read.
    pub fn list(&self) -> Result<Vec<Result<DelRecord, SpoolError>>, SpoolError> {
        let failed = |source| SpoolError::new(&self.directory, source);
        let Some(entries) = absent_is_none(fs::read_dir(&self.directory)).map_err(failed)? else {
            return Ok(Vec::new());
        };
        let mut records = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                records.extend(Self::read(&entry.path()).transpose());
            }
        }
        Ok(records)
    }

    fn read(path: &Path) -> Result<Option<DelRecord>, SpoolError> {
        let read = || -> io::Result<Option<DelRecord>> {
            let Some(bytes) = absent_is_none(fs::read(path))? else {
                return Ok(None);
            };
            Ok(Some(serde_json::from_slice(&bytes)?))
        };
        read().map_err(|source| SpoolError::new(path, source))
    }

    /// A hash names the file: a network's name and a container id together may be longer than a file's.
    fn path(&self, key: &SandboxKey) -> PathBuf {
        let digest = Sha1::digest(key.to_string());
        self.directory.join(
            digest
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        )
    }
}

impl SpoolError {
    fn new(path: &Path, source: io::Error) -> Self {
        Self {
            path: path.display().to_string(),
            source,
        }
    }
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(container: &str, started: u64) -> DelRecord {
        DelRecord::new(
            SandboxKey::new("net", container, "eth0"),
            Duration::from_nanos(started),
        )
        .unwrap()
    }

    #[test]
    fn keeps_one_record_per_interface_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().join("a/deleted"));
        assert!(spool.list().unwrap().is_empty());
        spool.write(&record("c1", 7)).unwrap();
        spool.write(&record("c1", 8)).unwrap();
        spool.write(&record("c2", 9)).unwrap();
        assert_eq!(spool.find(&record("c1", 0).key).unwrap(), Some(record("c1", 8)));
        assert_eq!(spool.list().unwrap().len(), 2);
        spool.remove(&record("c1", 0).key).unwrap();
        spool.remove(&record("c1", 0).key).unwrap();
        let left: Vec<_> = spool.list().unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(left, [record("c2", 9)]);
        assert_eq!(spool.find(&record("c1", 0).key).unwrap(), None);
    }

    #[test]
    fn a_damaged_record_is_reported_and_hides_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path());
        spool.write(&record("c1", 7)).unwrap();
        fs::write(directory.path().join("damaged"), "{").unwrap();
        fs::write(directory.path().join(".half-written"), "{").unwrap();
        let list = spool.list().unwrap();
        assert_eq!(list.iter().filter(|record| record.is_ok()).count(), 1);
        assert_eq!(list.iter().filter(|record| record.is_err()).count(), 1);
    }

    #[test]
    fn the_clock_of_an_earlier_boot_says_nothing() {
        let mut record = record("c1", 7);
        assert_eq!(record.started().unwrap(), Duration::from_nanos(7));
        record.boot_id = "another".to_owned();
        assert_eq!(record.started().unwrap(), Duration::ZERO);
    }

    #[test]
    fn a_spool_that_cannot_be_written_says_where() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let error = Spool::new(directory.path().join("file/deleted"))
            .write(&record("c1", 7))
            .unwrap_err();
        assert!(error.to_string().contains("file/deleted"), "{error}");
    }
}
