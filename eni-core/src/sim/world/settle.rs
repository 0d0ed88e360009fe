//! Liveness: once nothing goes wrong any more, everything heals, and then nobody calls the cloud.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{chaos::Chaos, core::World, node::SimNode, plugin::Sandbox};
use crate::{
    cluster::{Cluster, Scope},
    model::{
        Claim, ClaimPhase, DeletePolicy, Eni, EniRecord, EniState, NodeConfig, NodeName, Pod, PodKey,
        PodPhase, PoolEni, SandboxKey, SubnetId, Uid,
    },
};

/// Virtual time in which everything heals: an audit must come by twice, and the longest back-off pass.
const HEALING: Duration = Duration::from_secs(45 * 60);
/// Virtual time in which nothing but the audit happens.
const STEADY: Duration = Duration::from_secs(25 * 60);
const AUDIT: Duration = Duration::from_secs(600);
/// How often the subnets are read while nodes share what is short.
const CROWDED: Duration = Duration::from_secs(30);

/// Waits until everything is healed, then until it has stayed so.
pub(super) async fn settle(chaos: &Chaos) {
    let world = &chaos.world;
    let deadline = Instant::now() + HEALING;
    let mut problems = wrong(chaos).await;
    while !problems.is_empty() {
        if Instant::now() > deadline {
            let how = format!("after {HEALING:?} without faults: {}", problems.join("; "));
            return world.fail("8: everything heals", how);
        }
        sleep(Duration::from_secs(5)).await;
        problems = wrong(chaos).await;
    }
    // What was ordered a moment ago comes to its end, and an audit comes by: by then it is known which
    // instances are gone.
    sleep(AUDIT + Duration::from_secs(120)).await;
    let before = world.truth(|truth| truth.counted.clone());
    sleep(STEADY).await;
    let after = world.truth(|truth| truth.counted.clone());
    let problems = wrong(chaos).await;
    if !problems.is_empty() {
        return world.fail("8: what is healed stays so", problems.join("; "));
    }
    if alone(chaos) || chaos.nodes.iter().any(|node| starved(chaos, node)) {
        return;
    }
    let configs = listed(world.cluster.node_configs().list(&Scope::All).await);
    let capacity = world.setting.limits.pods();
    let crowded = configs
        .into_iter()
        .any(|config: NodeConfig| config.pool.granted < capacity);
    let audits = STEADY.as_secs() / AUDIT.as_secs() + 1;
    for (action, count) in after {
        let calls = count - before.get(action).copied().unwrap_or_default();
        let allowed = match action {
            // Read with each audit, for all nodes together.
            "subnets" if crowded => audits + STEADY.as_secs() / CROWDED.as_secs(),
            "audit" | "subnets" | "instances" => audits,
            _ => 0,
        };
        if calls > allowed {
            let how = format!("{calls} calls of {action} in {STEADY:?} in which nothing happens");
            return world.fail("7: nothing happens in steady state", how);
        }
    }
}

/// Everything that is not as it must be in the end.
async fn wrong(chaos: &Chaos) -> Vec<String> {
    let world = &chaos.world;
    let configs = listed(world.cluster.node_configs().list(&Scope::All).await);
    let configs: BTreeMap<_, NodeConfig> = configs.map(|config| (config.name.clone(), config)).collect();
    let records: Vec<EniRecord> = listed(world.cluster.eni_records().list(&Scope::All).await).collect();
    let pods: Vec<Pod> = listed(world.cluster.pods().list(&Scope::All).await).collect();
    let mut problems = Vec::new();
    leaks(chaos, &records, &mut problems);
    let mut lacking = Vec::new();
    for node in chaos.nodes.iter().filter(|node| node.machine().is_some()) {
        let demand: Vec<_> = pods
            .iter()
            .filter(|pod| pod.node.as_ref() == Some(&node.name) && pod.needs_address())
            .collect();
        match configs.get(&node.name) {
            Some(config) if pool(chaos, node, config, demand.len(), &mut problems) => lacking.push(&**node),
            Some(_) => {}
            None => problems.push(format!("{} has no NodeENIConfig", node.name)),
        }
        served(chaos, node, &demand, &mut problems).await;
    }
    shared(chaos, &lacking, &configs, &mut problems);
    if world.setting.claims && !alone(chaos) {
        claimed(chaos, &pods, &mut problems);
    }
    problems
}

