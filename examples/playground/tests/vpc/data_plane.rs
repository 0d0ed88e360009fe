//! The data plane alone: no agent runs; pods are put on the wire with the library the agent uses.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
};

use eni_core::{
    cloud::{AssignAddresses, Cloud, CreateEni},
    model::{Eni, Families, SandboxKey},
    network::{EniSetup, PodInterface, PodWiring},
    sim::Latency,
};
use eni_netlink::{NetlinkNetwork, namespace::Namespace};
use fabric::{
    netns::{self, NamedNamespace},
    nodes::Node,
    topology::Topology,
    vpc::Vpc,
};
use libtest_mimic::Failed;
use playground::ping::{Endpoint, every_pair, ping};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{capture::Capture, harness::eventually};

type Outcome = Result<(), Failed>;

/// No silent target.
const NOBODY: [Ipv4Addr; 0] = [];

/// A pod on the wire, with an address of an ENI of its own.
struct Pod {
    netns: NamedNamespace,
    eni: Eni,
    ip: Ipv4Addr,
    wiring: PodWiring,
    network: NetlinkNetwork,
}

async fn vpc(directory: &Path, nodes: u32) -> Result<Vpc, Failed> {
    Ok(Vpc::build(directory, Topology::new(nodes), Latency::default()).await?)
}

/// Creates an ENI with one secondary address and attaches it to a node.
async fn attach(vpc: &Vpc, node: &Node) -> Result<Eni, Failed> {
    let request = CreateEni {
        name: format!("eni-of-{}", node.plan.name),
        subnet: node.plan.subnet.id.clone(),
        secondary: 1,
        security_groups: Vec::new(),
        tags: Default::default(),
        token: node.plan.name.to_string(),
    };
    let eni = vpc.cloud.create_eni(&request).await?;
    vpc.cloud.attach_eni(&eni.id, &node.plan.instance).await?;
    Ok(eni)
}

async fn pod(vpc: &Vpc, node: &Node, directory: &Path) -> Result<Pod, Failed> {
    let eni = attach(vpc, node).await?;
    let address = eni
        .secondary_addresses()
        .next()
        .ok_or("the ENI came without a secondary address")?;
    let IpAddr::V4(ip) = address.ip else {
        return Err("the address is not IPv4".into());
    };
    let network = NetlinkNetwork::of(Namespace::open(node.netns())?);
    network.ensure_forwarding(node.mac, Families::V4)?;
    let link = network.ensure_eni(&EniSetup {
        mac: eni.mac,
        primary: eni.primary_address().ok_or("the ENI has no primary address")?,
        cidr: node.plan.subnet.range(),
        gateway: node.plan.subnet.gateway().into(),
    })?;
    let name = format!("pod-of-{}", node.plan.name);
    let netns = NamedNamespace::create(directory.join(&name))?;
    let wiring = PodWiring {
        interface: PodInterface {
            key: SandboxKey::new("test", &name, "eth0"),
            pod: None,
            addresses: Some(address.ip.into()),
        },
        netns: netns.path().display().to_string(),
        addresses: address.ip.into(),
        table: Some(link.table),
        mtu: 1500,
    };
    network.wire(&wiring)?;
    Ok(Pod {
        netns,
        eni,
        ip,
        wiring,
        network,
    })
}

/// Sends a datagram from a source of our choice, as a pod that lies about its address would.
async fn send(node: &Path, from: Ipv4Addr, to: Ipv4Addr) -> io::Result<()> {
    netns::inside(node, move || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // The kernel does not ask whether the source is its own then.
        socket.set_ip_transparent_v4(true)?;
        socket.bind(&SocketAddrV4::new(from, 4000).into())?;
        socket.send_to(b"?", &SocketAddrV4::new(to, 4000).into())?;
        Ok(())
    })
    .await
}

/// One at a time: `node` reaches `ip` within a bounded time.
async fn answers(node: &Node, ip: Ipv4Addr) -> Outcome {
    let reached = || async {
        ping(node.netns(), vec![ip])
            .await
            .is_ok_and(|silent| silent.is_empty())
    };
    eventually("the address answers", reached).await
}

pub(crate) async fn nodes_reach_each_other(directory: PathBuf) -> Outcome {
    let vpc = vpc(&directory, 3).await?;
    let endpoint = |node: &Node| Endpoint {
        name: node.plan.name.to_string(),
        node: node.plan.name.to_string(),
        netns: node.netns().to_owned(),
        address: node.address,
    };
    let endpoints: Vec<Endpoint> = vpc.nodes.iter().map(endpoint).collect();
    let matrix = every_pair(&endpoints, |_| {}).await?;
    assert_eq!((matrix.ok, matrix.failed), (6, vec![]));
    for node in &vpc.nodes {
        assert_eq!(
            ping(node.netns(), vec![node.plan.subnet.gateway()]).await?,
            NOBODY
        );
    }
    assert_eq!(vpc.fabric.errors(), [""; 0]);
    assert_eq!(vpc.fabric.spoofed_drops().await?, 0);
    Ok(())
}

