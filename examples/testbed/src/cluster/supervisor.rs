//! The process that holds a cluster: it starts everything, and everything ends with it.

use std::{
    fs::{self, File},
    io::{self, BufRead},
    net::Ipv4Addr,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use eni_core::{
    model::{EniKind, InstanceId, NodeName},
    sim::Latency,
};
use fabric::{
    topology::{NodePlan, Topology},
    vpc::{Vpc, VpcError},
};
use ipnet::Ipv4Net;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::{Pid, setsid},
};

use serde_json::{Value, json};

use super::{
    CloudEni, ClusterError, Cni, Kubectl, Options,
    certificates::Certificates,
    control_plane::{ControlPlane, Parts},
    eni::{self, Eni},
    node::{Member, plan},
    order::{self, Order},
    state::State,
};
use crate::kubernetes::{
    Binaries,
    process::Process,
    programs::{self, KUBECTL},
};

/// What tells the supervisor that it may outlive who started it.
pub(super) const STAY: &str = "stay";

/// The instance of the control plane.
const CONTROL_PLANE: &str = "control-plane";

/// How long nodes may take to be ready; they need 6 s on two idle cores.
const PATIENCE: Duration = Duration::from_secs(180);

/// Brings a cluster up and holds it until this process is ended. What it says goes to its log.
pub(crate) fn run(options: &Options) -> Result<(), ClusterError> {
    let begun = Instant::now();
    let state = State::at(options.state.clone());
    let own = || -> io::Result<()> {
        setsid()?;
        state.hold()?;
        wait_for_leave(options.state.clone())?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        Ok(())
    };
    own().map_err(ClusterError::machine("namespaces of our own"))?;
    log_to(&state.path("cloud.log")).map_err(ClusterError::machine("a log"))?;
    let progress = |what: &str| println!("[{:5.1} s] {what}", begun.elapsed().as_secs_f64());
    let binaries = Binaries::cached(programs::CLUSTER)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(ClusterError::machine("a runtime"))?;
    let vpc = runtime.block_on(Vpc::build(
        &options.state,
        topology(options.nodes),
        Latency::default(),
    ))?;
    progress("the VPC is there");

    let certificates = Certificates::create(state.path("pki"))?;
    let Some((gateway, nodes)) = vpc.nodes.split_last() else {
        return Err(ClusterError::Missing(options.state.clone()));
    };
    let mut control_plane = ControlPlane::start(&Parts {
        node: gateway,
        state: &state,
        binaries: &binaries,
        certificates: &certificates,
        extender: nodes
            .first()
            .filter(|_| options.cni.is_eni())
            .map(|node| eni::extender(node.address)),
    })?;
    progress("the API server serves");

    let kubectl = Kubectl::new(binaries.path(&KUBECTL), state.kubeconfig());
    let eni = match options.cni.is_eni() {
        true => Some(Eni::prepare(&runtime, &vpc, gateway, &options.state)?),
        false => None,
    };
    if let Some(eni) = &eni {
        eni.deploy(&vpc, &kubectl, options.cni)?;
        progress("ipamd, the agents and the scheduler's extender are deployed");
    }
    let mut running = Vec::new();
    for (number, node) in (1..).zip(nodes) {
        let bridge = match options.cni {
            Cni::Bridge => {
                let pods = Ipv4Net::new_assert(Ipv4Addr::new(10, 50, number, 0), 24);
                let route = vpc.fabric.route(pods.into(), node.address.into());
                route.map_err(VpcError::from)?;
                Some(pods)
            }
            // Ours is deployed.
            Cni::Eni | Cni::EniStatic | Cni::None => None,
        };
        let member = Member {
            node,
            state: &options.state,
            cgroup: format!("testbed-{}-{}", Pid::this(), node.plan.name),
            server: &control_plane.server,
            images: eni.as_ref().map_or(&[], Eni::images),
            bridge,
        };
        let file = plan(&member, &binaries, &certificates)?;
        running.push(start(&file, &node.directory)?);
    }
    progress("the nodes are started");

    wait_for_nodes(&kubectl, options)?;
    progress(&format!("{} nodes", options.nodes));
    kubectl.wait(
        "the default ServiceAccount",
        PATIENCE,
        &["get", "serviceaccount", "default"],
        |_| true,
    )?;
    let orders = UnixListener::bind(state.orders()).map_err(ClusterError::machine("a socket for orders"))?;
    let seconds = begun.elapsed().as_secs_f64();
    progress("up");
    fs::write(state.ready(), format!("{seconds:.1}\n"))
        .map_err(ClusterError::machine("saying that it is up"))?;
    let carry_out = |order| {
        progress(&format!("{order:?}"));
        match order {
            Order::KillApiServer => control_plane.kill_api_server(),
            Order::StartApiServer => control_plane.start_api_server()?,
            Order::KillNode(name) => {
                let found = nodes.iter().zip(&mut running);
                let found = found.filter(|(node, _)| node.plan.name.as_str() == name);
                for (node, process) in found {
                    process.kill();
                    process.stop();
                    vpc.cloud.terminate_instance(&node.plan.instance);
                }
            }
            Order::TellEnis => return Ok(json!(enis(&vpc))),
        }
        Ok(Value::Null)
    };
    order::serve(&orders, carry_out).map_err(ClusterError::machine("taking orders"))
}

