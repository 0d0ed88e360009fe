//! The directory of a cluster: everything that it is made of and has to be undone.
//!
//! What is started writes its process id there, as `<directory>/<program>.pid`, and forgets it when it ends.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use super::{
    ClusterError,
    node::{NodeSpec, cgroups},
};

/// How long what was asked to end may take; API servers wait for the requests that they serve.
const GRACE: Duration = Duration::from_secs(15);

/// The directory of a cluster.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
}

/// The process that holds a cluster. A process id may be given to another later; with its start it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Supervisor {
    pub(super) pid: i32,
    /// In the kernel's ticks since it booted.
    started: u64,
}

/// A program that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its file's name.
    pub(super) program: String,
    /// Whose it is: the name of a node.
    pub(super) owner: String,
    pub(super) pid: i32,
    file: PathBuf,
}

impl State {
    /// The cluster in a directory, whether there is one or not.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The path of something in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The kubeconfig of a user who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// What the supervisor says.
    pub(super) fn log(&self) -> PathBuf {
        self.path("supervisor.log")
    }

    /// Exists once the cluster is up.
    pub(super) fn ready(&self) -> PathBuf {
        self.path("ready")
    }

    /// The socket on which the supervisor takes orders.
    pub(super) fn orders(&self) -> PathBuf {
        self.path("orders.sock")
    }

    /// What was asked of the API server.
    pub(super) fn audit_log(&self) -> PathBuf {
        self.path("audit.log")
    }

    /// Makes the directory, from which a cluster that ended by itself is cleared first.
    pub(super) fn create(&self) -> Result<(), ClusterError> {
        match self.supervisor() {
            Ok(supervisor) if supervisor.is_alive() => {
                return Err(ClusterError::Exists(self.directory.clone()));
            }
            Ok(_) => self.down()?,
            // There never was one.
            Err(_) => {}
        }
        let what = format!("making {}", self.directory.display());
        if let Some(parent) = self.directory.parent() {
            fs::create_dir_all(parent).map_err(ClusterError::machine(&what))?;
        }
        fs::create_dir(&self.directory).map_err(ClusterError::machine(what))
    }

    /// Writes down that this process is the supervisor.
    pub(super) fn hold(&self) -> io::Result<()> {
        let supervisor = Supervisor::find(Pid::this().as_raw())?;
        fs::write(self.path("supervisor.json"), serde_json::to_vec(&supervisor)?)
    }

    /// The supervisor, if there ever was one.
    pub(super) fn supervisor(&self) -> Result<Supervisor, ClusterError> {
        let text = fs::read_to_string(self.path("supervisor.json"));
        let supervisor = text.and_then(|text| serde_json::from_str(&text).map_err(io::Error::other));
        supervisor.map_err(|_| ClusterError::Missing(self.directory.clone()))
    }

    /// The programs that run, or ended without forgetting it.
    pub(super) fn records(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for owner in directories(&self.directory)? {
            for entry in fs::read_dir(&owner)? {
                let file = entry?.path();
                if file.extension().is_some_and(|extension| extension == "pid") {
                    records.extend(Record::read(&owner, file)?);
                }
            }
        }
        records.sort_by(|one, other| (&one.owner, one.pid).cmp(&(&other.owner, other.pid)));
        Ok(records)
    }

    /// The nodes, as they were planned.
    pub(super) fn nodes(&self) -> io::Result<Vec<NodeSpec>> {
        let files = directories(&self.directory)?
            .into_iter()
            .map(|node| node.join("node.json"));
        let files = files.filter(|file| file.is_file());
        files.map(|file| NodeSpec::read(&file)).collect()
    }

    /// Ends what was recorded and nothing else, and removes all that remains.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Missing`] if there is no cluster here.
    pub fn down(&self) -> Result<(), ClusterError> {
        self.supervisor()?
            .end()
            .map_err(ClusterError::machine("ending the supervisor"))?;
        self.clear().map_err(ClusterError::machine(format!(
            "removing {}",
            self.directory.display()
        )))
    }

    fn clear(&self) -> io::Result<()> {
        // All end by themselves now, their leashes being cut.
        if !within(GRACE, || Ok(self.records()?.is_empty()))? {
            for record in self.records()? {
                record.kill()?;
            }
            within(GRACE, || {
                Ok(self.records()?.iter().all(|record| !record.is_alive()))
            })?;
        }
        for node in self.nodes()? {
            cgroups::remove(&node.cgroups)?;
        }
        fs::remove_dir_all(&self.directory)
    }
}

