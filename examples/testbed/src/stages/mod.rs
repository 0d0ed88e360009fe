//! The stages of the gate, in the order in which they run: what fails fast comes first.

mod cargo;
mod clusters;
mod compare;
mod conformance;
mod dependencies;
mod house;
mod install;
mod kubernetes;
mod libtest;
mod play;
mod scale;
mod sdk;
mod simulate;
mod suite;
mod unprivileged;

use crate::stage::Stage;

/// Every stage.
pub(crate) static ALL: &[Stage] = &[
    Stage {
        name: "install",
        purpose: "what the checks need and the machine lacks",
        long: false,
        run: install::install,
    },
    Stage {
        name: "fmt",
        purpose: "the sources are formatted",
        long: false,
        run: cargo::fmt,
    },
    Stage {
        name: "house",
        purpose: "every file says what it is for and is of a readable length",
        long: false,
        run: house::house,
    },
    Stage {
        name: "layers",
        purpose: "no crate depends on what its layer must not know",
        long: false,
        run: dependencies::layers,
    },
    Stage {
        name: "deny",
        purpose: "licences, bans and sources of every dependency (advisories need a network: not checked)",
        long: false,
        run: dependencies::deny,
    },
    Stage {
        name: "clippy",
        purpose: "no lint in any target with any feature",
        long: false,
        run: cargo::clippy,
    },
    Stage {
        name: "doc",
        purpose: "the documentation builds without a warning",
        long: false,
        run: cargo::doc,
    },
    Stage {
        name: "build",
        purpose: "the programs that tests run",
        long: false,
        run: cargo::build,
    },
    Stage {
        name: "kubernetes",
        purpose: "the API server and the nodes that tests talk to, built once from Debian's source",
        long: false,
        run: kubernetes::kubernetes,
    },
    Stage {
        name: "test",
        purpose: "every test, the documentation's included",
        long: false,
        run: suite::test,
    },
    Stage {
        name: "unprivileged",
        purpose: "the kernel tests once more as an ordinary user",
        long: false,
        run: unprivileged::unprivileged,
    },
    Stage {
        name: "play",
        purpose: "3 nodes and 60 pods on this machine",
        long: false,
        run: play::play,
    },
    Stage {
        name: "compare",
        purpose: "our plugin and the reference ones side by side, once",
        long: true,
        run: compare::compare,
    },
    Stage {
        name: "conformance",
        purpose: "Kubernetes' own tests of pod networks on ENIs, built once from Debian's source",
        long: true,
        run: conformance::conformance,
    },
    Stage {
        name: "clusters",
        purpose: "a cluster on the reference plugins, a minute without the API server, and a node's death",
        long: true,
        run: clusters::clusters,
    },
    Stage {
        name: "simulate",
        purpose: "2,000 clusters in virtual time, with everything going wrong that can",
        long: false,
        run: simulate::simulate,
    },
    Stage {
        name: "scale",
        purpose: "5,000 nodes and 100,000 pods in virtual time, within the budget of cloud calls",
        long: true,
        run: scale::scale,
    },
    Stage {
        name: "objects",
        purpose: "2,000 nodes and 10,000 pods as objects on a real API server: ipamd's time, memory and requests",
        long: true,
        run: scale::objects,
    },
    Stage {
        name: "play-large",
        purpose: "8 nodes and 400 pods on this machine",
        long: true,
        run: play::play_large,
    },
];

/// The names of the stages.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|stage| stage.name).collect()
}
