//! What the node's container runtime is told to execute for each pod.

use std::{fmt, str::FromStr};

use agent_api::Endpoint;
use serde_json::{Value, json};

/// The name of the network. The journal knows a pod's interface by it, so that it never changes.
const NETWORK: &str = "tke-route-eni";

/// The plugin that wires pods.
pub(super) const ROUTE_ENI: &str = "tke-route-eni";

/// The plugin that it asks for addresses.
pub(super) const ENI_IPAMC: &str = "tke-eni-ipamc";

/// The standard plugin for `hostPort`.
const PORTMAP: &str = "portmap";

/// The standard plugin that limits a pod's rate.
const BANDWIDTH: &str = "bandwidth";

/// A version of the CNI specification that a list of plugins can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CniVersion {
    /// 0.3.1: the first with lists of plugins and several addresses.
    V0_3_1,
    /// 0.4.0: with CHECK.
    V0_4_0,
    /// 1.0.0: the newest of containerd 1.6.
    V1_0_0,
    /// 1.1.0: with STATUS and GC.
    V1_1_0,
}

impl CniVersion {
    const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The newest one, up to `newest`, that all of these speak.
    pub(super) fn common<'a>(
        newest: Self,
        spoken: impl Iterator<Item = &'a Vec<String>> + Clone,
    ) -> Option<Self> {
        let by_all = |version: &Self| {
            let mut plugins = spoken.clone();
            plugins.all(|spoken| spoken.iter().any(|text| text == version.as_str()))
        };
        let versions = Self::ALL.into_iter().rev();
        versions.filter(|version| *version <= newest).find(by_all)
    }
}

impl FromStr for CniVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|version| version.as_str() == text);
        found.ok_or_else(|| format!("it is none of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

impl fmt::Display for CniVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The plugins of the node's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Where they find the agent.
    pub backend: Endpoint,
    /// The MTU of a pod's link.
    pub mtu: u32,
    /// With the standard plugin `portmap`.
    pub port_mapping: bool,
    /// With the standard plugin `bandwidth`.
    pub bandwidth: bool,
}

impl Chain {
    /// The plugins that are not ours. Those that are in the agent's image are installed; the others must be on the
    /// node.
    pub(super) fn standard(&self) -> impl Iterator<Item = &'static str> {
        let bandwidth = self.bandwidth.then_some(BANDWIDTH);
        bandwidth.into_iter().chain(self.port_mapping.then_some(PORTMAP))
    }

    /// The list of plugins, as the file that the runtime reads.
    pub(super) fn conflist(&self, version: CniVersion) -> String {
        let mut plugins = vec![json!({
            "type": ROUTE_ENI,
            "mtu": self.mtu,
            "ipam": {"type": ENI_IPAMC, "backend": self.backend.to_string()},
        })];
        plugins.extend(self.standard().map(standard));
        let list = json!({"cniVersion": version.as_str(), "name": NETWORK, "plugins": plugins});
        format!("{list:#}\n")
    }
}

/// portmap marks packets for masquerading in chains of its own: those of kube-proxy are not on every node.
fn standard(plugin: &str) -> Value {
    let capability = match plugin {
        BANDWIDTH => "bandwidth",
        _ => "portMappings",
    };
    json!({"type": plugin, "capabilities": {capability: true}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(port_mapping: bool, bandwidth: bool) -> Chain {
        Chain {
            backend: Endpoint::default(),
            mtu: 1500,
            port_mapping,
            bandwidth,
        }
    }

    fn read(chain: &Chain) -> Value {
        serde_json::from_str(&chain.conflist(CniVersion::V1_0_0)).unwrap()
    }

    #[test]
    fn pods_are_wired_by_our_plugin_which_asks_the_agent() {
        let expected = json!({
            "cniVersion": "1.0.0",
            "name": "tke-route-eni",
            "plugins": [{
                "type": "tke-route-eni",
                "mtu": 1500,
                "ipam": {"type": "tke-eni-ipamc", "backend": Endpoint::DEFAULT},
            }],
        });
        assert_eq!(read(&chain(false, false)), expected);
    }

    #[test]
    fn what_limits_the_link_comes_before_what_maps_ports() {
        let list = read(&chain(true, true));
        let types: Vec<_> = list["plugins"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["type"])
            .collect();
        assert_eq!(types, ["tke-route-eni", "bandwidth", "portmap"]);
        assert_eq!(list["plugins"][1]["capabilities"]["bandwidth"], true);
        assert_eq!(list["plugins"][2]["capabilities"]["portMappings"], true);
        assert_eq!(read(&chain(true, false))["plugins"][1]["type"], "portmap");
        assert_eq!(read(&chain(false, true))["plugins"][1]["type"], "bandwidth");
    }

    #[test]
    fn the_version_is_the_newest_that_all_speak_and_no_newer_than_wanted() {
        let speaks = |versions: &[&str]| versions.iter().map(ToString::to_string).collect::<Vec<_>>();
        let ours = speaks(&["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
        let old = speaks(&["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0"]);
        let common = |newest, plugins: &[&Vec<String>]| CniVersion::common(newest, plugins.iter().copied());
        assert_eq!(common(CniVersion::V1_0_0, &[&ours]), Some(CniVersion::V1_0_0));
        assert_eq!(common(CniVersion::V1_1_0, &[&ours]), Some(CniVersion::V1_1_0));
        assert_eq!(
            common(CniVersion::V1_0_0, &[&ours, &old]),
            Some(CniVersion::V0_4_0)
        );
        assert_eq!(common(CniVersion::V1_0_0, &[&ours, &speaks(&["2.0.0"])]), None);
    }
}