impl Supervisor {
    fn find(pid: i32) -> io::Result<Self> {
        let (started, _) = stat(pid)?;
        Ok(Self { pid, started })
    }

    /// Whether it runs.
    pub(super) fn is_alive(&self) -> bool {
        stat(self.pid).is_ok_and(|(started, state)| started == self.started && state != 'Z')
    }

    fn end(&self) -> io::Result<()> {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if !self.is_alive() {
                break;
            }
            send(self.pid, signal)?;
            within(GRACE, || Ok(!self.is_alive()))?;
        }
        Ok(())
    }
}

impl Record {
    fn read(owner: &Path, file: PathBuf) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(&file) {
            // It ended meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let name = |path: Option<&std::ffi::OsStr>| path.unwrap_or_default().to_string_lossy().into_owned();
        // Empty while it is being written.
        Ok(text.trim().parse().ok().map(|pid| Self {
            program: name(file.file_stem()),
            owner: name(owner.file_name()),
            pid,
            file,
        }))
    }

    /// Whether the process is what was recorded.
    pub(super) fn is_alive(&self) -> bool {
        // The kernel keeps 15 bytes of a name.
        let short: String = self.program.chars().take(15).collect();
        let alive = stat(self.pid).is_ok_and(|(_, state)| state != 'Z');
        alive
            && fs::read_to_string(format!("/proc/{}/comm", self.pid))
                .is_ok_and(|name| name.trim_end() == short)
    }

    fn kill(&self) -> io::Result<()> {
        match self.is_alive() {
            true => send(self.pid, Signal::SIGKILL),
            false => fs::remove_file(&self.file),
        }
    }
}

/// When a process started, and the letter of its state (proc(5), `/proc/pid/stat`).
fn stat(pid: i32) -> io::Result<(u64, char)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before may hold anything, parentheses and spaces included.
    let fields = text.rsplit_once(") ").map(|(_, rest)| rest.split(' '));
    let parsed = fields.and_then(|mut fields| {
        let state = fields.next()?.chars().next()?;
        Some((fields.nth(18)?.parse().ok()?, state))
    });
    parsed.ok_or_else(|| io::Error::from(ErrorKind::InvalidData))
}

fn send(pid: i32, signal: Signal) -> io::Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Err(Errno::ESRCH) => Ok(()),
        sent => sent.map_err(io::Error::from),
    }
}

/// Whether a condition comes to hold in time.
fn within(patience: Duration, condition: impl Fn() -> io::Result<bool>) -> io::Result<bool> {
    let begun = Instant::now();
    while !condition()? {
        if begun.elapsed() > patience {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}

fn directories(place: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(place)?.map(|entry| Ok(entry?.path()));
    let mut found = entries.collect::<io::Result<Vec<_>>>()?;
    found.retain(|path| path.is_dir());
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_the_id_of_one_that_ended_is_not_taken_for_it() {
        let own = Supervisor::find(Pid::this().as_raw()).unwrap();
        assert!(own.is_alive());
        let former = Supervisor {
            started: own.started - 1,
            ..own
        };
        assert!(!former.is_alive());
        former.end().unwrap();
    }

    #[test]
    fn a_directory_without_a_cluster_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("mine"), "").unwrap();
        let state = State::at(directory.path().to_owned());
        assert!(matches!(state.down(), Err(ClusterError::Missing(_))));
        assert!(matches!(state.create(), Err(ClusterError::Machine { .. })));
        assert!(directory.path().join("mine").is_file());
    }

    #[test]
    fn a_record_of_another_program_is_dropped_and_its_process_is_not_ended() {
        let directory = tempfile::tempdir().unwrap();
        let owner = directory.path().join("node-1");
        fs::create_dir(&owner).unwrap();
        fs::write(owner.join("kubelet.pid"), format!("{}\n", Pid::this())).unwrap();
        let state = State::at(directory.path().to_owned());
        let records = state.records().unwrap();
        assert_eq!((records.len(), records[0].owner.as_str()), (1, "node-1"));
        records[0].kill().unwrap();
        assert!(state.records().unwrap().is_empty());
    }
}