/// The ENIs of the cloud.
fn enis(vpc: &Vpc) -> Vec<CloudEni> {
    let enis = vpc.cloud.all_enis().into_iter().map(|eni| CloudEni {
        id: eni.id.to_string(),
        instance: eni.instance.as_ref().map(ToString::to_string),
        primary: eni.kind == EniKind::Primary,
        addresses: eni.secondary_addresses().map(|address| address.ip).collect(),
    });
    enis.collect()
}

/// The nodes, and last the instance of the control plane.
fn topology(nodes: u32) -> Topology {
    let mut topology = Topology::new(nodes);
    let subnet = topology.subnets[0].clone();
    topology.nodes.push(NodePlan {
        name: NodeName::from(CONTROL_PLANE),
        instance: InstanceId::from("ins-c0000000"),
        subnet,
    });
    topology
}

/// What the VPC and the cloud say goes to a file.
fn log_to(file: &Path) -> io::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(Mutex::new(File::create(file)?))
        .with_ansi(false)
        .init();
    Ok(())
}

/// Starts a node that a file describes.
fn start(file: &Path, directory: &Path) -> Result<Process, ClusterError> {
    let program = std::env::current_exe().map_err(ClusterError::machine("the path of this program"))?;
    let arguments = ["node".to_owned(), file.display().to_string()];
    Ok(Process::start("testbed", &program, &arguments, &[], directory)?)
}

/// Waits until all nodes are registered, and ready if they have a network; on ENIs, until they offer addresses.
fn wait_for_nodes(kubectl: &Kubectl, options: &Options) -> Result<(), ClusterError> {
    let ready = r#"{.status.conditions[?(@.type=="Ready")].status}"#;
    let conditions: &[&str] = match options.cni {
        Cni::None => &["{.metadata.name}"],
        Cni::Bridge => &[ready],
        Cni::Eni | Cni::EniStatic => &[ready, r"{.status.allocatable.tke\.cloud\.tencent\.com/eni-ip}"],
    };
    for condition in conditions {
        let output = format!("jsonpath={{range .items[*]}}{condition} {{end}}");
        let arguments = ["get", "nodes", "--output", &output];
        kubectl.wait("the nodes are ready", PATIENCE, &arguments, |text| {
            let words: Vec<&str> = text.split_whitespace().collect();
            words.len() == options.nodes as usize
                && !words
                    .iter()
                    .any(|word| matches!(*word, "False" | "Unknown" | "0"))
        })?;
    }
    Ok(())
}

/// Takes everything down once who started us is gone, unless it said before that we stay.
fn wait_for_leave(state: PathBuf) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let wait = move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        if read.is_ok() && line.trim_end() == STAY {
            return;
        }
        let down = Command::new(program)
            .args(["down", "--state"])
            .arg(state)
            .stdin(Stdio::null())
            .spawn();
        if let Err(error) = down {
            eprintln!("nobody clears up: {error}");
        }
        std::process::exit(1);
    };
    thread::Builder::new().name("leash".into()).spawn(wait)?;
    Ok(())
}
