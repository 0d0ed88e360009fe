//! What a node is made of, and the files that it starts with.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use fabric::nodes::Node;
use ipnet::Ipv4Net;

use super::{
    cgroups,
    config::{self, CNI_CONFIGURATIONS, CNI_PLUGINS, CONTAINERD},
    spec::{NodeSpec, Program, Step},
};
use crate::{
    cluster::{
        ClusterError,
        certificates::{Certificates, Files},
    },
    kubernetes::{
        Binaries, Unavailable,
        programs::{IMAGES, KUBE_PROXY, KUBELET},
    },
};

/// Where Debian has the reference plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// Directories of a node, below its own, and where it sees them.
const BINDS: [(&str, &str); 5] = [
    ("run", "/run"),
    ("kubelet", "/var/lib/kubelet"),
    ("containerd", "/var/lib/containerd"),
    ("cni/net.d", CNI_CONFIGURATIONS),
    ("cni/bin", CNI_PLUGINS),
];

/// Directories in which a node's programs make files and directories of their own.
const LAYERS: [&str; 3] = ["/etc", "/opt", "/var"];

/// What kubelet sets for the whole machine, where a node must not.
const SETTINGS: [&str; 6] = [
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// A node of a cluster.
#[derive(Debug)]
pub(in crate::cluster) struct Member<'a> {
    /// Its place in the VPC.
    pub(in crate::cluster) node: &'a Node,
    /// The cluster's directory.
    pub(in crate::cluster) state: &'a Path,
    /// What its cgroups are called.
    pub(in crate::cluster) cgroup: String,
    /// The API server, as nodes reach it.
    pub(in crate::cluster) server: &'a str,
    /// Archives of images that it has besides the usual ones.
    pub(in crate::cluster) images: &'a [PathBuf],
    /// The range of its pods' addresses, if the reference plugins make their network.
    pub(in crate::cluster) bridge: Option<Ipv4Net>,
}

/// Prepares a node: makes its directories, files and cgroups; the file that describes it.
pub(in crate::cluster) fn plan(
    member: &Member<'_>,
    binaries: &Binaries,
    certificates: &Certificates,
) -> Result<PathBuf, ClusterError> {
    let name = member.node.plan.name.to_string();
    let directory = member.node.directory.clone();
    let groups = ["system:nodes"];
    let (address, user) = (member.node.address.to_string(), format!("system:node:{name}"));
    let serving = certificates.issue(&name, &user, &groups, &[&name, &address])?;
    let proxy = certificates.issue(&format!("{name}-proxy"), "system:kube-proxy", &[], &[])?;
    certificates.kubeconfig(&directory.join("kubelet.kubeconfig"), member.server, &serving)?;
    certificates.kubeconfig(&directory.join("kube-proxy.kubeconfig"), member.server, &proxy)?;
    let trusted = certificates.file("ca.crt");
    write_files(member, &directory, &trusted, &serving).map_err(Unavailable::machine(format!(
        "the files of {name} cannot be written"
    )))?;
    let cgroups =
        cgroups::create(&member.cgroup).map_err(Unavailable::machine(format!("no cgroups for {name}")))?;
    let spec = NodeSpec {
        name,
        netns: member.node.netns().to_owned(),
        cgroups,
        state: member.state.to_owned(),
        layers: LAYERS.map(PathBuf::from).into(),
        binds: BINDS
            .map(|(source, place)| (source.to_owned(), place.into()))
            .into(),
        settings: SETTINGS.map(str::to_owned).into(),
        steps: steps(member, binaries, &directory),
        directory,
    };
    let file = spec.directory.join("node.json");
    spec.write(&file).map_err(Unavailable::machine(format!(
        "{} cannot be written",
        file.display()
    )))?;
    Ok(file)
}

