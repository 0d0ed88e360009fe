//! Judges a request's parameters by the schema, before anything looks at what they mean.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use super::{
    Site,
    refusal::{Refusal, Verdict, refuse},
    schema::{Action, Field, Schema, Shape},
};

/// Names that end so are ids that begin so (API documentation, "Data Types" of each product).
const PREFIXES: &[(&str, &[&str])] = &[
    ("NetworkInterfaceId", &["eni-"]),
    ("SubnetId", &["subnet-"]),
    ("VpcId", &["vpc-"]),
    ("InstanceId", &["ins-", "eni-"]),
    ("SecurityGroupId", &["sg-"]),
    ("AddressId", &["eip-"]),
    ("ReserveIpId", &["rsvip-"]),
];

/// Addresses that one call may name (`PrivateIpAddresses` and `Ipv6Addresses` of the ENI actions).
const ADDRESSES_PER_CALL: usize = 10;
/// Ids that one call may name.
const IDS_PER_CALL: usize = 100;
/// Bytes of a name or a description of an ENI.
const NAME_BYTES: usize = 60;
/// Characters of a client token, which are ASCII.
const TOKEN_BYTES: usize = 64;

/// Refuses what the action does not know, what has another type, what is missing, and lists that are too
/// long.
pub(super) fn validate(action: &Action, site: Site, parameters: &Map<String, Value>) -> Verdict<()> {
    let check = Check { action, site };
    check.members(&action.request, parameters)?;
    check.coexistence(parameters)?;
    for (name, value) in parameters {
        check.meaning(name, value)?;
    }
    Ok(())
}

struct Check<'a> {
    action: &'a Action,
    site: Site,
}

impl Check<'_> {
    fn members(&self, fields: &[Field], members: &Map<String, Value>) -> Verdict<()> {
        let known = |field: &&Field| self.site == Site::Mainland || !field.mainland_only();
        for (name, value) in members {
            let field = fields.iter().filter(known).find(|field| field.0 == *name);
            let field = field.ok_or_else(|| Refusal::unknown(name))?;
            self.typed(name, field.1, field, value)?;
        }
        let mut required = fields.iter().filter(known).filter(|field| field.required());
        match required.find(|field| !members.contains_key(&field.0)) {
            Some(field) => Err(Refusal::missing(&field.0)),
            None => Ok(()),
        }
    }

    fn typed(&self, name: &str, shape: Shape, field: &Field, value: &Value) -> Verdict<()> {
        let fits = match (shape, value) {
            (Shape::String, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => true,
            (Shape::Int, number) if field.2 == "uint64" => number.is_u64(),
            (Shape::Int, number) => number.is_i64() || number.is_u64(),
            (Shape::Float, number) => number.is_number(),
            (Shape::Object, Value::Object(members)) => {
                if let Some(fields) = Schema::get().object(&self.action.service, &field.2) {
                    self.members(fields, members)?;
                }
                true
            }
            (Shape::List, Value::Array(elements)) => {
                for (index, element) in elements.iter().enumerate() {
                    self.typed(&format!("{name}.{index}"), field.element(), field, element)?;
                }
                true
            }
            _ => false,
        };
        match fits {
            true => Ok(()),
            false => refuse!(
                "InvalidParameter",
                "The value type of parameter `{name}` is not valid."
            ),
        }
    }

    /// A listing is by ids or by filters.
    fn coexistence(&self, parameters: &Map<String, Value>) -> Verdict<()> {
        let given = |name: &str| matches!(parameters.get(name), Some(Value::Array(list)) if !list.is_empty());
        let ids = parameters
            .keys()
            .find(|name| name.ends_with("Ids") && given(name));
        match ids {
            Some(ids) if given("Filters") => {
                let code = self
                    .action
                    .code(&["InvalidParameter.Coexist", "InvalidParameter"]);
                refuse!(code, "`{ids}` and `Filters` exclude each other.")
            }
            _ => Ok(()),
        }
    }

    /// What a name says of a value, wherever it stands.
    fn meaning(&self, name: &str, value: &Value) -> Verdict<()> {
        match value {
            Value::Array(list) => {
                let limit = self.longest(name, list);
                if list.len() > limit {
                    return refuse!(self.too_many(name), "`{name}` has more than {limit} elements.");
                }
                let of_list = name.strip_suffix('s').unwrap_or(name);
                for element in list {
                    match element {
                        Value::Object(members) => {
                            for (name, value) in members {
                                self.meaning(name, value)?;
                            }
                        }
                        other => self.meaning(if name == "Values" { name } else { of_list }, other)?,
                    }
                }
                Ok(())
            }
            Value::String(text) => self.text(name, text),
            _ => Ok(()),
        }
    }

    fn longest(&self, name: &str, list: &[Value]) -> usize {
        let cvm = self.action.service == "cvm";
        match name {
            "PrivateIpAddresses" | "Ipv6Addresses" if list.iter().all(Value::is_object) => ADDRESSES_PER_CALL,
            "Filters" if cvm => 10,
            "Values" if cvm => 5,
            "ResourceList" | "TagKeys" => 10,
            "Tags" if self.action.service == "tag" => 10,
            _ => IDS_PER_CALL,
        }
    }

    fn too_many(&self, name: &str) -> &'static str {
        match name {
            "Values" => self.action.code(&[
                "InvalidFilterValue.LimitExceeded",
                "InvalidParameterValue.LimitExceeded",
            ]),
            _ => self
                .action
                .code(&["InvalidParameterValue.LimitExceeded", "InvalidParameterValue"]),
        }
    }

    fn text(&self, name: &str, text: &str) -> Verdict<()> {
        let ends = |(suffix, _): &&(&str, &[&str])| name.ends_with(suffix);
        if let Some((_, prefixes)) = PREFIXES.iter().find(ends) {
            let fits = |prefix: &&&str| text.strip_prefix(**prefix).is_some_and(|rest| !rest.is_empty());
            if self.action.service != "sts" && prefixes.iter().find(fits).is_none() {
                return refuse!(self.malformed(name), "`{text}` is not a valid `{name}`.");
            }
        }
        let malformed = match name {
            "PrivateIpAddress" | "IpAddresse" | "PrivateIpAddresse" | "IpAddress" => {
                text.parse::<Ipv4Addr>().is_err()
            }
            "Address" => text.parse::<Ipv6Addr>().is_err(),
            _ => false,
        };
        if malformed {
            return refuse!(
                self.action
                    .code(&["InvalidParameterValue.Malformed", "InvalidParameterValue"]),
                "`{text}` is not an IP address."
            );
        }
        let too_long = match name {
            "NetworkInterfaceName" | "NetworkInterfaceDescription" => text.len() > NAME_BYTES,
            "ClientToken" => text.len() > TOKEN_BYTES || !text.is_ascii(),
            _ => false,
        };
        match too_long {
            true => refuse!(
                self.action
                    .code(&["InvalidParameterValue.TooLong", "InvalidParameterValue"]),
                "`{name}` is too long."
            ),
            false => Ok(()),
        }
    }

    fn malformed(&self, name: &str) -> &'static str {
        let own: &'static str = match name {
            "InstanceId" if self.action.service == "cvm" => "InvalidInstanceId.Malformed",
            "InstanceId" => "InvalidParameterValue.InstanceIdMalformed",
            "AddressId" => "InvalidParameterValue.AddressIdMalformed",
            _ => "InvalidParameterValue.Malformed",
        };
        self.action
            .code(&[own, "InvalidParameterValue.Malformed", "InvalidParameterValue"])
    }
}
