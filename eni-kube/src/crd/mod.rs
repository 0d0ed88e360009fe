//! The custom resources of the group `networking.tke.cloud.tencent.com`, version `v1`.
//!
//! None has a subresource: whoever may update an object may update all of it, and the writers keep to their own
//! parts of it. Every object keeps what its schema does not know, so that what another version wrote survives
//! ours; what the schema knows is validated, so that a slip of the hand is refused instead of stored.

mod address;
mod eni;
mod install;
mod node_config;
mod schema;
mod setting;

pub use install::{InstallError, install};

use serde_json::{Value, json};

/// The group of all our kinds.
pub const GROUP: &str = "networking.tke.cloud.tencent.com";

/// The version of all our kinds.
pub const VERSION: &str = "v1";

/// The label that names the node an object concerns; an agent reads its own objects by it.
pub const NODE_LABEL: &str = "tke.cloud.tencent.com/node-name";

/// The annotation of a definition that says which revision of its schema it holds.
const REVISION_ANNOTATION: &str = "networking.tke.cloud.tencent.com/schema-revision";

/// The revision of the schemas here; to be raised with every change of one.
const REVISION: u32 = 4;

/// One of our kinds.
struct Definition {
    kind: &'static str,
    plural: &'static str,
    short: Option<&'static str>,
    namespaced: bool,
    /// Columns of `kubectl get` between the name and the age: title, type and path.
    columns: &'static [(&'static str, &'static str, &'static str)],
    schema: Value,
}

/// The definitions (`CustomResourceDefinition`, `apiextensions.k8s.io/v1`) of all our kinds.
pub fn definitions() -> Vec<Value> {
    all().iter().map(Definition::manifest).collect()
}

fn all() -> [Definition; 7] {
    [
        node_config::node_eni_config(),
        eni::vpc_eni(),
        address::vpc_ip(),
        address::vpc_ip_claim(),
        address::eip_claim(),
        setting::static_ip_config(),
        setting::underlay_ip(),
    ]
}

impl Definition {
    fn manifest(&self) -> Value {
        let singular = self.kind.to_lowercase();
        let age = ("Age", "date", ".metadata.creationTimestamp");
        let columns: Vec<Value> = self
            .columns
            .iter()
            .chain([&age])
            .map(|(name, kind, path)| json!({"name": name, "type": kind, "jsonPath": path}))
            .collect();
        let short: Vec<&str> = self.short.into_iter().collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{}.{GROUP}", self.plural),
                "annotations": {REVISION_ANNOTATION: REVISION.to_string()},
            },
            "spec": {
                "group": GROUP,
                "names": {
                    "kind": self.kind,
                    "listKind": format!("{}List", self.kind),
                    "plural": self.plural,
                    "singular": singular,
                    "shortNames": short,
                },
                "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
                "versions": [{
                    "name": VERSION,
                    "served": true,
                    "storage": true,
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": self.schema},
                }],
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_scopes_are_those_of_tke() {
        let found: Vec<_> = definitions()
            .iter()
            .map(|definition| {
                let (spec, names) = (&definition["spec"], &definition["spec"]["names"]);
                [
                    names["plural"].as_str().unwrap().to_owned(),
                    names["shortNames"][0].as_str().unwrap_or("-").to_owned(),
                    spec["scope"].as_str().unwrap().to_owned(),
                ]
                .join(" ")
            })
            .collect();
        let expected = [
            "nodeeniconfigs nec Cluster",
            "vpcenis veni Cluster",
            "vpcips vip Cluster",
            "vpcipclaims vipc Namespaced",
            "eipclaims eipc Namespaced",
            "staticipconfigs - Cluster",
            "underlayips - Cluster",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn no_kind_has_a_subresource_and_every_object_keeps_what_is_unknown() {
        fn walk(schema: &Value, place: &str) {
            if schema["type"] == "object" && schema.get("properties").is_some() {
                let keeps = &schema["x-kubernetes-preserve-unknown-fields"];
                assert_eq!(keeps, true, "{place}");
            }
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                walk(property, &format!("{place}.{name}"));
            }
            if let Some(items) = schema.get("items") {
                walk(items, &format!("{place}[]"));
            }
        }
        for definition in definitions() {
            let version = &definition["spec"]["versions"][0];
            assert_eq!(version.get("subresources"), None);
            walk(
                &version["schema"]["openAPIV3Schema"],
                &definition["spec"]["names"]["kind"].to_string(),
            );
        }
    }
}
