//! The network configuration on standard input.

use std::{fmt, time::Duration};

use agent_api::Endpoint;
use eni_core::model::PodAddresses;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    error::{Code, Error},
    invocation::is_identifier,
    result::CniResult,
    version::SpecVersion,
};

/// The IPAM plugin that is part of this program.
const OWN_IPAM: &str = "tke-eni-ipamc";

/// The key by which the runtime tells GC what to keep (CNI 1.1.0).
const VALID_ATTACHMENTS: &str = "cni.dev/valid-attachments";

/// What CNI's history says of a configuration without `cniVersion`.
const UNSAID_VERSION: &str = "0.1.0";

/// Ends well before kubelet's own limit of about 4 minutes, so that the reason reaches the pod's event.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 1..=230;

/// The MTU of a VPC whose instances do not use jumbo frames; TKE's published configuration says it too.
const DEFAULT_MTU: u32 = 1500;

/// The least that IPv4 demands (RFC 791), and the most that an IP packet can be.
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

/// A network configuration.
///
/// | key | meaning |
/// | --- | --- |
/// | `cniVersion`, `name`, `prevResult` | as the CNI specification has them |
/// | `mtu` | of both ends of the pod's link, 1500 by default |
/// | `disableIPv6` | true: an agent that gives IPv6 addresses is an error; false by default |
/// | `timeoutSeconds` | 1 to 230, 60 by default: how long one call may take |
/// | `ipam.type` | `tke-eni-ipamc` by default; another IPAM plugin is executed |
/// | `ipam.backend` | where the agent listens, [`Endpoint::DEFAULT`] by default |
/// | `cni.dev/valid-attachments` | GC: every attachment of the network that is valid |
/// | `eni` | with another IPAM plugin: the ENI's device, by whose table the pods leave |
/// | `routeTable` | accepted and not used: the agent knows the table of each address |
///
/// Other keys are ignored.
#[derive(Clone, Debug)]
pub(crate) struct Conf {
    pub(crate) version: SpecVersion,
    pub(crate) network: String,
    pub(crate) mtu: u32,
    pub(crate) disable_ipv6: bool,
    pub(crate) timeout: Duration,
    pub(crate) eni: Option<String>,
    pub(crate) ipam: Ipam,
    prev_result: Option<Value>,
    valid: Option<Value>,
    /// The text itself, for delegated plugins.
    pub(crate) text: Vec<u8>,
}

/// An interface that the runtime knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Attachment {
    #[serde(rename = "containerID")]
    pub(crate) container: String,
    #[serde(rename = "ifname")]
    pub(crate) interface: String,
}

/// Who gives the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ipam {
    /// The node's agent.
    Agent(Endpoint),
    /// Another plugin, by its name.
    Plugin(String),
}