/// Whether an ENI that is attached to nothing keeps addresses of claims.
fn is_parking(chaos: &Chaos, eni: &Eni) -> bool {
    chaos.world.truth(|truth| {
        let mut claims = truth.claims.values().flat_map(|claim| claim.addresses.iter());
        eni.state == EniState::Available
            && claims.any(|ip| eni.secondary_addresses().any(|address| address.ip == ip))
    })
}

/// Every pod has its claim, no claim outlives a pod that it goes with, and no address is nobody's.
fn claimed(chaos: &Chaos, pods: &[Pod], problems: &mut Vec<String>) {
    let claims = chaos.world.truth(|truth| truth.claims.clone());
    let lives = |key: &PodKey, uid: &Uid| {
        let mut living = pods
            .iter()
            .filter(|pod| pod.phase != PodPhase::Finished && !pod.host_network);
        living.any(|pod| pod.key == *key && pod.uid == *uid)
    };
    for claim in claims.values() {
        let good = match claim.phase {
            // Whether a pod that has none should have one is judged with the pods.
            ClaimPhase::Assigned | ClaimPhase::Pending => lives(&claim.key, &claim.pod),
            ClaimPhase::Retained => claim.request.policy == Some(DeletePolicy::Never) && !claim.deleting,
            ClaimPhase::Releasing => false,
        };
        if !good {
            problems.push(format!("the claim {claim:?} is left"));
        }
    }
    let held: BTreeSet<_> = claims.values().flat_map(|claim| claim.addresses.iter()).collect();
    for eni in chaos.our_enis() {
        let strays = eni.secondary_addresses().map(|address| address.ip);
        let strays: Vec<_> = strays.filter(|ip| !held.contains(ip)).collect();
        if !strays.is_empty() {
            problems.push(format!("{} has {strays:?}, which nobody claims", eni.id));
        }
    }
}

/// What the subnets have left that a node could use which lacks some is granted to somebody, but for what does
/// not lift all nodes alike: one for each, and one for an ENI's own address.
fn shared(
    chaos: &Chaos,
    lacking: &[&SimNode],
    configs: &BTreeMap<NodeName, NodeConfig>,
    problems: &mut Vec<String>,
) {
    let granted = |config: &NodeConfig| {
        let bound: usize = config.pool.enis.iter().map(|eni| eni.attached.len()).sum();
        config
            .pool
            .granted
            .saturating_sub(u32::try_from(bound).unwrap_or(u32::MAX))
    };
    let granted: u32 = configs.values().map(granted).sum();
    for node in lacking {
        let within = within_reach(chaos, node);
        let left = within.values().sum::<u32>().saturating_sub(granted) as usize;
        if left >= 2 * configs.len() {
            let name = &node.name;
            problems.push(format!(
                "{name} lacks some, and nobody is granted {left} of {within:?}"
            ));
        }
    }
}

fn listed<T>(
    list: crate::cluster::ClusterResult<Vec<crate::cluster::Versioned<T>>>,
) -> impl Iterator<Item = T> {
    let list = list.expect("the world's own connection never fails");
    list.into_iter().map(|read| read.object)
}

/// Every ENI of ours has its record and the other way round.
fn leaks(chaos: &Chaos, records: &[EniRecord], problems: &mut Vec<String>) {
    let enis = chaos.our_enis();
    let names: BTreeSet<_> = enis.iter().map(|eni| &eni.name).collect();
    if names.len() < enis.len() {
        problems.push(format!("one of {names:?} exists twice"));
    }
    let mut enis: BTreeMap<_, Eni> = enis.into_iter().map(|eni| (eni.id.clone(), eni)).collect();
    if alone(chaos) {
        return;
    }
    for record in records {
        match record.id.as_ref().and_then(|id| enis.remove(id)) {
            Some(eni) if eni.state == EniState::InUse => {}
            Some(eni) if is_parking(chaos, &eni) => {}
            Some(eni) => problems.push(format!("{} is {:?} with {:?}", eni.id, eni.state, record)),
            None => problems.push(format!("the record {} has no ENI", record.name)),
        }
    }
    problems.extend(
        enis.values()
            .map(|eni| format!("{} ({:?}) has no record", eni.id, eni.state)),
    );
}

