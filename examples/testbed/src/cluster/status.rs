//! What of a cluster runs.

use std::{collections::BTreeMap, fs, io};

use super::{ClusterError, Kubectl, state::State};
use crate::kubernetes::{
    Binaries,
    programs::{self, KUBECTL},
};

impl State {
    /// What runs, as lines: the processes, and the nodes as the API server has them.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Missing`] if there is no cluster.
    pub fn status(&self) -> Result<Vec<String>, ClusterError> {
        let supervisor = self.supervisor()?;
        let word = |alive| if alive { "runs" } else { "has ended" };
        let mut lines = vec![format!(
            "supervisor, process {}, {}",
            supervisor.pid,
            word(supervisor.is_alive())
        )];
        let read = || -> io::Result<Vec<String>> {
            let mut lines = Vec::new();
            for record in self.records()? {
                let (owner, pid) = (&record.owner, record.pid);
                lines.push(match record.program.as_str() {
                    "testbed" => format!("{owner}: {}", programs_of(pid)?),
                    program => format!("{owner}: {program}, process {pid}, {}", word(record.is_alive())),
                });
            }
            Ok(lines)
        };
        lines.extend(read().map_err(ClusterError::machine("reading what runs"))?);
        let binaries = Binaries::cached(programs::CLUSTER)?;
        let kubectl = Kubectl::new(binaries.path(&KUBECTL), self.kubeconfig());
        let nodes = kubectl.run(&["get", "nodes", "--output=wide", "--request-timeout=5s"]);
        match nodes {
            Ok(nodes) => lines.extend(nodes.lines().map(str::to_owned)),
            Err(error) => lines.push(error.to_string()),
        }
        Ok(lines)
    }
}

/// The first process of a node, by its id outside.
pub(super) fn first_process(state: &State, node: &str) -> io::Result<i32> {
    let records = state.records()?;
    let boundary = records
        .iter()
        .find(|record| record.owner == node && record.program == "testbed");
    let boundary = boundary.ok_or_else(|| io::Error::other(format!("{node} does not run")))?;
    children(boundary.pid)?
        .first()
        .copied()
        .ok_or_else(|| io::Error::other(format!("{node} is empty")))
}

/// The programs of a node and how many of each run, from the process that holds it.
fn programs_of(boundary: i32) -> io::Result<String> {
    let mut programs: BTreeMap<String, u32> = BTreeMap::new();
    let mut left = children(boundary)?;
    while let Some(pid) = left.pop() {
        // Whatever ends meanwhile is not there.
        let Ok(name) = fs::read_to_string(format!("/proc/{pid}/comm")) else {
            continue;
        };
        *programs.entry(name.trim_end().to_owned()).or_default() += 1;
        left.extend(children(pid)?);
    }
    let programs: Vec<String> = programs
        .into_iter()
        .map(|(name, count)| match count {
            1 => name,
            _ => format!("{count} {name}"),
        })
        .collect();
    Ok(programs.join(", "))
}

/// The children of a process, of all its threads.
fn children(pid: i32) -> io::Result<Vec<i32>> {
    let threads = match fs::read_dir(format!("/proc/{pid}/task")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        threads => threads?,
    };
    let mut children = Vec::new();
    for thread in threads {
        // A thread may end meanwhile, and has no children then.
        let list = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Ok(children)
}
