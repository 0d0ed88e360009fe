//! Nodes and how their pools stand.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use serde::Serialize;

use crate::{
    addresses::owners,
    objects::{NodeConfig, Pool},
    table::{Row, dash},
};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeRow {
    /// Its name.
    pub name: String,
    /// Its instance, if it has one.
    pub instance: Option<String>,
    /// Its zone, as ipamd knows it.
    pub zone: Option<String>,
    /// What ipamd published of it; `None` until it has.
    pub pool: Option<Counts>,
}

/// How a pool stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// ENIs in service.
    pub enis: usize,
    /// Addresses for pods on them.
    pub bound: usize,
    /// Of these, those that pods have.
    pub used: usize,
    /// Of these, those that wait for pods.
    pub idle: usize,
    /// Of these, those that cool down, or whose pods are gone and sandboxes are not.
    pub cooling: usize,
    /// Of these, those that the agent offered back.
    pub withdrawn: usize,
    /// Addresses that the node can attain.
    pub granted: usize,
    /// Addresses that its instance can carry.
    pub capacity: usize,
    /// Sandboxes that wait for one; `None` until the agent has reported.
    pub short: Option<usize>,
}

impl Row for NodeRow {
    const TITLES: &'static [&'static str] = &[
        "NAME", "INSTANCE", "ZONE", "ENIS", "BOUND", "USED", "IDLE", "COOLING", "GRANT", "CAPACITY", "SHORT",
    ];

    fn cells(&self) -> Vec<String> {
        let count = |of: fn(&Counts) -> usize| dash(self.pool.as_ref().map(of));
        vec![
            self.name.clone(),
            dash(self.instance.as_ref()),
            dash(self.zone.as_ref()),
            count(|pool| pool.enis),
            count(|pool| pool.bound),
            count(|pool| pool.used),
            count(|pool| pool.idle),
            count(|pool| pool.cooling),
            count(|pool| pool.granted),
            count(|pool| pool.capacity),
            dash(self.pool.and_then(|pool| pool.short)),
        ]
    }
}

impl Counts {
    /// Of a pool, with the addresses that pods have. The agent's report may be half a minute old, so that the sum
    /// may be off by what changed since.
    pub fn of(config: &NodeConfig, pool: &Pool, used: &BTreeSet<IpAddr>) -> Self {
        let bound: BTreeSet<IpAddr> = pool.attached().collect();
        let report = config.agent.as_ref();
        let (held, withdrawn) = report.map_or((0, 0), |report| (report.held, report.withdrawn.len()));
        let used = bound.intersection(used).count();
        Self {
            enis: pool.eni_infos.len(),
            bound: bound.len(),
            used,
            idle: bound.len().saturating_sub(used + held + withdrawn),
            cooling: held,
            withdrawn,
            granted: pool.granted,
            capacity: pool.capacity,
            short: report.map(|report| report.short),
        }
    }
}

/// The rows, in order of the nodes' names.
pub fn rows(nodes: &[Node], configs: &[NodeConfig], pods: &[Pod]) -> Vec<NodeRow> {
    let used: BTreeSet<IpAddr> = owners(pods).into_keys().collect();
    let configs: BTreeMap<&str, &NodeConfig> = configs
        .iter()
        .map(|config| (config.metadata.name.as_str(), config))
        .collect();
    let row = |node: &Node| {
        let name = node.metadata.name.clone().unwrap_or_default();
        let config = configs.get(name.as_str());
        NodeRow {
            instance: eni_kube::node(node)
                .ok()
                .and_then(|node| node.instance)
                .map(|id| id.to_string()),
            zone: config.map(|config| config.spec.zone.clone()),
            pool: config.and_then(|config| Some(Counts::of(config, config.status.as_ref()?, &used))),
            name,
        }
    };
    let mut rows: Vec<NodeRow> = nodes.iter().map(row).collect();
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        from_value(value).unwrap()
    }

    #[test]
    fn what_is_bound_is_used_or_cooling_or_withdrawn_or_idle() {
        let node = |name: &str, id: &str| {
            read(json!({"metadata": {"name": name, "uid": "u"}, "spec": {"providerID": id}}))
        };
        let nodes: Vec<Node> = vec![node("b", ""), node("a", "qcloud:///1/ins-1")];
        let stay = |last: u8| json!({"ip": format!("10.0.0.{last}"), "generation": 1});
        let config: NodeConfig = read(json!({
            "metadata": {"name": "a"},
            "spec": {"instance": "ins-1", "nodeUid": "u", "zone": "z-1"},
            "status": {
                "eniInfos": [{"id": "eni-1", "mac": "m", "subnet": "s", "attached": [stay(2), stay(3), stay(4), stay(5), stay(6)]}],
                "granted": 9, "capacity": 27, "maximum": 5,
            },
            "agent": {"held": 1, "short": 2, "withdrawn": [stay(6)]},
        }));
        let pod = |phase: &str, last: u8| {
            read(json!({
                "metadata": {"namespace": "n", "name": phase, "uid": "u"},
                "status": {"phase": phase, "podIP": format!("10.0.0.{last}")},
            }))
        };
        // What has ended holds no address any more; another node's is not ours.
        let pods: Vec<Pod> = vec![pod("Running", 2), pod("Succeeded", 3), pod("Pending", 99)];
        let rows = rows(&nodes, &[config], &pods);
        let expected = Counts {
            enis: 1,
            bound: 5,
            used: 1,
            idle: 2,
            cooling: 1,
            withdrawn: 1,
            granted: 9,
            capacity: 27,
            short: Some(2),
        };
        assert_eq!(rows[0].pool, Some(expected));
        assert_eq!(rows[0].cells().join(" "), "a ins-1 z-1 1 5 1 2 1 9 27 2");
        assert_eq!(rows[1].cells().join(" "), "b - - - - - - - - - -");
    }
}
