//! The whole of a cluster in one seed: real controllers, node services and dialogues over the memory
//! backends, in virtual time, with everything going wrong that can, and the invariants judged at every step.
//!
//! [`simulate`] runs one seed. First a *safety* phase in which calls fail, answers are lost, processes crash
//! and machines boot; then a *liveness* phase in which nothing goes wrong and everything must heal; then a
//! *steady* one in which nobody may call the cloud beyond the audit. The same seed gives the same steps.

mod bug;
mod chaos;
mod core;
mod dice;
mod event;
mod handles;
mod invariants;
mod ipamd;
mod node;
mod plugin;
mod process;
mod rogue;
mod setting;
mod settle;
mod trace;
mod truth;
mod workload;

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::sleep;

pub use bug::Bug;
pub use setting::FAULTS;

use self::{
    chaos::Chaos,
    core::{Witness, World},
    dice::Dice,
    ipamd::Ipamd,
    node::SimNode,
    setting::Setting,
    truth::Truth,
    workload::Workload,
};
use super::{MemoryCloud, MemoryFabric, SimEnvironment};
use crate::{
    cloud::{Cloud, CreateEni},
    model::SubnetId,
};

/// What is simulated, apart from the seed.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Things go wrong.
    pub faults: bool,
    /// What does not go wrong all the same; names out of [`FAULTS`].
    pub without: Vec<String>,
    /// What goes wrong as often as it can; names out of [`FAULTS`].
    pub often: Vec<String>,
    /// A mistake is built in, to prove that it is found.
    pub bug: Option<Bug>,
    /// Every pod has a claim on a static address.
    pub claims: bool,
    /// Every step is printed as it happens.
    pub print: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            faults: true,
            without: Vec::new(),
            often: Vec::new(),
            bug: None,
            claims: false,
            print: false,
        }
    }
}

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Every pod had a claim.
    pub claims: bool,
    /// The hash of all steps: the same for the same seed and the same code.
    pub hash: u64,
    /// Backend calls and other steps.
    pub steps: u64,
    /// Virtual time that passed.
    pub time: Duration,
    /// What must not be, if it was.
    pub violation: Option<Violation>,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    /// How it was broken, with the ids.
    pub how: String,
    /// When, in virtual time since the beginning.
    pub at: Duration,
    /// The last steps before it, a line each.
    pub last: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed, steps, hash, ..
        } = self;
        let Some(violation) = &self.violation else {
            return write!(f, "seed {seed}: {steps} steps, trace {hash:016x}");
        };
        for step in &violation.last {
            writeln!(f, "{step}")?;
        }
        let at = violation.at.as_secs_f64();
        writeln!(
            f,
            "seed {seed} breaks invariant {} at {at:.3}s:",
            violation.invariant
        )?;
        writeln!(f, "  {}", violation.how)?;
        let claims = if self.claims { " --static" } else { "" };
        write!(f, "replay: cargo play -- simulate{claims} --seed {seed} --trace")
    }
}

/// A longer way to the cloud than a call, such as a client and a server of its API.
pub trait Wire: Send + Sync {
    /// The cloud at the other end.
    fn cloud(&self) -> Arc<dyn Cloud>;

    /// From now on nothing goes wrong on the way.
    fn calm_down(&self);
}

/// Runs one seed.
///
/// # Panics
///
/// If no runtime can be made.
pub fn simulate(seed: u64, scenario: &Scenario) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(run(seed, scenario, |_, _| None))
}

/// Runs one seed in which ipamd reaches the cloud by a wire, which `connect` makes within the runtime. What the
/// system's sockets carry takes its own time, so that a seed need not give the same steps again.
///
/// # Panics
///
/// If no runtime can be made.
pub fn simulate_over(
    seed: u64,
    scenario: &Scenario,
    connect: impl FnOnce(&MemoryCloud, Arc<SimEnvironment>) -> Arc<dyn Wire>,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("the system has sockets");
    runtime.block_on(run(seed, scenario, |cloud, environment| {
        Some(connect(cloud, environment))
    }))
}

