//! Addresses for pods, and who has them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use crate::{
    objects::NodeConfig,
    table::{Row, dash},
};

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressRow {
    /// The address.
    pub ip: IpAddr,
    /// The node of its ENI.
    pub node: String,
    /// Its ENI.
    pub eni: String,
    /// How it stands.
    pub state: State,
    /// The pod that has it, NAMESPACE/NAME.
    pub pod: Option<String>,
}

/// How an address stands, as far as the API server knows: what cools down is known to the agent alone, and counts as
/// idle here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    /// A pod has it.
    Used,
    /// No pod has it.
    Idle,
    /// The agent offered it back.
    Withdrawn,
    /// ipamd takes it off.
    Releasing,
}

impl Row for AddressRow {
    const TITLES: &'static [&'static str] = &["ADDRESS", "NODE", "ENI", "STATE", "POD"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.ip.to_string(),
            self.node.clone(),
            self.eni.clone(),
            format!("{:?}", self.state),
            dash(self.pod.as_ref()),
        ]
    }
}

/// The pods that run on a network of their own, by the addresses that they have.
pub fn owners(pods: &[Pod]) -> BTreeMap<IpAddr, String> {
    let mut owners = BTreeMap::new();
    for object in pods {
        // An object without name or uid is none that an API server shows.
        let Ok(pod) = eni_kube::pod(object) else { continue };
        if pod.host_network || pod.phase == eni_core::model::PodPhase::Finished {
            continue;
        }
        let status = object.status.as_ref();
        let further = status
            .and_then(|status| status.pod_ips.as_ref())
            .into_iter()
            .flatten();
        let first = status.and_then(|status| status.pod_ip.as_deref());
        let texts = first.into_iter().chain(further.map(|ip| ip.ip.as_str()));
        let addresses = texts.filter_map(|text| text.parse().ok());
        owners.extend(addresses.map(|ip| (ip, pod.key.to_string())));
    }
    owners
}

/// The rows, in order of the addresses.
pub fn rows(configs: &[NodeConfig], pods: &[Pod]) -> Vec<AddressRow> {
    let owners = owners(pods);
    let mut rows = Vec::new();
    for config in configs {
        let reported = config.agent.iter().flat_map(|report| &report.withdrawn);
        let withdrawn: BTreeSet<IpAddr> = reported.map(|stay| stay.ip).collect();
        for eni in config.status.iter().flat_map(|pool| &pool.eni_infos) {
            let mut add = |ip: IpAddr, releasing: bool| {
                let pod = owners.get(&ip).cloned();
                let state = match &pod {
                    _ if releasing => State::Releasing,
                    Some(_) => State::Used,
                    None if withdrawn.contains(&ip) => State::Withdrawn,
                    None => State::Idle,
                };
                rows.push(AddressRow {
                    ip,
                    node: config.metadata.name.clone(),
                    eni: eni.id.clone(),
                    state,
                    pod,
                });
            };
            eni.attached.iter().for_each(|stay| add(stay.ip, false));
            eni.releasing.iter().for_each(|stay| add(stay.ip, true));
        }
    }
    rows.sort_by(|one, other| (one.ip, &one.node).cmp(&(other.ip, &other.node)));
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn every_address_is_shown_with_the_pod_that_has_it() {
        let stay = |last: u8| json!({"ip": format!("10.0.0.{last}")});
        let config: NodeConfig = from_value(json!({
            "metadata": {"name": "n"}, "spec": {"instance": "i", "nodeUid": "u", "zone": "z"},
            "status": {"eniInfos": [{
                "id": "eni-1", "mac": "m", "subnet": "s", "attached": [stay(10), stay(2), stay(3)], "releasing": [stay(4)],
            }]},
            "agent": {"withdrawn": [stay(3)]},
        }))
        .unwrap();
        let pod: Pod = from_value(json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u"},
            "status": {"phase": "Running", "podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}]},
        }))
        .unwrap();
        let mut node: Pod = pod.clone();
        node.spec = from_value(json!({"hostNetwork": true, "containers": []})).unwrap();
        node.metadata.name = Some("on-the-node".to_owned());
        let rows = rows(&[config], &[pod, node]);
        let lines: Vec<_> = rows.iter().map(|row| row.cells().join(" ")).collect();
        let expected = [
            "10.0.0.2 n eni-1 Used shop/web",
            "10.0.0.3 n eni-1 Withdrawn -",
            "10.0.0.4 n eni-1 Releasing -",
            "10.0.0.10 n eni-1 Idle -",
        ];
        assert_eq!(lines, expected);
    }
}
