//! The parameters of a request that the schema has accepted.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Map, Value};

use super::{
    refusal::{Refusal, Verdict},
    schema::Action,
};

/// A request's parameters, whose types are those of the schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters<'a> {
    pub(super) action: &'static Action,
    pub(super) members: &'a Map<String, Value>,
}

/// An element of `PrivateIpAddresses` or `Ipv6Addresses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedAddress {
    pub(super) ip: IpAddr,
    pub(super) primary: bool,
    pub(super) description: Option<String>,
}

impl<'a> Parameters<'a> {
    pub(super) fn optional(&self, name: &str) -> Option<&'a str> {
        self.members.get(name).and_then(Value::as_str)
    }

    /// A required text.
    pub(super) fn text(&self, name: &str) -> Verdict<&'a str> {
        self.optional(name).ok_or_else(|| Refusal::missing(name))
    }

    pub(super) fn texts(&self, name: &str) -> Vec<&'a str> {
        self.list(name).filter_map(Value::as_str).collect()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.members.get(name).and_then(Value::as_u64)
    }

    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = &'a Value> {
        self.members
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }

    /// A list of keys and values, such as `Tags`.
    pub(super) fn pairs(&self, name: &str, key: &str, value: &str) -> BTreeMap<String, String> {
        let text =
            |element: &Value, member: &str| element.get(member).and_then(Value::as_str).map(str::to_owned);
        self.list(name)
            .filter_map(|element| Some((text(element, key)?, text(element, value).unwrap_or_default())))
            .collect()
    }

    /// The addresses that a list names.
    pub(super) fn addresses(&self, name: &str, member: &str) -> Verdict<Vec<NamedAddress>> {
        self.list(name)
            .map(|element| {
                let text = element.get(member).and_then(Value::as_str);
                let text = text.ok_or_else(|| Refusal::missing(member))?;
                let malformed = self
                    .action
                    .code(&["InvalidParameterValue.Malformed", "InvalidParameterValue"]);
                Ok(NamedAddress {
                    ip: text
                        .parse()
                        .map_err(|_| Refusal::new(malformed, format!("`{text}` is not an IP address.")))?,
                    primary: element.get("Primary").and_then(Value::as_bool).unwrap_or(false),
                    description: element
                        .get("Description")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                })
            })
            .collect()
    }
}
