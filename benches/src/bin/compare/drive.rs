//! One round of one peer, in a process of its own: ADD, CHECK and DEL of a batch, so many at the same time.

use std::{
    error::Error,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use eni_netlink::namespace::Namespace;
use nix::sys::resource::{UsageWho, getrusage};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::{environment, ticks};

/// What a round consists of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) plugins: PathBuf,
    pub(crate) configuration: Value,
    pub(crate) host: PathBuf,
    /// Where namespaces of pods are made.
    pub(crate) pods: PathBuf,
    /// What tells this round's pods from others'.
    pub(crate) prefix: String,
    pub(crate) batch: usize,
    pub(crate) concurrency: usize,
    /// The process of an agent, whose time counts, too.
    pub(crate) agent: Option<u32>,
}

/// What a round measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) add: Phase,
    pub(crate) check: Phase,
    pub(crate) del: Phase,
}

/// One command for the whole batch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Phase {
    /// How long each took, in microseconds.
    pub(crate) micros: Vec<u64>,
    /// From the first one's start to the last one's end.
    pub(crate) wall_micros: u64,
    /// Processor time of the plugins and the agent.
    pub(crate) cpu_micros: u64,
    /// What those said that failed.
    pub(crate) failures: Vec<String>,
}

struct Pod {
    container: String,
    netns: PathBuf,
    /// What ADD answered.
    result: Mutex<Option<Value>>,
}

/// Drives a round, and writes what it measured to standard output.
pub(crate) fn run(file: &Path) -> Result<(), Box<dyn Error>> {
    let round: Round = serde_json::from_slice(&fs::read(file)?)?;
    let pods: Vec<Pod> = (0..round.batch)
        .map(|number| {
            let container = format!("{}-{number:03}", round.prefix);
            let netns = round.pods.join(&container);
            Namespace::create(&netns)?;
            Ok(Pod {
                container,
                netns,
                result: Mutex::default(),
            })
        })
        .collect::<Result<_, eni_netlink::namespace::NamespaceError>>()?;
    let add = phase(&round, "ADD", &pods)?;
    let check = phase(&round, "CHECK", &pods)?;
    let del = phase(&round, "DEL", &pods)?;
    for pod in &pods {
        Namespace::remove(&pod.netns)?;
    }
    let measured = Measured { add, check, del };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

fn phase(round: &Round, command: &str, pods: &[Pod]) -> Result<Phase, Box<dyn Error>> {
    let (next, phase) = (AtomicUsize::new(0), Mutex::new(Phase::default()));
    let before = (
        children()?,
        round.agent.map(ticks).transpose()?.unwrap_or_default(),
    );
    let begun = Instant::now();
    let host = Namespace::open(&round.host)?;
    thread::scope(|scope| {
        for _ in 0..round.concurrency {
            scope.spawn(|| {
                // Whatever this thread starts is born into the host's namespace.
                let work = || {
                    while let Some(pod) = pods.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let begun = Instant::now();
                        let said = call(round, command, pod);
                        let micros = micros(begun.elapsed());
                        let mut phase = phase.lock();
                        phase.micros.push(micros);
                        phase.failures.extend(said.err());
                    }
                };
                if let Err(error) = host.run_in(work) {
                    phase.lock().failures.push(error.to_string());
                }
            });
        }
    });
    let mut phase = phase.into_inner();
    phase.wall_micros = micros(begun.elapsed());
    let after = (
        children()?,
        round.agent.map(ticks).transpose()?.unwrap_or_default(),
    );
    // Linux counts a hundred ticks a second for everybody (USER_HZ).
    phase.cpu_micros = micros(after.0.saturating_sub(before.0)) + (after.1 - before.1) * 10_000;
    Ok(phase)
}

/// Runs a plugin; what it said if it failed.
fn call(round: &Round, command: &str, pod: &Pod) -> Result<(), String> {
    let mut configuration = round.configuration.clone();
    if command != "ADD" {
        configuration["prevResult"] = pod.result.lock().clone().unwrap_or_default();
    }
    let plugin = configuration["type"].as_str().unwrap_or_default();
    let arguments = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=compare;K8S_POD_NAME={0};K8S_POD_UID={0};K8S_POD_INFRA_CONTAINER_ID={0}",
        pod.container
    );
    let run = || {
        let mut child = Command::new(round.plugins.join(plugin))
            .env_clear()
            .envs(environment(&round.plugins))
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &pod.container)
            .env("CNI_NETNS", &pod.netns)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_ARGS", arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(configuration.to_string().as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| format!("{plugin}: {error}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(format!(
            "{plugin} {command}: {}",
            String::from_utf8_lossy(&said).trim()
        ));
    }
    if command == "ADD" {
        let result = serde_json::from_slice(&output.stdout).map_err(|error| format!("{plugin}: {error}"))?;
        *pod.result.lock() = Some(result);
    }
    Ok(())
}

/// Processor time of all plugins that have ended.
fn children() -> nix::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = |value: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(value.tv_sec() * 1_000_000 + value.tv_usec()).unwrap_or_default())
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
