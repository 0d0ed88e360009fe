//! Rounds of all peers, interleaved.

use std::{
    error::Error,
    fs, io,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use eni_netlink::namespace::Namespace;

use crate::{
    drive::{Measured, Round},
    node::Node,
    peers::{OURS, Peer},
};

/// Pods of a round.
const BATCH: usize = 32;

/// Rounds before those that count.
const WARM_UP: u32 = 1;

/// The pause after a round of ours: as long as a released address rests in this node.
const PAUSE: Duration = Duration::from_millis(1_200);

/// All rounds of a peer at a concurrency.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) peer: String,
    pub(crate) concurrency: u32,
    pub(crate) rounds: Vec<Measured>,
}

/// Measures everybody.
pub(crate) fn run(
    peers: &[Peer],
    concurrencies: &[u32],
    rounds: u32,
    directory: &Path,
    agent: u32,
) -> Result<Vec<Series>, Box<dyn Error>> {
    let pods = directory.join("pods");
    fs::create_dir(&pods)?;
    let mut results = Vec::new();
    for &concurrency in concurrencies {
        let mut measured: Vec<Vec<Measured>> = peers.iter().map(|_| Vec::new()).collect();
        for number in 0..WARM_UP + rounds {
            eprint!("\rconcurrency {concurrency:2}, round {number:3} of {rounds} ");
            for (index, peer) in peers.iter().enumerate() {
                let round = Round {
                    plugins: peer.plugins.clone(),
                    configuration: peer.configuration.clone(),
                    host: peer.host.clone(),
                    pods: pods.clone(),
                    prefix: format!("c{concurrency}r{number}p{index}"),
                    batch: BATCH,
                    concurrency: concurrency as usize,
                    agent: (peer.name == OURS).then_some(agent),
                };
                let figures = drive(&round, directory)?;
                if number >= WARM_UP {
                    measured[index].push(figures);
                }
                if peer.name == OURS {
                    thread::sleep(PAUSE);
                }
            }
        }
        eprintln!();
        for (peer, rounds) in peers.iter().zip(measured) {
            results.push(Series {
                peer: peer.name.clone(),
                concurrency,
                rounds,
            });
        }
    }
    Ok(results)
}

fn drive(round: &Round, directory: &Path) -> Result<Measured, Box<dyn Error>> {
    let file = directory.join("round.json");
    fs::write(&file, serde_json::to_vec(round)?)?;
    let output = Command::new(std::env::current_exe()?)
        .arg("drive")
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => Err(format!("a round of {} failed: {}", round.prefix, output.status).into()),
    }
}

/// Links for pods that are on our node two seconds after the last DEL.
pub(crate) fn links_left(node: &Node) -> io::Result<usize> {
    thread::sleep(Duration::from_secs(2));
    let list = || {
        Command::new("ip")
            .args(["-oneline", "link", "show", "type", "veth"])
            .output()
    };
    let listed = Namespace::open(&node.place.netns)
        .and_then(|namespace| namespace.run_in(list))
        .map_err(io::Error::other)??;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    // The instance's own devices are the fabric's: they are called eth and a number.
    let pods = text.lines().filter(|line| {
        let name = line.split(": ").nth(1).unwrap_or_default();
        !name.starts_with("eth")
    });
    Ok(pods.count())
}
