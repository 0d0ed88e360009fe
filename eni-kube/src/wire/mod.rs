//! Our custom resources as JSON. Reading asks for what the core needs and passes over the rest; writing gives our
//! part alone, and [`merge()`](merge::merge) puts it into what is there.

pub(crate) mod address_record;
pub(crate) mod claim;
pub(crate) mod claim_defaults;
pub(crate) mod eni_record;
pub(crate) mod merge;
pub(crate) mod node_config;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A part of an object; the error names the part, and within it what is wrong.
fn part<T: DeserializeOwned>(object: &Value, name: &str) -> Result<T, String> {
    T::deserialize(&object[name]).map_err(|error| format!("{name}: {error}"))
}

/// The object's name, which every object of an API server has.
fn name(object: &Value) -> Result<&str, String> {
    let name = object["metadata"]["name"].as_str();
    name.ok_or_else(|| "it has no name".to_owned())
}
