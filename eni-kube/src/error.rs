//! An object that cannot be understood, and the metadata that every object must have.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// An object without something that every object of an API server has: it does not come from one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name} has no {field}; the API server sets it, so look at what else writes such objects")]
pub struct InvalidObject {
    /// The object's kind.
    pub kind: &'static str,
    /// The object's name, as far as it is known.
    pub name: String,
    /// What is missing.
    pub field: &'static str,
}

/// A field of the metadata, which may be neither missing nor empty.
pub(crate) fn required<'a>(
    kind: &'static str,
    metadata: &'a ObjectMeta,
    field: &'static str,
    value: &'a Option<String>,
) -> Result<&'a str, InvalidObject> {
    value
        .as_deref()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| InvalidObject {
            kind,
            name: match (&metadata.namespace, &metadata.name) {
                (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
                (_, Some(name)) => name.clone(),
                _ => "(unnamed)".to_owned(),
            },
            field,
        })
}
