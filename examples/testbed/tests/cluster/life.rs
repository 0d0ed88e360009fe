//! A cluster's beginning and end, by the command line: what it leaves, however it ends.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use testbed::cluster::{Cluster, Cni, Options};

use crate::Outcome;

/// How long a node may take to start a program again.
const PATIENCE: Duration = Duration::from_secs(30);

type Case = (&'static str, fn(&Path) -> Outcome);

pub(crate) const CASES: &[Case] = &[
    ("a_killed_kubelet_is_started_again", kubelet_is_started_again),
    ("down_ends_everything_and_leaves_nothing", down_leaves_nothing),
    (
        "a_cluster_whose_supervisor_was_killed_has_ended_and_is_cleared",
        killed,
    ),
];

fn testbed(arguments: &[&str], state: &Path) -> io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(arguments)
        .arg("--state")
        .arg(state)
        .output()
}

fn succeeded(output: &Output) -> Result<String, Failed> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{}{}", text(&output.stdout), text(&output.stderr)).into()),
    }
}

/// What a cluster could leave: links and mounts of the machine, and processes and files that are of it.
fn traces(state: &Path) -> io::Result<BTreeSet<String>> {
    let mut traces = BTreeSet::new();
    for link in fs::read_dir("/sys/class/net")? {
        traces.insert(format!("link {}", link?.file_name().to_string_lossy()));
    }
    let path = state.display().to_string();
    for mount in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        if mount.contains(&path) {
            traces.insert(format!("mount {mount}"));
        }
    }
    for process in fs::read_dir("/proc")? {
        let process = process?.path();
        // Whatever has ended meanwhile is no trace.
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&path) {
            traces.insert(format!("process {}", process.display()));
        }
    }
    if state.exists() {
        traces.insert(format!("directory {path}"));
    }
    Ok(traces)
}

/// The cgroups of the one node.
fn cgroups(state: &Path) -> Result<Vec<PathBuf>, Failed> {
    let node: Value = serde_json::from_str(&fs::read_to_string(state.join("node-1/node.json"))?)?;
    let cgroups = node["cgroups"].as_array().cloned().unwrap_or_default();
    let paths: Vec<PathBuf> = cgroups
        .iter()
        .filter_map(|cgroup| cgroup["path"].as_str().map(PathBuf::from))
        .collect();
    assert!(paths.iter().any(|path| path.is_dir()), "{paths:?}");
    Ok(paths)
}

/// A cluster of one node.
fn one_node(state: &Path) -> Option<Cluster> {
    let options = Options {
        state: state.to_owned(),
        nodes: 1,
        cni: Cni::None,
    };
    Cluster::for_tests("a test of a cluster's life", &options)
}

/// One that runs on without a handle; its node's cgroups.
fn up(state: &Path) -> Result<Option<Vec<PathBuf>>, Failed> {
    let Some(cluster) = one_node(state) else {
        return Ok(None);
    };
    cluster.stay()?;
    Ok(Some(cgroups(state)?))
}

fn kubelet_is_started_again(state: &Path) -> Outcome {
    let Some(cluster) = one_node(state) else {
        return Ok(());
    };
    let kubelet = || -> Result<String, Failed> {
        let found = cluster.exec("node-1", &["pidof", "kubelet"])?;
        Ok(String::from_utf8_lossy(&found.stdout).trim().to_owned())
    };
    let before = kubelet()?;
    let killed = cluster.exec("node-1", &["kill", "-KILL", &before])?;
    assert!(killed.status.success(), "{killed:?}");
    let begun = Instant::now();
    loop {
        let now = kubelet()?;
        if !now.is_empty() && now != before {
            return Ok(());
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "kubelet {before} was killed, and there is no other"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

fn down_leaves_nothing(state: &Path) -> Outcome {
    let before = traces(state)?;
    let Some(cgroups) = up(state)? else {
        return Ok(());
    };
    let status = succeeded(&testbed(&["status"], state)?)?;
    for running in [
        "supervisor",
        "kube-apiserver",
        "kube-scheduler",
        "node-1: containerd, kube-proxy, kubelet",
    ] {
        assert!(status.contains(running), "{running} is not in:\n{status}");
    }
    let second = testbed(&["up", "--nodes", "0"], state)?;
    let refused = String::from_utf8_lossy(&second.stderr);
    assert!(
        !second.status.success() && refused.contains("holds a cluster"),
        "{second:?}"
    );
    succeeded(&testbed(&["down"], state)?)?;
    assert_eq!(traces(state)?, before);
    assert!(!cgroups.iter().any(|cgroup| cgroup.exists()), "{cgroups:?}");
    let again = testbed(&["down"], state)?;
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("there is no cluster"),
        "{again:?}"
    );
    Ok(())
}

fn killed(state: &Path) -> Outcome {
    let before = traces(state)?;
    let Some(cgroups) = up(state)? else {
        return Ok(());
    };
    let supervisor: Value = serde_json::from_str(&fs::read_to_string(state.join("supervisor.json"))?)?;
    let pid = supervisor["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    kill(Pid::from_raw(pid.ok_or("no process id")?), Signal::SIGKILL)?;
    // A cluster that ended by itself is no obstacle to another.
    let output = succeeded(&testbed(&["up", "--nodes", "0"], state)?)?;
    assert!(!cgroups.iter().any(|cgroup| cgroup.exists()), "{cgroups:?}");
    let export = format!("export KUBECONFIG={}", state.join("admin.kubeconfig").display());
    assert_eq!(output.lines().next_back(), Some(export.as_str()));
    succeeded(&testbed(&["down"], state)?)?;
    assert_eq!(traces(state)?, before);
    Ok(())
}
