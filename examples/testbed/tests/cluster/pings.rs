//! Pings from inside pods' namespaces that go on whatever happens meanwhile, and what of them was lost.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Seek},
    process::{Child, Command},
};

use libtest_mimic::Failed;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use testbed::kubernetes::{Binaries, programs::BUSYBOX};

use crate::{Bed, Outcome, pods::Pod};

/// Between two pings, in seconds.
const PAUSE: &str = "0.2";

/// The network namespace, among those of a node, that has an address.
const FIND: &str = r#"for netns in /run/netns/*; do
nsenter --net="$netns" ip -oneline address show 2>/dev/null | grep --quiet --fixed-strings " $1/" && echo "$netns"
done"#;

/// Pings that go on. They enter namespaces by themselves: no kubelet and no runtime is asked for anything.
#[derive(Debug)]
pub(crate) struct Pings(Vec<Ping>);

#[derive(Debug)]
struct Ping {
    what: String,
    child: Child,
    output: File,
}

impl Pings {
    /// Between each pod and one of another node.
    pub(crate) fn start(bed: &Bed, pods: &[Pod]) -> Result<Self, Failed> {
        let mut pings = Self(Vec::new());
        for from in pods {
            let to = pods.iter().find(|pod| pod.node != from.node);
            let to = to.ok_or("all pods are on one node")?;
            pings.0.push(Ping::start(bed, from, &to.address)?);
        }
        Ok(pings)
    }

    /// Ends them; fails unless each ping was answered.
    pub(crate) fn end(mut self) -> Outcome {
        for ping in &mut self.0 {
            ping.end()?;
        }
        Ok(())
    }
}

impl Ping {
    fn start(bed: &Bed, from: &Pod, to: &str) -> Result<Self, Failed> {
        let found = bed
            .cluster
            .exec(&from.node, &["sh", "-c", FIND, "sh", &from.address])?;
        let netns = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        assert!(
            netns.starts_with("/run/netns/"),
            "{from:?} has no namespace: {found:?}"
        );
        let output = tempfile::tempfile()?;
        // nsenter becomes the program where no process namespace is entered: the child is ping itself.
        let child = Command::new("nsenter")
            .args([
                "--mount",
                "--target",
                &bed.cluster.first_process(&from.node)?.to_string(),
            ])
            .args(["--", "nsenter", &format!("--net={netns}"), "--"])
            .arg(Binaries::cached(&[BUSYBOX])?.path(&BUSYBOX))
            .args(["ping", "-i", PAUSE, to])
            .stdout(output.try_clone()?)
            .spawn()?;
        let what = format!("{} to {to}", from.name);
        Ok(Self { what, child, output })
    }

    fn end(&mut self) -> Outcome {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT)?;
        self.child.wait()?;
        let mut text = String::new();
        self.output.rewind()?;
        self.output.read_to_string(&mut text)?;
        let answered: BTreeSet<u32> = text.lines().filter_map(|line| after(line, " seq=")).collect();
        let sent = text.lines().find(|line| line.contains(" packets transmitted"));
        let sent = sent.and_then(|line| line.split(' ').next()?.parse::<u32>().ok());
        let sent = sent.ok_or_else(|| format!("{} did not ping: {text}", self.what))?;
        // The last one may be under way.
        let lost: Vec<u32> = (0..sent.saturating_sub(1))
            .filter(|number| !answered.contains(number))
            .collect();
        println!("{}: {sent} pings, {} lost", self.what, lost.len());
        assert!(
            !answered.is_empty() && lost.is_empty(),
            "{} lost {lost:?} of {sent}",
            self.what
        );
        Ok(())
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        for ping in &mut self.0 {
            if matches!(ping.child.try_wait(), Ok(None))
                && let Err(error) = ping.child.kill().and_then(|()| ping.child.wait().map(drop))
            {
                eprintln!("{}: {error}", ping.what);
            }
        }
    }
}

/// The number after a word in the line of an answer.
fn after(line: &str, word: &str) -> Option<u32> {
    let number = line.contains(" time=").then(|| line.split(word).nth(1))??;
    number.split(' ').next()?.parse().ok()
}
