//! What the crates may depend on.

use std::collections::{HashMap, VecDeque};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use super::install;
use crate::{
    run::run,
    stage::{Failure, Outcome, Workspace},
};

/// What a crate must never depend on, directly or through others, with any feature: whoever takes the
/// crate alone must not get a client or a server of something else with it.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "eni-core",
        &[
            "axum",
            "hyper",
            "k8s-openapi",
            "kube",
            "reqwest",
            "rtnetlink",
            "tonic",
        ],
    ),
    ("eni-cloud-tencent", &["kube", "rtnetlink"]),
    ("eni-kube", &["reqwest", "rtnetlink"]),
    ("eni-netlink", &["kube", "reqwest"]),
];

/// No crate depends on what its layer must not know.
pub(super) fn layers(workspace: &Workspace) -> Result<Outcome, Failure> {
    let metadata = MetadataCommand::new()
        .current_dir(&workspace.root)
        .other_options(["--all-features".to_owned()])
        .exec()
        .map_err(|error| Failure::rule(format!("cargo metadata failed: {error}"), Vec::new()))?;
    let graph = Graph::new(&metadata);
    let mut violations = Vec::new();
    for (layer, forbidden) in LAYERS {
        let Some(reached) = graph.reach(layer) else {
            violations.push(format!("{layer} is not a crate of this workspace"));
            continue;
        };
        println!(
            "{layer}: {} crates, none of {}",
            reached.len(),
            forbidden.join(", ")
        );
        violations.extend(
            forbidden
                .iter()
                .filter_map(|name| reached.get(name))
                .map(|path| path.join(" -> ")),
        );
    }
    match violations.is_empty() {
        true => Ok(Outcome::default()),
        false => Err(Failure::rule(
            "a crate depends on what its layer must not know",
            violations,
        )),
    }
}

/// Licences, bans and sources, as `deny.toml` says.
pub(super) fn deny(workspace: &Workspace) -> Result<Outcome, Failure> {
    let mut command = install::cargo_deny(workspace);
    command.current_dir(&workspace.root);
    command.args(["--all-features", "check", "--hide-inclusion-graph"]);
    command.args(["bans", "licenses", "sources"]);
    run(&mut command).map(|()| Outcome::default())
}

/// Who depends on whom at run time.
#[derive(Debug)]
struct Graph<'a> {
    names: HashMap<&'a PackageId, &'a str>,
    edges: HashMap<&'a PackageId, Vec<&'a PackageId>>,
    members: &'a [PackageId],
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let names = metadata
            .packages
            .iter()
            .map(|package| (&package.id, package.name.as_str()));
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        let edges = nodes.map(|node| {
            let normal = node.deps.iter().filter(|dependency| {
                let kinds = &dependency.dep_kinds;
                kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, normal.map(|dependency| &dependency.pkg).collect())
        });
        Self {
            names: names.collect(),
            edges: edges.collect(),
            members: &metadata.workspace_members,
        }
    }

    /// Every crate that a member depends on, with a shortest path to it.
    fn reach(&self, member: &str) -> Option<HashMap<&'a str, Vec<&'a str>>> {
        let start = self
            .members
            .iter()
            .find(|id| self.names.get(id) == Some(&member))?;
        let mut paths = HashMap::from([(start, vec![self.names[start]])]);
        let mut queue = VecDeque::from([start]);
        while let Some(from) = queue.pop_front() {
            for to in self.edges.get(from).into_iter().flatten().copied() {
                if !paths.contains_key(to) {
                    let mut path = paths[from].clone();
                    path.push(self.names[to]);
                    paths.insert(to, path);
                    queue.push_back(to);
                }
            }
        }
        paths.remove(start);
        Some(
            paths
                .into_iter()
                .map(|(id, path)| (self.names[id], path))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_normal_dependencies_is_found_and_another_is_not() {
        let metadata = MetadataCommand::new().exec().unwrap();
        let reached = Graph::new(&metadata).reach("testbed").unwrap();
        assert_eq!(reached["serde_json"].first(), Some(&"testbed"));
        assert_eq!(reached["semver"], ["testbed", "cargo_metadata", "semver"]);
        assert!(!reached.contains_key("criterion"));
        assert!(Graph::new(&metadata).reach("no-such-crate").is_none());
    }
}
