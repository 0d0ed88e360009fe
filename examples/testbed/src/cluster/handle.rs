//! A cluster as tests and the command line have it.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{ClusterError, Kubectl, Options, State, eni, status, supervisor::STAY};
use crate::kubernetes::{
    Binaries, REQUIRE_KUBERNETES, Unavailable, arguments,
    programs::{self, KUBECTL},
};

/// The programs of the machine that nodes run.
const PACKAGED: [&str; 6] = ["containerd", "runc", "ctr", "iptables", "conntrack", "nsenter"];

/// Lines of the supervisor's log that an error shows.
const TAIL: usize = 20;

/// How often the supervisor's log is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// A cluster that is up. It is taken down with the handle, or when this process is gone, by whatever end.
#[derive(Debug)]
pub struct Cluster {
    state: State,
    binaries: Binaries,
    supervisor: Child,
    /// It was taken down, or lives on without us.
    gone: bool,
}

impl Cluster {
    /// Brings a cluster up; every line of progress is handed to `progress`.
    ///
    /// The programs have to be built, and the program `testbed` next to this one: cargo builds it for the tests
    /// of its own package, the gate for all.
    pub fn up(options: &Options, mut progress: impl FnMut(&str)) -> Result<Self, ClusterError> {
        let binaries = Binaries::cached(programs::CLUSTER)?;
        if let Some(program) = PACKAGED.into_iter().find(|program| !on_path(program)) {
            return Err(ClusterError::Package(program));
        }
        let program = program().map_err(ClusterError::machine("the path of this program"))?;
        if !program.is_file() {
            return Err(Unavailable::Missing(program).into());
        }
        if options.cni.is_eni() {
            let beside = program.parent().unwrap_or(Path::new("/"));
            eni::build(beside).map_err(ClusterError::machine("building our programs"))?;
        }
        let state = State::at(options.state.clone());
        state.create()?;
        let started = || -> io::Result<Child> {
            let file = state.path("options.json");
            fs::write(&file, serde_json::to_vec(options)?)?;
            let log = File::create(state.log())?;
            Command::new(&program)
                .arg("supervise")
                .arg(file)
                .stdin(Stdio::piped())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
        };
        let mut cluster = Self {
            supervisor: started().map_err(ClusterError::machine("starting the supervisor"))?,
            binaries,
            state,
            gone: false,
        };
        match cluster.follow(&mut progress) {
            Ok(true) => Ok(cluster),
            Ok(false) => {
                let failed = ClusterError::Failed {
                    tail: cluster.tail(),
                    log: cluster.state.log(),
                };
                Err(failed)
            }
            Err(error) => Err(ClusterError::machine("following the supervisor")(error)),
        }
    }

    /// Brings a cluster up for the tests that are `what`; or says that they are left out because this user is not
    /// root or the programs are not there, on standard error itself, which no test runner captures.
    ///
    /// # Panics
    ///
    /// If the cluster does not come up, or has no programs where [`REQUIRE_KUBERNETES`] wants one.
    pub fn for_tests(what: &str, options: &Options) -> Option<Self> {
        let required = std::env::var(REQUIRE_KUBERNETES).is_ok_and(|value| value == "1");
        let why = match nix::unistd::geteuid().is_root() {
            false => "nodes take root".to_owned(),
            true => match Self::up(options, |_| {}) {
                Ok(cluster) => return Some(cluster),
                Err(missing) if missing.is_missing() && !required => missing.to_string(),
                Err(error) => panic!("{what}: {error}"),
            },
        };
        let line = format!("SKIPPED {what}: {why}\n");
        let told = io::stderr().write_all(line.as_bytes());
        told.expect("stderr takes a line");
        None
    }

    /// Lets the cluster run on without this handle and this process.
    pub fn stay(mut self) -> Result<State, ClusterError> {
        let mut told = Ok(());
        if let Some(mut leash) = self.supervisor.stdin.take() {
            told = leash.write_all(format!("{STAY}\n").as_bytes());
        }
        told.map_err(ClusterError::machine("letting the supervisor go"))?;
        self.gone = true;
        Ok(self.state.clone())
    }

    /// Where it is kept.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The command line, as a user who may do everything.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.binaries.path(&KUBECTL), self.state.kubeconfig())
    }

    /// What was asked of the API server, one JSON object a request, oldest first: the schema is Kubernetes'
    /// `audit.k8s.io/v1` Event.
    pub fn audit(&self) -> Result<Vec<Value>, ClusterError> {
        arguments::audit(&self.state.audit_log()).map_err(ClusterError::machine("reading the audit log"))
    }

    /// The first process of a node, by its id here: who enters its namespaces is in the node.
    pub fn first_process(&self, node: &str) -> Result<i32, ClusterError> {
        let what = format!("looking for the first process of {node}");
        status::first_process(&self.state, node).map_err(ClusterError::machine(what))
    }

    /// Runs a program in a node.
    pub fn exec(&self, node: &str, command: &[&str]) -> Result<Output, ClusterError> {
        let what = || ClusterError::machine(format!("running a program in {node}"));
        Command::new("nsenter")
            .args([
                "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--target",
            ])
            .arg(self.first_process(node)?.to_string())
            .arg("--")
            .args(command)
            .output()
            .map_err(what())
    }

    /// Takes it down.
    pub fn down(mut self) -> Result<(), ClusterError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ClusterError> {
        if std::mem::replace(&mut self.gone, true) {
            return Ok(());
        }
        let down = self.state.down();
        self.supervisor
            .wait()
            .map_err(ClusterError::machine("waiting for the supervisor"))?;
        down
    }

    /// Hands on what the supervisor says, until the cluster is up, or the supervisor has ended.
    fn follow(&mut self, progress: &mut dyn FnMut(&str)) -> io::Result<bool> {
        let mut log = File::open(self.state.log())?;
        let (mut text, mut told) = (String::new(), 0);
        loop {
            let ended = self.supervisor.try_wait()?.is_some();
            let ready = self.state.ready().is_file();
            log.read_to_string(&mut text)?;
            while let Some(length) = text[told..].find('\n') {
                let line = &text[told..told + length];
                // The rest is of the commands that it runs.
                if line.starts_with('[') {
                    progress(line);
                }
                told += length + 1;
            }
            if ended || ready {
                return Ok(ready);
            }
            thread::sleep(PAUSE);
        }
    }

    fn tail(&self) -> String {
        let log = fs::read_to_string(self.state.log()).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error}");
        }
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The testbed's program: this one, or the one that cargo built next to it.
fn program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    if own.file_name().is_some_and(|name| name == "testbed") {
        return Ok(own);
    }
    let beside = own.parent().unwrap_or(Path::new("/"));
    let directory = match beside.ends_with("deps") {
        true => beside.parent().unwrap_or(beside),
        false => beside,
    };
    Ok(directory.join("testbed"))
}
