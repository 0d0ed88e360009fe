//! Whether all that know of a node's addresses say the same: the API server's pods, the agent's journal, the node's
//! kernel, the cloud, and what ipamd published.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::IpAddr,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use serde_json::Value;

use crate::{Bed, Outcome};

/// How often it is looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// Idle addresses of a node at rest: ipamd's default range is `--ip-min-warm-target=5 --ip-max-warm-target=5`.
const WARM: usize = 5;

/// How the name of the node's end of a pod's link begins, and the name of no other.
const LINKS: &str = "eni";

/// Waits until all agree on every node, and no address is idle beyond the warm pool.
pub(crate) fn wait(bed: &Bed, patience: Duration) -> Outcome {
    let begun = Instant::now();
    loop {
        let mut complaints = Vec::new();
        for node in ["node-1", "node-2"] {
            complaints.extend(disagreements(bed, node)?);
        }
        if complaints.is_empty() {
            println!("all agree after {:.0} s", begun.elapsed().as_secs_f64());
            return Ok(());
        }
        if begun.elapsed() > patience {
            return Err(format!("after {patience:?}:\n{}", complaints.join("\n")).into());
        }
        thread::sleep(PAUSE);
    }
}

/// What an agent says at a path of its introspection socket.
pub(crate) fn introspect(bed: &Bed, node: &str, path: &str) -> Result<Value, Failed> {
    let socket = format!("{node}/run/tke-eni-agent/introspection.sock");
    let mut stream = UnixStream::connect(bed.cluster.state().path(&socket))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    Ok(serde_json::from_str(body)?)
}

fn disagreements(bed: &Bed, node: &str) -> Result<Vec<String>, Failed> {
    let kubectl = bed.cluster.kubectl();
    let parsed =
        |arguments: &[&str]| -> Result<Value, Failed> { Ok(serde_json::from_str(&kubectl.run(arguments)?)?) };
    let on_node = format!("--field-selector=spec.nodeName={node}");
    let pods = parsed(&["get", "pods", "--all-namespaces", &on_node, "--output=json"])?;
    let config = parsed(&["get", "nodeeniconfig", node, "--output=json"])?;
    let pods = texts(
        items(&pods["items"]).filter(|pod| pod["spec"]["hostNetwork"] != true),
        "/status/podIP",
    );
    let owners = introspect(bed, node, "/v1/owners")?;
    let owned = texts(items(&owners).flat_map(|owner| items(&owner["addresses"])), "");
    let known = introspect(bed, node, "/v1/enis")?;
    let known = texts(items(&known).flat_map(|eni| items(&eni["addresses"])), "/ip");
    let enis = || items(&config["status"]["eniInfos"]);
    let published = texts(enis().flat_map(|eni| items(&eni["attached"])), "/ip");
    let releasing = texts(enis().flat_map(|eni| items(&eni["releasing"])), "/ip");
    let instance = config["spec"]["instance"].as_str();
    let bound: BTreeSet<String> = (bed.cluster.enis()?.into_iter())
        .filter(|eni| !eni.primary && eni.instance.as_deref() == instance)
        .flat_map(|eni| eni.addresses)
        .map(|address| address.to_string())
        .collect();

    let ip = |arguments: &[&str]| -> Result<Value, Failed> {
        let command = [&["ip", "-json"], arguments].concat();
        Ok(serde_json::from_slice(&bed.cluster.exec(node, &command)?.stdout)?)
    };
    let ours = |link: &Value| link.as_str().is_some_and(|name| name.starts_with(LINKS));
    let links = ip(&["link", "show"])?;
    let links = items(&links).filter(|link| ours(&link["ifname"])).count();
    let routes = ip(&["route", "show", "table", "main"])?;
    let routed = texts(items(&routes).filter(|route| ours(&route["dev"])), "/dst");
    let rules = ip(&["rule", "show"])?;
    let mut ruled = texts(items(&rules), "/src");
    ruled.append(&mut texts(items(&rules), "/dst"));
    // An ENI's own address has a rule too, for what the node itself sends from it.
    let primary = texts(enis(), "/primary");
    ruled.retain(|text| text.parse::<IpAddr>().is_ok() && !primary.contains(text));

    let mut complaints = Vec::new();
    for (what, set, whole, of) in [
        ("the journal's owners", &owned, &pods, "pods"),
        ("the kernel's routes", &routed, &owned, "owners"),
        ("the kernel's rules", &ruled, &owned, "owners"),
        ("the NodeENIConfig's addresses", &published, &bound, "the cloud"),
        ("the agent's addresses", &known, &bound, "the cloud"),
        ("addresses on their way off", &releasing, &BTreeSet::new(), "none"),
    ] {
        if set != whole {
            complaints.push(format!("{node}: {what} are {set:?}, and of {of} {whole:?}"));
        }
    }
    if links != owned.len() {
        complaints.push(format!("{node}: {links} links for {} owners", owned.len()));
    }
    if bound.len() != owned.len() + WARM {
        complaints.push(format!(
            "{node}: {} are bound for {} owners",
            bound.len(),
            owned.len()
        ));
    }
    Ok(complaints)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The texts at a place of each.
fn texts<'a>(values: impl Iterator<Item = &'a Value>, place: &str) -> BTreeSet<String> {
    let texts = values.filter_map(|value| value.pointer(place)?.as_str());
    texts.map(str::to_owned).collect()
}