fn write_files(member: &Member<'_>, directory: &Path, trusted: &Path, serving: &Files) -> io::Result<()> {
    for (source, _) in BINDS {
        fs::create_dir_all(directory.join(source))?;
    }
    fs::create_dir(directory.join("settings"))?;
    let resolver = directory.join("resolv.conf");
    fs::write(&resolver, "")?;
    fs::write(directory.join("containerd.toml"), config::containerd())?;
    let kubelet = config::kubelet(trusted, &serving.certificate, &serving.key, &resolver);
    fs::write(directory.join("kubelet.json"), kubelet)?;
    for plugin in fs::read_dir(PLUGINS)? {
        let plugin = plugin?;
        fs::copy(plugin.path(), directory.join("cni/bin").join(plugin.file_name()))?;
    }
    match member.bridge {
        Some(pods) => fs::write(
            directory.join("cni/net.d/10-bridge.conflist"),
            config::bridge(pods),
        ),
        None => Ok(()),
    }
}

fn steps(member: &Member<'_>, binaries: &Binaries, directory: &Path) -> Vec<Step> {
    let file = |name: &str| directory.join(name).display().to_string();
    let program = |name: &str, path: PathBuf, arguments: Vec<String>| Program {
        name: name.to_owned(),
        path,
        arguments,
    };
    let containerd = vec!["--config".to_owned(), file("containerd.toml")];
    let mut steps = vec![Step::Service(program(
        "containerd",
        "containerd".into(),
        containerd,
    ))];
    let usual = IMAGES.iter().map(|image| binaries.path(image));
    for archive in usual.chain(member.images.iter().cloned()) {
        let archive = archive.display().to_string();
        let arguments = [
            "--address",
            CONTAINERD,
            "--namespace",
            "k8s.io",
            "images",
            "import",
            &archive,
        ];
        let arguments = arguments.map(str::to_owned).into();
        steps.push(Step::Once(program("ctr", "ctr".into(), arguments)));
    }
    let (name, address) = (member.node.plan.name.as_str(), member.node.address);
    steps.push(Step::Service(program(
        KUBELET.name,
        binaries.path(&KUBELET),
        kubelet_arguments(member, file),
    )));
    steps.push(Step::Service(program(
        KUBE_PROXY.name,
        binaries.path(&KUBE_PROXY),
        proxy_arguments(name, address, file),
    )));
    steps
}

fn kubelet_arguments(member: &Member<'_>, file: impl Fn(&str) -> String) -> Vec<String> {
    let plan = &member.node.plan;
    let zone = &plan.subnet.zone;
    vec![
        format!("--config={}", file("kubelet.json")),
        format!("--kubeconfig={}", file("kubelet.kubeconfig")),
        "--container-runtime=remote".to_owned(),
        format!("--container-runtime-endpoint=unix://{CONTAINERD}"),
        format!("--hostname-override={}", plan.name),
        format!("--node-ip={}", member.node.address),
        format!("--node-labels=topology.kubernetes.io/zone={zone}"),
        // As Tencent's cloud controller writes it.
        format!("--provider-id=qcloud:///{zone}/{}", plan.instance),
        "--v=2".to_owned(),
    ]
}

fn proxy_arguments(name: &str, address: Ipv4Addr, file: impl Fn(&str) -> String) -> Vec<String> {
    let arguments = [
        format!("--kubeconfig={}", file("kube-proxy.kubeconfig")),
        format!("--hostname-override={name}"),
        "--proxy-mode=iptables".to_owned(),
        format!("--bind-address={address}"),
        "--metrics-bind-address=127.0.0.1".to_owned(),
        "--healthz-port=0".to_owned(),
        "--v=2".to_owned(),
    ];
    // What would change the whole machine's table of connections.
    let untouched = [
        "max-per-core",
        "min",
        "tcp-timeout-established",
        "tcp-timeout-close-wait",
    ];
    arguments
        .into_iter()
        .chain(untouched.map(|name| format!("--conntrack-{name}=0")))
        .collect()
}