impl Conf {
    /// Reads the configuration of a version that is known by now.
    pub(crate) fn read(document: Document, version: SpecVersion) -> Result<Self, Error> {
        let Document { keys, text } = document;
        let network: String = keys.get("name", "must be text")?.unwrap_or_default();
        if !is_identifier(&network) {
            return Err(Error::config(
                "name",
                "must be a letter or digit followed by letters, digits, `_`, `.` or `-`",
            ));
        }
        let seconds = keys.get_if("timeoutSeconds", "must be 1 to 230", |it| {
            TIMEOUT_SECONDS.contains(it)
        })?;
        // Not used, and still checked: a typing error here is one in a configuration that was meant to work.
        keys.get::<u32>("routeTable", "must be a number")?;
        Ok(Self {
            version,
            network,
            mtu: keys
                .get_if("mtu", "must be 68 to 65535", |mtu| MTU.contains(mtu))?
                .unwrap_or(DEFAULT_MTU),
            disable_ipv6: keys.get("disableIPv6", "must be true or false")?.unwrap_or(false),
            timeout: seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs),
            eni: keys.get_if("eni", "must name a device", |name: &String| !name.is_empty())?,
            ipam: keys.ipam()?,
            prev_result: keys.get("prevResult", "must be an object")?,
            valid: keys.map.get(VALID_ATTACHMENTS).cloned(),
            text,
        })
    }

    /// What ADD answered, which CHECK cannot do without.
    pub(crate) fn prev_result(&self) -> Result<CniResult, Error> {
        let previous = self
            .prev_result
            .clone()
            .ok_or_else(|| Error::config("prevResult", "is required by CHECK"))?;
        CniResult::read(previous)
            .map_err(|error| Error::config("prevResult", format!("is no CNI result: {error}")))
    }

    /// Every attachment that is valid, which GC cannot do without: one that is not said would be taken for
    /// none. Null is an empty list, as some runtimes write it.
    pub(crate) fn valid_attachments(&self) -> Result<Vec<Attachment>, Error> {
        let valid = self.valid.clone();
        let valid = valid.ok_or_else(|| Error::config(VALID_ATTACHMENTS, "is required by GC"))?;
        let valid: Option<Vec<Attachment>> = serde_json::from_value(valid).map_err(|error| {
            Error::config(VALID_ATTACHMENTS, format!("is no list of attachments: {error}"))
        })?;
        Ok(valid.unwrap_or_default())
    }

    /// The addresses that ADD answered with, as far as the runtime tells; DEL can do without.
    pub(crate) fn prev_addresses(&self) -> Option<PodAddresses> {
        let previous = self.prev_result().ok()?;
        (!previous.ips.is_empty()).then(|| previous.ips.iter().map(|ip| ip.address.addr()).collect())
    }
}

/// What is on standard input, before anything in it is believed.
pub(crate) struct Document {
    keys: Keys,
    text: Vec<u8>,
}

impl Document {
    /// Reads a JSON object.
    pub(crate) fn read(text: Vec<u8>) -> Result<Self, Error> {
        let map = serde_json::from_slice(&text).map_err(|error| {
            Error::new(
                Code::Decoding,
                format!("the network configuration on standard input is not a JSON object: {error}"),
            )
        })?;
        Ok(Self {
            keys: Keys { path: "", map },
            text,
        })
    }

    /// The version that it says, whether supported or not.
    pub(crate) fn said_version(&self) -> Result<Option<String>, Error> {
        let said: Option<String> = self.keys.get("cniVersion", "must be text")?;
        Ok(said.filter(|text| !text.is_empty()))
    }

    /// The version that it is in.
    pub(crate) fn version(&self) -> Result<SpecVersion, Error> {
        self.said_version()?.as_deref().unwrap_or(UNSAID_VERSION).parse()
    }
}

/// The keys of an object, with the path to it by which errors name them.
struct Keys {
    path: &'static str,
    map: Map<String, Value>,
}

impl Keys {
    /// The value of a key; null is as good as none.
    fn get<T: DeserializeOwned>(&self, key: &str, demand: &str) -> Result<Option<T>, Error> {
        self.get_if(key, demand, |_| true)
    }

    fn get_if<T: DeserializeOwned>(
        &self,
        key: &str,
        demand: &str,
        valid: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, Error> {
        let value = match self.map.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        match T::deserialize(value) {
            Ok(read) if valid(&read) => Ok(Some(read)),
            _ => Err(self.invalid(key, format!("{demand}, and is {value}"))),
        }
    }

    fn invalid(&self, key: &str, complaint: impl fmt::Display) -> Error {
        Error::config(&format!("{}{key}", self.path), complaint)
    }

    fn ipam(&self) -> Result<Ipam, Error> {
        let map = self.get("ipam", "must be an object")?.unwrap_or_default();
        let keys = Self { path: "ipam.", map };
        let plugin = keys.get_if("type", "must be the file name of a plugin", |name: &String| {
            is_identifier(name)
        })?;
        if let Some(other) = plugin.filter(|name| name != OWN_IPAM) {
            return Ok(Ipam::Plugin(other));
        }
        let backend: Option<String> = keys.get("backend", "must be text")?;
        let endpoint = backend.map_or_else(|| Ok(Endpoint::default()), |backend| backend.parse());
        endpoint
            .map(Ipam::Agent)
            .map_err(|error| keys.invalid("backend", format!("cannot be used: {error}")))
    }
}

#[cfg(test)]
#[path = "conf_tests.rs"]
mod tests;