pub(crate) async fn hot_plug(directory: PathBuf) -> Outcome {
    let vpc = vpc(&directory, 1).await?;
    let node = &vpc.nodes[0];
    let before = node.dump()?;
    assert!(
        before.lines().any(|line| line.starts_with("link eth0 ")),
        "{before:?}"
    );

    let pod = pod(&vpc, node, &directory).await?;
    let attached = node.dump()?.differences(&before).join("\n");
    let expected = format!("link eth1 {} up is left over", pod.eni.mac);
    assert!(attached.contains(&expected), "{attached}");
    answers(node, pod.ip).await?;

    pod.network.unwire(&pod.wiring.interface)?;
    pod.network.remove_eni(pod.eni.mac)?;
    vpc.cloud.detach_eni(&pod.eni.id).await?;
    let clean = || async { node.dump().is_ok_and(|dump| dump.differences(&before).is_empty()) };
    eventually("the node is as it was", clean).await?;
    vpc.cloud.delete_eni(&pod.eni.id).await?;
    assert!(!vpc.fabric.enis().contains(&pod.eni.id));
    assert_eq!(vpc.fabric.errors(), [""; 0]);
    Ok(())
}

pub(crate) async fn assignment(directory: PathBuf) -> Outcome {
    let vpc = vpc(&directory, 2).await?;
    let (here, there) = (&vpc.nodes[0], &vpc.nodes[1]);
    let Pod {
        netns: _netns,
        eni,
        ip,
        ..
    } = pod(&vpc, there, &directory).await?;
    answers(here, ip).await?;

    vpc.cloud.unassign_addresses(&eni.id, &[ip.into()]).await?;
    assert_eq!(
        ping(here.netns(), vec![ip]).await?,
        [ip],
        "an unassigned address answers"
    );

    vpc.cloud
        .assign_addresses(&eni.id, &AssignAddresses::Exactly(vec![ip.into()]))
        .await?;
    answers(here, ip).await?;

    vpc.cloud.detach_eni(&eni.id).await?;
    assert_eq!(
        ping(here.netns(), vec![ip]).await?,
        [ip],
        "an address of a detached ENI answers"
    );
    assert_eq!(vpc.fabric.errors(), [""; 0]);
    Ok(())
}

pub(crate) async fn spoofing(directory: PathBuf) -> Outcome {
    let vpc = vpc(&directory, 2).await?;
    let (here, there) = (&vpc.nodes[0], &vpc.nodes[1]);
    let capture = Capture::start(there.netns()).await?;
    send(here.netns(), here.address, there.address).await?;
    let arrived = || async {
        let seen = capture.drain().unwrap_or_default();
        seen.iter()
            .any(|seen| seen.source == here.address && !seen.outgoing)
    };
    eventually("a datagram from the own address arrives", arrived).await?;
    assert_eq!(vpc.fabric.spoofed_drops().await?, 0);

    // The other node's address, then one that the cloud has assigned to nobody.
    let nobody = Ipv4Addr::new(10, 40, 15, 250);
    for (count, foreign) in [(1, there.address), (2, nobody)] {
        send(here.netns(), foreign, there.address).await?;
        let counted = || async { vpc.fabric.spoofed_drops().await.is_ok_and(|drops| drops == count) };
        eventually("the drop is counted", counted).await?;
    }
    let seen = capture.drain()?;
    assert!(
        seen.iter()
            .all(|seen| seen.outgoing || seen.source == here.address),
        "{seen:?}"
    );
    Ok(())
}

pub(crate) async fn path(directory: PathBuf) -> Outcome {
    let vpc = vpc(&directory, 2).await?;
    let (here, there) = (&vpc.nodes[0], &vpc.nodes[1]);
    let (one, other) = (
        pod(&vpc, here, &directory).await?,
        pod(&vpc, there, &directory).await?,
    );
    let captures = [
        Capture::start(here.netns()).await?,
        Capture::start(there.netns()).await?,
    ];
    assert_eq!(ping(one.netns.path(), vec![other.ip]).await?, NOBODY);
    for (node, capture) in [here, there].into_iter().zip(captures) {
        capture.avoided_eth0(node.netns(), one.ip, other.ip)?;
    }
    assert_eq!(vpc.fabric.spoofed_drops().await?, 0);
    Ok(())
}
