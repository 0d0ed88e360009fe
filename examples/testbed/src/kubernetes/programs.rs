//! The programs that a testbed runs, and what each is made from.

use super::images::{AGNHOST_IMAGE, BUSYBOX_IMAGE, CONFORMANCE_IMAGE, Image, PAUSE_IMAGE};

/// A program, or a file that one is given to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its file's name.
    pub name: &'static str,
    pub(super) origin: Origin,
}

/// What a program is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file of a Debian package, which is unpacked and not installed.
    Debian {
        package: &'static str,
        file: &'static str,
    },
    /// A Go package of Kubernetes' source.
    Go(&'static str),
    /// The tests of a Go package of Kubernetes' source.
    GoTests(&'static str),
    /// A Go file of ours.
    GoFile(&'static str),
    /// A C file of Kubernetes' source, linked statically.
    C(&'static str),
    /// An archive of programs that come before it.
    Image(&'static Image),
}

impl Program {
    const fn command(name: &'static str, package: &'static str) -> Self {
        let origin = Origin::Go(package);
        Self { name, origin }
    }

    const fn debian(name: &'static str, package: &'static str, file: &'static str) -> Self {
        let origin = Origin::Debian { package, file };
        Self { name, origin }
    }

    const fn image(name: &'static str, image: &'static Image) -> Self {
        let origin = Origin::Image(image);
        Self { name, origin }
    }
}

/// The store of the API server.
pub const ETCD: Program = Program::debian("etcd", "etcd-server", "usr/bin/etcd");
/// The API server.
pub const API_SERVER: Program = Program::command("kube-apiserver", "cmd/kube-apiserver");
/// The controllers.
pub const CONTROLLER_MANAGER: Program =
    Program::command("kube-controller-manager", "cmd/kube-controller-manager");
/// The scheduler.
pub const SCHEDULER: Program = Program::command("kube-scheduler", "cmd/kube-scheduler");
/// A node's agent of Kubernetes.
pub const KUBELET: Program = Program::command("kubelet", "cmd/kubelet");
/// What makes Services work on a node.
pub const KUBE_PROXY: Program = Program::command("kube-proxy", "cmd/kube-proxy");
/// The command line.
pub const KUBECTL: Program = Program::command("kubectl", "cmd/kubectl");
/// What upstream's tests run in pods: servers and clients of many kinds.
pub const AGNHOST: Program = Program::command("agnhost", "test/images/agnhost");
/// What holds a pod's namespaces.
pub const PAUSE: Program = Program {
    name: "pause",
    origin: Origin::C("build/pause/linux/pause.c"),
};
/// A shell with its tools, for images.
pub const BUSYBOX: Program = Program::debian("busybox", "busybox-static", "bin/busybox");
/// The images that every node has.
pub const IMAGES: [Program; 3] = [
    Program::image("pause.tar", &PAUSE_IMAGE),
    Program::image("busybox.tar", &BUSYBOX_IMAGE),
    Program::image("agnhost.tar", &AGNHOST_IMAGE),
];

/// Upstream's own tests of a cluster.
pub const E2E_TESTS: Program = Program {
    name: "e2e.test",
    origin: Origin::GoTests("test/e2e"),
};
/// A shell that runs the programs on PATH; busybox's prefers its own tools, and its `nc` knows no UDP.
pub const BASH: Program = Program::debian("bash", "bash-static", "bin/bash-static");
/// What upstream's tests run in pods besides agnhost, with the few options that they give.
pub const CLIENTS: [Program; 2] = [
    Program {
        name: "curl",
        origin: Origin::GoFile(include_str!("clients/curl.go")),
    },
    Program {
        name: "nc",
        origin: Origin::GoFile(include_str!("clients/nc.go")),
    },
];
/// agnhost's image for upstream's tests.
pub const CONFORMANCE_ARCHIVE: Program = Program::image("conformance.tar", &CONFORMANCE_IMAGE);

/// What upstream's tests need besides a cluster.
pub const CONFORMANCE: &[Program] = &[E2E_TESTS, BASH, CLIENTS[0], CLIENTS[1], CONFORMANCE_ARCHIVE];

/// What an API server alone needs.
pub const SERVER: &[Program] = &[ETCD, API_SERVER];

/// What a whole cluster with nodes needs.
pub const CLUSTER: &[Program] = &[
    ETCD,
    API_SERVER,
    CONTROLLER_MANAGER,
    SCHEDULER,
    KUBELET,
    KUBE_PROXY,
    KUBECTL,
    AGNHOST,
    PAUSE,
    BUSYBOX,
    IMAGES[0],
    IMAGES[1],
    IMAGES[2],
];
