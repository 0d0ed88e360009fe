//! What several actions share.

use serde::{Deserialize, Deserializer, Serialize};

/// Objects in one answer, and ids in one request: the most that the Describe actions take.
pub(crate) const PAGE: usize = 100;

/// One condition of a listing; the conditions of a request must all hold, and one of its values.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Filter {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

impl Filter {
    pub(crate) fn new(name: impl Into<String>, values: impl IntoIterator<Item = String>) -> Self {
        Self {
            name: name.into(),
            values: values.into_iter().collect(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) value: String,
}

/// An answer of which nothing is used.
#[derive(Debug, Deserialize)]
pub(crate) struct Done {}

/// Null is the default, as a missing field is with `#[serde(default)]`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
