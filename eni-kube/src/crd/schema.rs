//! Pieces of schemas.

use serde_json::{Value, json};

/// An object that keeps what it does not know.
pub(super) fn object(description: &str, required: &[&str], properties: Value) -> Value {
    let mut schema = json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": true,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The top of a kind: its parts, and what all objects have.
pub(super) fn kind(description: &str, required: &[&str], mut parts: Value) -> Value {
    parts["apiVersion"] = json!({"type": "string"});
    parts["kind"] = json!({"type": "string"});
    parts["metadata"] = json!({"type": "object"});
    object(description, required, parts)
}

/// A text that is not empty.
pub(super) fn text(description: &str) -> Value {
    json!({"type": "string", "description": description, "minLength": 1})
}

/// One of some words.
pub(super) fn word(description: &str, words: &[&str]) -> Value {
    json!({"type": "string", "description": description, "enum": words})
}

/// A number that is not negative and fits into 32 bits without a sign.
pub(super) fn count(description: &str) -> Value {
    json!({"type": "integer", "format": "int64", "description": description, "minimum": 0, "maximum": u32::MAX})
}

/// An address of either family.
pub(super) fn address(description: &str) -> Value {
    json!({
        "type": "string",
        "description": description,
        "anyOf": [{"format": "ipv4", "pattern": V4}, {"format": "ipv6", "pattern": "^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$"}],
    })
}

/// A range of addresses of either family.
pub(super) fn range(description: &str) -> Value {
    json!({
        "type": "string",
        "description": description,
        "format": "cidr",
        "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$",
    })
}

/// A link-layer address, in the form that the node's interfaces show.
pub(super) fn mac(description: &str) -> Value {
    json!({
        "type": "string",
        "description": description,
        "pattern": "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$",
    })
}

/// A list.
pub(super) fn list(description: &str, items: Value) -> Value {
    json!({"type": "array", "description": description, "items": items})
}

/// Four numbers of at most 255, none with a leading zero, which some readers take for octal.
const V4: &str =
    r"^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$";
