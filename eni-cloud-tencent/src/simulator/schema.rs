//! The API's actions as data: which parameters each takes, which codes it may refuse with, how often it
//! may be called.
//!
//! The data is `data/vpc-actions.json`, facts drawn from Tencent's own command line tool and SDKs.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

/// Everything that is known of the API.
#[derive(Debug, Deserialize)]
pub(super) struct Schema {
    pub(super) actions: BTreeMap<String, Action>,
    /// By service and name, such as `vpc.Filter`.
    objects: BTreeMap<String, Vec<Field>>,
}

/// One action.
#[derive(Debug, Deserialize)]
pub(super) struct Action {
    pub(super) service: String,
    pub(super) version: String,
    pub(super) request: Vec<Field>,
    #[cfg(test)]
    pub(super) response: Vec<Field>,
    /// Calls in a second, where the documentation says so.
    pub(super) rate_limit_per_s: Option<u32>,
    /// The codes that the SDKs list for it.
    pub(super) error_codes: Vec<String>,
}

/// A member of a request, a response or an object: its name, its JSON type, what a list holds or an object
/// is, and flags.
#[derive(Debug, Deserialize)]
pub(super) struct Field(pub(super) String, pub(super) Shape, pub(super) String, String);

/// The JSON types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    String,
    Int,
    Bool,
    Float,
    List,
    Object,
}

impl Schema {
    /// The data that this crate holds.
    pub(super) fn get() -> &'static Self {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            serde_json::from_str(include_str!("../../data/vpc-actions.json"))
                .expect("the data of this crate fits the types above")
        });
        &SCHEMA
    }

    /// The members of an object of a service.
    pub(super) fn object(&self, service: &str, name: &str) -> Option<&[Field]> {
        self.objects.get(&format!("{service}.{name}")).map(Vec::as_slice)
    }
}

impl Action {
    /// The first of the codes that the action lists; without one the last, which is the most general. Of an
    /// action whose list is not known the first.
    pub(super) fn code(&self, candidates: &[&'static str]) -> &'static str {
        let unknown = self.error_codes.is_empty();
        let listed = |code: &&&str| unknown || self.error_codes.iter().any(|known| known == **code);
        let code = candidates.iter().find(listed).or(candidates.last());
        code.copied().unwrap_or("InternalError")
    }
}

impl Field {
    /// A request without it is refused.
    pub(super) fn required(&self) -> bool {
        self.3.contains('R')
    }

    /// The international site does not know it.
    pub(super) fn mainland_only(&self) -> bool {
        self.3.contains('I')
    }

    /// It may be null in an answer.
    #[cfg(test)]
    pub(super) fn nullable(&self) -> bool {
        self.3.contains('N')
    }

    /// What the elements of a list are.
    pub(super) fn element(&self) -> Shape {
        match self.2.as_str() {
            "string" => Shape::String,
            "bool" => Shape::Bool,
            "float" => Shape::Float,
            "int64" | "uint64" | "int" | "integer" => Shape::Int,
            _ => Shape::Object,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_that_is_named_is_described() {
        let schema = Schema::get();
        for (name, action) in &schema.actions {
            let fields = action.request.iter().chain(&action.response);
            for Field(field, shape, kind, _) in fields {
                let is_object = match shape {
                    Shape::Object => true,
                    Shape::List => !matches!(kind.as_str(), "string" | "int64" | "uint64" | "bool" | "float"),
                    _ => false,
                };
                let known = schema.object(&action.service, kind).is_some();
                assert!(!is_object || known, "{name}.{field}: {kind}");
            }
        }
    }
}
