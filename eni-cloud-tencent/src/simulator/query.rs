//! Reads the parameters of a request by GET: `Filters.0.Values.1=x`, typed by the schema.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Number, Value};

use super::{
    refusal::{Refusal, Verdict, refuse},
    schema::{Action, Field, Schema, Shape},
};

/// The parameters in a query. What the schema does not know is kept as text, to be refused by name.
pub(super) fn parse(action: &Action, query: &str) -> Verdict<Map<String, Value>> {
    let mut root = Node::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        let mut node = &mut root;
        for part in name.split('.') {
            node = node.members.entry(part.to_owned()).or_default();
        }
        if node.text.replace(value.into_owned()).is_some() {
            return refuse!("InvalidParameter", "The parameter `{name}` is given twice.");
        }
    }
    members(action, &action.request, &root)
}

/// What stands below a part of a dotted name.
#[derive(Default)]
struct Node {
    text: Option<String>,
    members: BTreeMap<String, Node>,
}

fn members(action: &Action, fields: &[Field], node: &Node) -> Verdict<Map<String, Value>> {
    node.members
        .iter()
        .map(|(name, member)| {
            let field = fields.iter().find(|field| field.0 == *name);
            let field = field.ok_or_else(|| Refusal::unknown(name))?;
            Ok((name.clone(), typed(action, name, field.1, field, member)?))
        })
        .collect()
}

fn typed(action: &Action, name: &str, shape: Shape, field: &Field, node: &Node) -> Verdict<Value> {
    let invalid = || {
        let message = format!("The value type of parameter `{name}` is not valid.");
        Refusal::new("InvalidParameter", message)
    };
    match (shape, &node.text) {
        (Shape::List, None) => {
            let mut elements = BTreeMap::new();
            for (index, element) in &node.members {
                let number: usize = index.parse().map_err(|_| invalid())?;
                let element = typed(
                    action,
                    &format!("{name}.{index}"),
                    field.element(),
                    field,
                    element,
                )?;
                elements.insert(number, element);
            }
            Ok(Value::Array(elements.into_values().collect()))
        }
        (Shape::Object, None) => match Schema::get().object(&action.service, &field.2) {
            Some(fields) => Ok(Value::Object(members(action, fields, node)?)),
            None => Err(invalid()),
        },
        (_, Some(text)) if node.members.is_empty() => match shape {
            Shape::String => Ok(Value::String(text.clone())),
            Shape::Bool => match text.to_ascii_lowercase().as_str() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(invalid()),
            },
            Shape::Int => text.parse::<i64>().map(Value::from).map_err(|_| invalid()),
            Shape::Float => {
                let number = text.parse().ok().and_then(Number::from_f64);
                number.map(Value::Number).ok_or_else(invalid)
            }
            Shape::List | Shape::Object => Err(invalid()),
        },
        _ => Err(invalid()),
    }
}

/// Undoes the encoding of forms: `+` is a space, `%` begins two hexadecimal digits of UTF-8.
fn decode(text: &str) -> Verdict<Cow<'_, str>> {
    if !text.contains(['+', '%']) {
        return Ok(Cow::Borrowed(text));
    }
    let invalid = || Refusal::new("InvalidParameter", "The query is not encoded as a form.");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                let (high, low) = (digit().ok_or_else(invalid)?, digit().ok_or_else(invalid)?);
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(action: &str, query: &str) -> Verdict<Value> {
        parse(&Schema::get().actions[action], query).map(Value::Object)
    }

    #[test]
    fn dotted_names_make_lists_and_objects_of_the_schemas_types() {
        let query = "Filters.0.Name=attachment.instance-id&Filters.0.Values.0=a+b&Filters.0.Values.1=%E5%90%8D&Limit=100";
        let expected = serde_json::json!({
            "Filters": [{"Name": "attachment.instance-id", "Values": ["a b", "名"]}],
            "Limit": 100,
        });
        assert_eq!(parsed("DescribeNetworkInterfaces", query), Ok(expected));
        let text = serde_json::json!({"Limit": "100"});
        assert_eq!(
            parsed("DescribeSubnets", "Limit=100"),
            Ok(text),
            "there it is a string"
        );
    }

    #[test]
    fn what_has_no_place_in_the_schema_is_refused_by_its_name() {
        for (query, code) in [
            ("Nonsense=1", "UnknownParameter"),
            ("Limit=many", "InvalidParameter"),
            ("Limit=1&Limit=2", "InvalidParameter"),
            ("Filters=x", "InvalidParameter"),
            ("Filters.x.Name=y", "InvalidParameter"),
            ("Limit=%zz", "InvalidParameter"),
            ("Limit=%f", "InvalidParameter"),
        ] {
            let refusal = parsed("DescribeNetworkInterfaces", query).unwrap_err();
            assert_eq!(refusal.code, code, "{query}");
        }
    }
}
