//! Our part of an object put into the whole of it, so that what we do not know survives.

use serde_json::{Map, Value};

/// By what the elements of a list are told apart, where they bear it.
const IDENTITY: &str = "id";

/// Changes `whole`, of which we knew `before`, so that our part of it is `after`.
///
/// Only what differs between `before` and `after` is touched. Elements of a list that bear an `id` are matched by
/// it, and keep what else is in them.
pub(crate) fn merge(whole: &mut Value, before: &Value, after: &Value) {
    if before == after {
        return;
    }
    match (whole, before, after) {
        (Value::Object(whole), before, Value::Object(after)) => merge_maps(whole, before.as_object(), after),
        (Value::Array(whole), _, Value::Array(after)) => {
            let known = before.as_array().map(Vec::as_slice).unwrap_or_default();
            let merged = after.iter().map(|element| {
                let old = find(whole, element).cloned();
                match (old, find(known, element)) {
                    (Some(mut old), Some(known)) => {
                        merge(&mut old, known, element);
                        old
                    }
                    _ => element.clone(),
                }
            });
            *whole = merged.collect();
        }
        (whole, _, after) => *whole = after.clone(),
    }
}

fn merge_maps(
    whole: &mut Map<String, Value>,
    before: Option<&Map<String, Value>>,
    after: &Map<String, Value>,
) {
    for key in before
        .into_iter()
        .flat_map(Map::keys)
        .filter(|key| !after.contains_key(*key))
    {
        whole.remove(key);
    }
    for (key, value) in after {
        let known = before.and_then(|before| before.get(key)).unwrap_or(&Value::Null);
        match whole.get_mut(key) {
            Some(old) => merge(old, known, value),
            // What is read as if it were there, and is left so, stays away.
            None if known == value => {}
            None => {
                whole.insert(key.clone(), value.clone());
            }
        }
    }
}

fn find<'a>(elements: &'a [Value], wanted: &Value) -> Option<&'a Value> {
    let id = wanted.get(IDENTITY)?;
    elements.iter().find(|element| element.get(IDENTITY) == Some(id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut whole: Value, before: Value, after: Value) -> Value {
        merge(&mut whole, &before, &after);
        whole
    }

    #[test]
    fn what_we_do_not_know_stays_at_every_depth() {
        let whole = json!({"a": 1, "theirs": 2, "deep": {"b": 3, "theirs": [4]}});
        let (before, after) = (
            json!({"a": 1, "deep": {"b": 3}}),
            json!({"a": 5, "deep": {"b": 6}}),
        );
        let expected = json!({"a": 5, "theirs": 2, "deep": {"b": 6, "theirs": [4]}});
        assert_eq!(merged(whole, before, after), expected);
    }

    #[test]
    fn what_we_did_not_know_before_is_not_replaced_either() {
        let whole = json!({"part": {"theirs": 1}});
        let expected = json!({"part": {"theirs": 1, "ours": 2}});
        assert_eq!(merged(whole, json!({}), json!({"part": {"ours": 2}})), expected);
    }

    #[test]
    fn what_we_leave_out_now_goes() {
        let whole = json!({"ours": 1, "theirs": 2});
        assert_eq!(merged(whole, json!({"ours": 1}), json!({})), json!({"theirs": 2}));
    }

    #[test]
    fn what_was_read_as_if_it_were_there_is_not_written() {
        let known = json!({"ours": 1, "usual": {"n": 0}});
        let after = json!({"ours": 2, "usual": {"n": 0}});
        assert_eq!(
            merged(json!({"ours": 1}), known.clone(), after),
            json!({"ours": 2})
        );
        let after = json!({"ours": 1, "usual": {"n": 1}});
        let expected = json!({"ours": 1, "usual": {"n": 1}});
        assert_eq!(merged(json!({"ours": 1}), known, after), expected);
    }

    #[test]
    fn elements_keep_what_is_theirs_by_their_id() {
        let whole = json!([{"id": "a", "n": 1, "theirs": 1}, {"id": "b", "n": 2, "theirs": 2}]);
        let before = json!([{"id": "a", "n": 1}, {"id": "b", "n": 2}]);
        let after = json!([{"id": "c", "n": 9}, {"id": "b", "n": 3}]);
        let expected = json!([{"id": "c", "n": 9}, {"id": "b", "n": 3, "theirs": 2}]);
        assert_eq!(merged(whole, before, after), expected);
    }

    #[test]
    fn other_lists_are_replaced_and_nothing_is_touched_without_a_change() {
        let whole = json!({"list": [{"ip": "a", "theirs": 1}], "null": null});
        let known = json!({"list": [{"ip": "a"}]});
        assert_eq!(merged(whole.clone(), known.clone(), known.clone()), whole);
        let after = json!({"list": [{"ip": "b"}], "null": {"x": 1}});
        assert_eq!(merged(whole, known, after.clone()), after);
    }
}
