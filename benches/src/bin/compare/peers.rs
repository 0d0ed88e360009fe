//! Who is compared: ours, the reference plugins that Debian has, and whoever is named.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use eni_netlink::{namespace::Namespace, socket::Netlink};
use fabric::kernel::{self, LOOPBACK};
use serde_json::{Value, json};

use crate::node::Node;

/// Where Debian's package containernetworking-plugins puts them.
const DEBIAN: &str = "/usr/lib/cni";

/// The name by which ours is told.
pub(crate) const OURS: &str = "tke-route-eni";

/// A network to measure.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// Where its plugins are.
    pub(crate) plugins: PathBuf,
    /// What runtimes give it.
    pub(crate) configuration: Value,
    /// The network namespace in which it runs.
    pub(crate) host: PathBuf,
}

/// A peer that was named.
#[derive(Clone, Debug)]
pub(crate) struct ExtraPeer {
    name: String,
    plugins: PathBuf,
    configuration: PathBuf,
}

impl FromStr for ExtraPeer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text
            .split_once('=')
            .and_then(|(name, rest)| Some((name, rest.rsplit_once(':')?)));
        let (name, (plugins, configuration)) = parts.ok_or("write it as NAME=DIRECTORY:FILE")?;
        Ok(Self {
            name: name.to_owned(),
            plugins: plugins.into(),
            configuration: configuration.into(),
        })
    }
}

/// Everybody, ours first.
pub(crate) fn all(
    directory: &Path,
    plugins: &Path,
    node: &Node,
    extra: &[ExtraPeer],
) -> Result<Vec<Peer>, Box<dyn Error>> {
    let ours = Peer {
        name: OURS.to_owned(),
        plugins: plugins.to_owned(),
        configuration: json!({
            "cniVersion": "1.0.0", "name": OURS, "type": OURS, "mtu": 1500,
            "ipam": {"type": "tke-eni-ipamc", "backend": node.place.agent},
        }),
        host: node.place.netns.clone(),
    };
    let mut peers = vec![ours];
    let ipam = |number: u8| {
        json!({
            "type": "host-local",
            "ranges": [[{"subnet": format!("10.{number}.0.0/16")}]],
            "dataDir": directory.join(format!("host-local-{number}")),
            "routes": [{"dst": "0.0.0.0/0"}],
        })
    };
    let debian = [
        (
            "ptp + host-local",
            json!({"type": "ptp", "mtu": 1500, "ipam": ipam(71)}),
        ),
        (
            "bridge + host-local",
            json!({"type": "bridge", "bridge": "compare0", "isGateway": true, "mtu": 1500, "ipam": ipam(72)}),
        ),
        (
            "macvlan + host-local",
            json!({"type": "macvlan", "master": "eth0", "mode": "bridge", "mtu": 1500, "ipam": ipam(73)}),
        ),
    ];
    for (number, (name, mut configuration)) in debian.into_iter().enumerate() {
        let plugin = configuration["type"].as_str().unwrap_or_default();
        if !Path::new(DEBIAN).join(plugin).is_file() {
            return Err(format!("{DEBIAN}/{plugin} is missing; install containernetworking-plugins").into());
        }
        let host = host(directory, number)?;
        if plugin == "macvlan" && !has(&host, plugin)? {
            eprintln!("{name} is left out: this kernel has no macvlan");
            continue;
        }
        configuration["cniVersion"] = json!("1.0.0");
        configuration["name"] = json!(format!("compare-{number}"));
        peers.push(Peer {
            name: name.to_owned(),
            plugins: DEBIAN.into(),
            configuration,
            host,
        });
    }
    for (number, extra) in extra.iter().enumerate() {
        let text = fs::read_to_string(&extra.configuration)
            .map_err(|error| format!("{}: {error}", extra.configuration.display()))?;
        peers.push(Peer {
            name: extra.name.clone(),
            plugins: extra.plugins.clone(),
            configuration: serde_json::from_str(&text)
                .map_err(|error| format!("{}: {error}", extra.configuration.display()))?,
            host: host(directory, 100 + number)?,
        });
    }
    Ok(peers)
}

/// A network namespace for a peer, with an interface `eth0` that leads nowhere.
fn host(directory: &Path, number: usize) -> io::Result<PathBuf> {
    let path = directory.join(format!("host-{number}"));
    let namespace = Namespace::create(&path).map_err(io::Error::other)?;
    let up = || -> io::Result<()> {
        let mut netlink = Netlink::open().map_err(io::Error::other)?;
        kernel::run(&mut netlink, [kernel::set_up(LOOPBACK)]).map_err(io::Error::other)?;
        ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "far0"])?;
        ip(&["link", "set", "far0", "up"])?;
        ip(&["link", "set", "eth0", "up"])
    };
    namespace.run_in(up).map_err(io::Error::other)??;
    Ok(path)
}

/// Whether this kernel has links of a kind that is put on another.
fn has(host: &Path, kind: &str) -> io::Result<bool> {
    let namespace = Namespace::open(host).map_err(io::Error::other)?;
    let probe = || {
        ip(&["link", "add", "link", "eth0", "name", "probe0", "type", kind])?;
        ip(&["link", "delete", "probe0"])
    };
    Ok(namespace.run_in(probe).map_err(io::Error::other)?.is_ok())
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = std::process::Command::new("ip").args(arguments).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "ip {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}