/// The node's pool is within its range, and everybody agrees on it. Returns whether it lacks idle
/// addresses because others have them.
fn pool(
    chaos: &Chaos,
    node: &SimNode,
    config: &NodeConfig,
    demand: usize,
    problems: &mut Vec<String>,
) -> bool {
    let (world, name) = (&chaos.world, &node.name);
    let Some((_, service)) = node.agent() else {
        problems.push(format!("{name} has no agent"));
        return false;
    };
    let counts = service.counts();
    let (min, max) = (world.setting.warm.min as usize, world.setting.warm.max as usize);
    let capacity = world.setting.limits.pods() as usize;
    let wanted = (demand + min).min(capacity);
    // Its share of what is short goes to idle addresses, never to the pods' own.
    let share = wanted.min(demand.max(config.pool.granted as usize));
    let bound = counts.total() - counts.lost;
    let starved = starved(chaos, node);
    if bound < share && !starved {
        problems.push(format!("{name} has {counts:?} for {demand} pods, of {share}"));
    }
    // A pod that lost its address is counted among those that need one.
    if counts.free > max + counts.lost || counts.cooling + counts.withdrawn > 0 {
        problems.push(format!("{name} keeps {counts:?} for {demand} pods"));
    }
    if config.pool.enis.iter().any(|eni| !eni.releasing.is_empty()) || !config.agent.withdrawn.is_empty() {
        problems.push(format!("{name} is still releasing: {:?}", config.agent));
    }
    let attached = |eni: &PoolEni| {
        let ips = eni.attached.iter().map(|entry| entry.ip);
        (eni.id.clone(), ips.collect::<BTreeSet<_>>())
    };
    let published: BTreeMap<_, _> = config.pool.enis.iter().map(attached).collect();
    let delivered: BTreeMap<_, _> = world.truth(|truth| {
        // What is kept for nobody is on an ENI, and no agent is told.
        let kept = |ip: &IpAddr| {
            let retained = |claim: &Claim| {
                let elsewhere = claim.phase == ClaimPhase::Pending && claim.node.as_ref() != Some(name);
                claim.phase == ClaimPhase::Retained || elsewhere
            };
            let mut kept = truth.claims.values().filter(|claim| retained(claim));
            kept.any(|claim| claim.addresses.iter().any(|own| own == *ip))
        };
        let carried = |eni: &PoolEni| {
            let ips = truth.enis.get(&eni.id)?.addresses.iter().copied();
            let used = ips.filter(|ip| *ip != eni.primary && !kept(ip));
            Some((eni.id.clone(), used.collect()))
        };
        config.pool.enis.iter().filter_map(carried).collect()
    });
    if published != delivered {
        problems.push(format!(
            "{name} is told {published:?} and the cloud delivers {delivered:?}"
        ));
    }
    !starved && share < wanted
}

