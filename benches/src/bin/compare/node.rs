//! Our node: a VPC of one instance, ipamd and the agent, in a process of its own, whose processor time can be told.

use std::{
    collections::BTreeMap,
    error::Error,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use eni_core::{
    cluster::{Cluster, modify},
    model::WarmRange,
    sim::Latency,
};
use fabric::{topology::Topology, vpc::Vpc};
use playground::system::{System, endpoint};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// Idle addresses: two rounds of the most that run at once, because what was released rests.
const WARM: WarmRange = WarmRange { min: 160, max: 200 };

/// How long the node may take to have them.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    /// It ends when this does.
    _leash: Option<ChildStdin>,
    pub(crate) place: Place,
}

/// Where plugins find it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The node's network namespace.
    pub(crate) netns: PathBuf,
    /// The agent's endpoint.
    pub(crate) agent: String,
}

impl Node {
    /// Starts one, and returns when it has its addresses.
    pub(crate) fn start(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("node")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let leash = child.stdin.take();
        let mut line = String::new();
        let output = child.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self {
            place: serde_json::from_str(&line)
                .map_err(|_| "the node did not start; what it said is above")?,
            child,
            _leash: leash,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self._leash = None;
        if let Err(error) = self.child.wait() {
            eprintln!("{error}");
        }
    }
}

/// Is the node, until standard input ends.
pub(crate) fn run(directory: &Path) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let run = directory.join("vpc");
        std::fs::create_dir(&run)?;
        let vpc = Vpc::build(&run, Topology::new(1), Latency::default()).await?;
        let system = System::start(&vpc, Arc::new(vpc.cloud.clone()))?;
        let node = &vpc.nodes[0];
        let begun = Instant::now();
        loop {
            let config = system.node_config(node).await;
            match config {
                Some(config) if config.pool.attached() >= WARM.min as usize => break,
                Some(config) if config.spec.warm != Some(WARM) => {
                    let store = system.cluster.node_configs();
                    modify(store.as_ref(), node.plan.name.as_str(), |config| {
                        config.spec.warm.replace(WARM) != Some(WARM)
                    })
                    .await?;
                }
                _ => {}
            }
            if begun.elapsed() > PATIENCE {
                return Err("the node has no addresses after a minute".into());
            }
            sleep(Duration::from_millis(100)).await;
        }
        let place = Place {
            netns: node.netns().to_owned(),
            agent: endpoint(node)?.to_string(),
        };
        println!("{}", serde_json::to_string(&place)?);
        io::stdout().flush()?;
        let wait = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink()));
        wait.await??;
        let errors = system.stop().await;
        match errors.is_empty() {
            true => Ok::<(), Box<dyn Error>>(()),
            false => Err(errors.join("; ").into()),
        }
    })
}

/// Processor time of a process so far, in clock ticks of 10 ms (proc(5): utime and stime).
pub(crate) fn ticks(pid: u32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = text
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split(' ').collect::<Vec<_>>());
    let sum = fields
        .and_then(|fields| Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?));
    sum.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// An environment for plugins without what cargo adds.
pub(crate) fn environment(plugins: &Path) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("CNI_PATH".to_owned(), plugins.display().to_string()),
        ("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
    ])
}