async fn run(
    seed: u64,
    scenario: &Scenario,
    wire: impl FnOnce(&MemoryCloud, Arc<SimEnvironment>) -> Option<Arc<dyn Wire>>,
) -> Outcome {
    let dice = Dice::new(seed);
    let setting = Setting::draw(&dice, scenario);
    let (fabric, truth) = (
        Arc::new(MemoryFabric::new()),
        Arc::new(Mutex::new(Truth::default())),
    );
    let witness = Witness {
        fabric: fabric.clone(),
        truth: truth.clone(),
    };
    let (cloud, subnets) = build(&setting, witness);
    let world = Arc::new(World::new(
        seed,
        scenario.bug,
        scenario.print,
        dice,
        setting,
        cloud,
        fabric,
        truth,
        wire,
    ));
    strangers(&world, &subnets).await;
    let violation = tokio::select! {
        biased;
        () = world.until_over() => world.violation(),
        () = play(&world, subnets) => world.violation(),
    };
    let (hash, steps) = world.summary();
    Outcome {
        seed,
        claims: scenario.claims,
        hash,
        steps,
        time: world.elapsed(),
        violation,
    }
}

/// The phases, one after the other.
async fn play(world: &Arc<World>, subnets: Vec<SubnetId>) {
    let nodes = (0..world.setting.nodes).map(|n| SimNode::new(world, format!("node-{n}").into()));
    let nodes: Arc<Vec<_>> = Arc::new(nodes.collect());
    for (n, node) in nodes.iter().enumerate() {
        node.join(format!("ins-{n}").into());
    }
    let ipamd = Ipamd::new(world, subnets.clone());
    tokio::spawn(ipamd.clone().run());
    for number in 0..world.setting.workloads {
        let workload = Workload {
            world: world.clone(),
            nodes: nodes.clone(),
            number,
        };
        tokio::spawn(workload.run());
    }
    let chaos = Arc::new(Chaos {
        world: world.clone(),
        nodes,
        ipamd,
        subnets,
        taken: Mutex::default(),
    });
    tokio::spawn(chaos.clone().run());
    tokio::spawn(rogue::run(chaos.clone()));
    let end = tokio::time::Instant::now() + world.setting.safety;
    while tokio::time::Instant::now() < end {
        sleep(Duration::from_secs(1)).await;
        count(&chaos);
    }
    chaos.heal();
    settle::settle(&chaos).await;
    count(&chaos);
}

/// Every service counts its addresses.
fn count(chaos: &Chaos) {
    for node in chaos.nodes.iter() {
        if let Some((_, service)) = node.agent() {
            let (counts, pool) = (service.counts(), service.published());
            chaos.world.observe(&event::Event::Counted {
                node: &node.name,
                counts,
                pool: &pool,
            });
        }
    }
}

fn build(setting: &Setting, witness: Witness) -> (MemoryCloud, Vec<SubnetId>) {
    let cidr = |text: String| text.parse().expect("the ranges are written here");
    let mut builder = MemoryCloud::builder()
        .subnet("subnet-nodes", "zone-1", cidr("10.0.0.0/24".to_owned()))
        .latency(setting.latency)
        .fabric(Arc::new(witness));
    let mut subnets = Vec::new();
    for (n, length) in setting.subnets.iter().enumerate() {
        let id = format!("subnet-{n}");
        builder = builder.subnet(id.as_str(), "zone-1", cidr(format!("10.{}.0.0/{length}", n + 1)));
        subnets.push(SubnetId::from(id));
    }
    for n in 0..setting.nodes {
        builder = builder.instance(format!("ins-{n}"), "subnet-nodes", setting.limits);
    }
    (builder.build(), subnets)
}

/// ENIs of others, in our subnets, one of them under a name as ours.
async fn strangers(world: &World, subnets: &[SubnetId]) {
    let tags = [("cluster", "another"), ("team", "database")];
    for (n, (key, value)) in tags.into_iter().enumerate() {
        let request = CreateEni {
            name: format!("node-0-0000000{n}"),
            subnet: subnets[n % subnets.len()].clone(),
            secondary: 1,
            security_groups: Vec::new(),
            tags: [(key.to_owned(), value.to_owned())].into(),
            token: format!("stranger-{n}"),
        };
        let created = world.cloud.create_eni(&request).await;
        created.expect("an empty subnet has room");
    }
}