/// Every pod has its address, and nobody else has one.
async fn served(chaos: &Chaos, node: &Arc<SimNode>, demand: &[&Pod], problems: &mut Vec<String>) {
    let world = &chaos.world;
    let Some(machine) = node.machine() else { return };
    let mut live: BTreeSet<SandboxKey> = BTreeSet::new();
    for pod in demand {
        let key = world.truth(|truth| {
            let served = truth.pods.get(&pod.uid).and_then(|fact| fact.served.clone());
            served.filter(|key| truth.sandboxes.get(&key.container).is_some_and(|fact| fact.alive))
        });
        let Some(key) = key else {
            if !(starved(chaos, node) && explained(world, node)) {
                let free = world.free(&chaos.subnets);
                let (starved, told) = (starved(chaos, node), explained(world, node));
                problems.push(format!(
                    "{} on {} has no address; the subnets have {free:?}, starved: {starved}, told: {told}",
                    pod.key, node.name
                ));
            }
            continue;
        };
        live.insert(key.clone());
        let sandbox = Sandbox {
            node: node.clone(),
            machine: machine.clone(),
            addresses: world.truth(|truth| truth.sandboxes.get(&key.container)?.acknowledged),
            key,
            pod: (*pod).clone(),
            number: 0,
        };
        if let Err(why) = sandbox.check().await {
            let key = &sandbox.key;
            let bereaved = world.truth(|truth| truth.is_bereaved(&node.name, key));
            let told = world.truth(|truth| truth.told.contains(&pod.key));
            problems.push(match (bereaved, told) {
                // Only another pod gets another address.
                (true, true) => continue,
                (true, false) => format!("{} lost its address and was not told", pod.key),
                (false, _) => format!("CHECK of {} ({key}) on {}: {why}", pod.key, node.name),
            });
        }
    }
    let (owners, wired) = world.truth(|truth| {
        let machine = truth.machines.get(&node.name);
        let keys =
            |map: Option<Vec<SandboxKey>>| map.unwrap_or_default().into_iter().collect::<BTreeSet<_>>();
        (
            keys(machine.map(|machine| machine.owned.keys().cloned().collect())),
            keys(machine.map(|machine| machine.wired.keys().cloned().collect())),
        )
    });
    let strays = |set: &BTreeSet<SandboxKey>| set.difference(&live).cloned().collect::<Vec<_>>();
    for (what, set) in [("owned", strays(&owners)), ("wired", strays(&wired))] {
        if !set.is_empty() {
            problems.push(format!("{} still has {what} by {set:?}", node.name));
        }
    }
    let survey = crate::network::NodeNetwork::survey(&*machine.kernel).await;
    match survey {
        Ok(survey) if survey.leftovers.is_empty() => {}
        survey => problems.push(format!("{} keeps {survey:?}", node.name)),
    }
}

/// Whether no instance is left. A listing without any is not believed, so what they left stays, and is tried
/// again and again.
fn alone(chaos: &Chaos) -> bool {
    chaos.nodes.iter().all(|node| node.machine().is_none())
}

/// Whether the subnets have nothing that this node could get.
fn starved(chaos: &Chaos, node: &SimNode) -> bool {
    node.machine().is_some() && within_reach(chaos, node).is_empty()
}

/// What is free in the subnets that this node could get something of.
fn within_reach(chaos: &Chaos, node: &SimNode) -> BTreeMap<SubnetId, u32> {
    let (world, limits) = (&chaos.world, chaos.world.setting.limits);
    let Some(machine) = node.machine() else {
        return BTreeMap::new();
    };
    let ours = chaos.our_enis().into_iter();
    let mine: Vec<_> = ours
        .filter(|eni| eni.instance.as_ref() == Some(&machine.instance))
        .collect();
    let more = mine.len() < limits.secondary_enis() as usize;
    let room = |eni: &&Eni| eni.addresses.len() < limits.addresses_per_eni as usize;
    let rooms: BTreeSet<_> = mine.iter().filter(room).map(|eni| &eni.subnet).collect();
    let mut free = world.free(&chaos.subnets);
    // What is kept for a claim and is on no ENI is free for others than us only.
    let kept = world.truth(|truth| {
        let claimed = truth.claims.values().flat_map(|claim| claim.addresses.iter());
        let kept = claimed.filter(|ip| !truth.at.contains_key(ip));
        u32::try_from(kept.count()).unwrap_or(u32::MAX)
    });
    free.values_mut()
        .for_each(|free| *free = free.saturating_sub(kept));
    free.retain(|subnet, free| *free >= 2 && more || *free >= 1 && rooms.contains(subnet));
    free
}

/// Whether people were told why.
fn explained(world: &World, node: &SimNode) -> bool {
    let about = crate::cluster::Subject::Node(node.name.clone());
    let events = world.cluster.events();
    events
        .iter()
        .any(|event| event.subject == about && event.reason == "SubnetExhausted")
}
