//! ENIs: those that ipamd has a record of, and those that it published to nodes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    objects::{Eni, EniRecord, NodeConfig},
    table::{Row, dash},
};

/// An ENI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EniRow {
    /// The cloud's id, once there is one.
    pub id: Option<String>,
    /// ipamd's record of it; without one it is not ipamd's to delete.
    pub record: Option<String>,
    /// Its node.
    pub node: String,
    /// Its subnet.
    pub subnet: String,
    /// How it stands.
    pub state: State,
    /// Addresses for pods on it.
    pub addresses: Option<usize>,
    /// Its MAC.
    pub mac: Option<String>,
}

/// How an ENI stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    /// The cloud has not answered the creation yet.
    Creating,
    /// It is there, and not published to its node.
    Attaching,
    /// It is published to its node.
    InService,
    /// It shall go.
    Deleting,
}

impl Row for EniRow {
    const TITLES: &'static [&'static str] = &["ENI", "NODE", "SUBNET", "STATE", "ADDRESSES", "MAC", "RECORD"];

    fn cells(&self) -> Vec<String> {
        vec![
            dash(self.id.as_ref()),
            self.node.clone(),
            self.subnet.clone(),
            format!("{:?}", self.state),
            dash(self.addresses),
            dash(self.mac.as_ref()),
            dash(self.record.as_ref()),
        ]
    }
}

/// The rows, by node and id.
pub fn rows(records: &[EniRecord], configs: &[NodeConfig]) -> Vec<EniRow> {
    let mut published: BTreeMap<&str, (&str, &Eni)> = BTreeMap::new();
    for config in configs {
        let enis = config.status.iter().flat_map(|pool| &pool.eni_infos);
        published.extend(enis.map(|eni| (eni.id.as_str(), (config.metadata.name.as_str(), eni))));
    }
    let recorded = records.iter().map(|record| {
        let found = record.id().and_then(|id| published.remove(id));
        EniRow {
            id: record.id().map(str::to_owned),
            record: Some(record.metadata.name.clone()),
            node: record.spec.node.clone(),
            subnet: record.spec.subnet.clone(),
            state: match (record.spec.intent.as_str(), record.id(), found) {
                ("Deleted", ..) => State::Deleting,
                (_, _, Some(_)) => State::InService,
                (_, Some(_), None) => State::Attaching,
                (_, None, None) => State::Creating,
            },
            addresses: found.map(|(_, eni)| eni.attached.len()),
            mac: found.map(|(_, eni)| eni.mac.clone()),
        }
    });
    let mut rows: Vec<EniRow> = recorded.collect();
    rows.extend(published.into_values().map(|(node, eni)| EniRow {
        id: Some(eni.id.clone()),
        record: None,
        node: node.to_owned(),
        subnet: eni.subnet.clone(),
        state: State::InService,
        addresses: Some(eni.attached.len()),
        mac: Some(eni.mac.clone()),
    }));
    rows.sort_by(|one, other| {
        (&one.node, &one.id, &one.record).cmp(&(&other.node, &other.id, &other.record))
    });
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn an_eni_stands_where_its_record_and_its_node_say() {
        let record = |name: &str, id: Option<&str>, intent: &str| -> EniRecord {
            from_value(json!({
                "metadata": {"name": name},
                "spec": {"node": "n", "subnet": "s", "intent": intent},
                "status": id.map(|id| json!({"eniID": id})),
            }))
            .unwrap()
        };
        let records = [
            record("r-1", None, "Attached"),
            record("r-2", Some("eni-2"), "Attached"),
            record("r-3", Some("eni-3"), "Attached"),
            record("r-4", Some("eni-4"), "Deleted"),
        ];
        let eni = |id: &str| json!({"id": id, "mac": "m", "subnet": "s", "attached": [{"ip": "10.0.0.1"}]});
        let config: NodeConfig = from_value(json!({
            "metadata": {"name": "n"}, "spec": {"instance": "i", "nodeUid": "u", "zone": "z"},
            "status": {"eniInfos": [eni("eni-3"), eni("eni-5")]},
        }))
        .unwrap();
        let rows = rows(&records, &[config]);
        let found: Vec<_> = rows
            .iter()
            .map(|row| (row.id.as_deref(), row.state, row.addresses))
            .collect();
        let expected = [
            (None, State::Creating, None),
            (Some("eni-2"), State::Attaching, None),
            (Some("eni-3"), State::InService, Some(1)),
            (Some("eni-4"), State::Deleting, None),
            (Some("eni-5"), State::InService, Some(1)),
        ];
        assert_eq!(found, expected);
        assert_eq!(rows[4].record, None);
    }
}
