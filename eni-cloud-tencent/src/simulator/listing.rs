//! Filters and pages of listings.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    parameters::Parameters,
    refusal::{Verdict, refuse},
};

/// The filters of a request: all of them must hold, each by any of its values.
#[derive(Debug)]
pub(super) struct Filters<'a> {
    list: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Filters<'a> {
    /// The filters, if the listing has all of them. Every listing has `tag-key` and `tag:KEY`.
    pub(super) fn of(parameters: &Parameters<'a>, known: &[&str]) -> Verdict<Self> {
        let mut list = Vec::new();
        for filter in parameters.list("Filters") {
            let name = filter.get("Name").and_then(Value::as_str).unwrap_or_default();
            let values = filter
                .get("Values")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            if !known.contains(&name) && name != "tag-key" && !name.starts_with("tag:") {
                let codes = [
                    "InvalidParameter.FilterInvalidKey",
                    "InvalidFilter",
                    "InvalidParameter",
                ];
                let code = parameters.action.code(&codes);
                return refuse!(code, "There is no filter `{name}`.");
            }
            list.push((name, values.filter_map(Value::as_str).collect()));
        }
        Ok(Self { list })
    }

    /// The values of a filter, if it is given.
    pub(super) fn values(&self, name: &str) -> Option<&[&'a str]> {
        let filter = self.list.iter().find(|filter| filter.0 == name);
        filter.map(|filter| filter.1.as_slice())
    }

    /// Whether a thing passes: it has these tags, and `has` tells its values of any other filter.
    pub(super) fn pass(&self, tags: &BTreeMap<String, String>, has: impl Fn(&str) -> Vec<String>) -> bool {
        self.list
            .iter()
            .all(|(name, wanted)| match name.strip_prefix("tag:") {
                Some(key) => tags
                    .get(key)
                    .is_some_and(|value| wanted.contains(&value.as_str())),
                None if *name == "tag-key" => wanted.iter().any(|key| tags.contains_key(*key)),
                None => has(name).iter().any(|value| wanted.contains(&value.as_str())),
            })
    }
}

/// The most that one page shows.
const LARGEST_PAGE: usize = 100;
/// What a page shows when nothing is said.
const USUAL_PAGE: usize = 20;

/// The number of all things, and those of the page that a request asks for. Offset and limit are numbers
/// or texts, as the action has them.
pub(super) fn page<T>(parameters: &Parameters<'_>, things: Vec<T>) -> Verdict<(usize, Vec<T>)> {
    let offset = number(parameters, "Offset")?.unwrap_or(0);
    let limit = number(parameters, "Limit")?.unwrap_or(USUAL_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        let codes = [
            "InvalidParameterValue.Range",
            "InvalidParameterValue.LimitExceeded",
            "InvalidParameterValue",
        ];
        return refuse!(
            parameters.action.code(&codes),
            "`Limit` is {limit}; it must be from 1 to {LARGEST_PAGE}."
        );
    }
    let total = things.len();
    Ok((total, things.into_iter().skip(offset).take(limit).collect()))
}

fn number(parameters: &Parameters<'_>, name: &str) -> Verdict<Option<usize>> {
    let number = match parameters.members.get(name) {
        None => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    match number.and_then(|number| usize::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => refuse!(
            parameters
                .action
                .code(&["InvalidParameterValue.Malformed", "InvalidParameterValue"]),
            "`{name}` is not a number that makes sense."
        ),
    }
}

/// Things by their ids; one that does not exist fails the whole listing.
pub(super) fn by_ids<T>(
    parameters: &Parameters<'_>,
    ids: &[&str],
    find: impl Fn(&str) -> Option<T>,
) -> Verdict<Vec<T>> {
    ids.iter()
        .map(|id| match find(id) {
            Some(thing) => Ok(thing),
            None => refuse!(
                parameters.action.code(&["ResourceNotFound"]),
                "The resource `{id}` does not exist."
            ),
        })
        .collect()
}
