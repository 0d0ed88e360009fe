//! What an answer says, as a function of its bytes.
//!
//! An answer is `{"Response": {..., "RequestId"}}`, and a failure has `Error` in it: the status is 200 for both,
//! and the content type proves nothing. Gateways may answer in the older form `{"code", "message", "codeDesc"}`.

use reqwest::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::error::ApiError;

/// An answer without the result that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The API refused.
    Refused(ApiError),
    /// A gateway refused without a word of the API: too many requests.
    Throttled,
    /// What came says nothing about what was done.
    Unreadable {
        message: String,
        request_id: Option<String>,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "Response")]
    response: Option<&'a RawValue>,
    #[serde(rename = "codeDesc")]
    legacy_code: Option<String>,
    #[serde(rename = "message")]
    legacy_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Head {
    error: Option<Refusal>,
    request_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: Option<String>,
    message: Option<String>,
}

/// The result in an answer, and the request's id.
pub(crate) fn open<T: DeserializeOwned>(
    status: StatusCode,
    body: &[u8],
) -> Result<(T, Option<String>), Unanswered> {
    let unreadable = |request_id, what: String| {
        let message = format!("the answer (status {}) {what}", status.as_u16());
        Unanswered::Unreadable { message, request_id }
    };
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(body) else {
        return Err(match status {
            StatusCode::TOO_MANY_REQUESTS => Unanswered::Throttled,
            _ => unreadable(None, "is not of this API".to_owned()),
        });
    };
    let Some(response) = envelope.response else {
        return Err(match (envelope.legacy_code, status) {
            (Some(code), _) if code != "Success" => Unanswered::Refused(ApiError {
                code,
                message: envelope.legacy_message.unwrap_or_default(),
                request_id: String::new(),
            }),
            (_, StatusCode::TOO_MANY_REQUESTS) => Unanswered::Throttled,
            _ => unreadable(None, "has no `Response`".to_owned()),
        });
    };
    let head = match serde_json::from_str::<Head>(response.get()) {
        Ok(head) => head,
        Err(error) => return Err(unreadable(None, format!("has an unreadable head: {error}"))),
    };
    if let Some(refusal) = head.error {
        return Err(Unanswered::Refused(ApiError {
            code: refusal.code.unwrap_or_default(),
            message: refusal.message.unwrap_or_default(),
            request_id: head.request_id.unwrap_or_default(),
        }));
    }
    if status != StatusCode::OK {
        return Err(unreadable(head.request_id, "has a status of failure".to_owned()));
    }
    match serde_json::from_str(response.get()) {
        Ok(result) => Ok((result, head.request_id)),
        Err(error) => Err(unreadable(
            head.request_id,
            format!("is not what was expected: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::DescribeNetworkInterfaces;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        total_count: Option<u64>,
    }

    fn read(status: u16, body: &str) -> Result<(Answer, Option<String>), Unanswered> {
        open(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn a_result_is_read_whatever_else_comes_with_it() {
        let body = json!({"Response": {"TotalCount": 3, "New": {"a": null}, "RequestId": "r-1"}, "more": 1});
        assert_eq!(
            read(200, &body.to_string()),
            Ok((Answer { total_count: Some(3) }, Some("r-1".to_owned())))
        );
        let null = r#"{"Response": {"TotalCount": null}}"#;
        assert_eq!(read(200, null), Ok((Answer { total_count: None }, None)));
    }

    #[test]
    fn a_refusal_is_read_whatever_the_status() {
        let body = r#"{"Response": {"Error": {"Code": "A.B", "Message": "no"}, "RequestId": "r-2"}}"#;
        for status in [200, 400, 429, 500] {
            let Err(Unanswered::Refused(error)) = read(status, body) else {
                panic!("{status}")
            };
            assert_eq!((&*error.code, &*error.request_id), ("A.B", "r-2"));
        }
    }

    #[test]
    fn the_older_form_of_a_refusal_is_read() {
        let body = r#"{"code": 4000, "message": "no", "codeDesc": "InvalidParameter"}"#;
        let Err(Unanswered::Refused(error)) = read(200, body) else {
            panic!("a refusal")
        };
        assert_eq!((&*error.code, &*error.message), ("InvalidParameter", "no"));
    }

    #[test]
    fn what_says_nothing_is_never_a_result() {
        let bodies = [
            "",
            "<html>",
            "[]",
            "{}",
            "null",
            r#"{"Response": null}"#,
            r#"{"Response": 1}"#,
        ];
        for body in bodies {
            assert!(
                matches!(read(200, body), Err(Unanswered::Unreadable { .. })),
                "{body}"
            );
        }
        let result = r#"{"Response": {"TotalCount": 1, "RequestId": "r-3"}}"#;
        for (status, body) in [
            (502, result),
            (200, r#"{"Response": {"TotalCount": "many", "RequestId": "r-3"}}"#),
        ] {
            let Err(Unanswered::Unreadable { request_id, .. }) = read(status, body) else {
                panic!("{body}")
            };
            assert_eq!(request_id.as_deref(), Some("r-3"));
        }
        assert_eq!(read(429, "slow down"), Err(Unanswered::Throttled));
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[A-Za-z0-9.:/-]{0,20}".prop_map(Into::into),
        ];
        let names = [
            "Response",
            "Error",
            "Code",
            "Message",
            "RequestId",
            "TotalCount",
            "NetworkInterfaceSet",
            "NetworkInterfaceId",
            "MacAddress",
            "State",
            "Attachment",
            "InstanceId",
            "PrivateIpAddressSet",
            "PrivateIpAddress",
            "TagSet",
            "Key",
            "codeDesc",
        ];
        let key = prop::sample::select(names.to_vec());
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    type Listing = <DescribeNetworkInterfaces as crate::api::Action>::Answer;

    proptest! {
        #[test]
        fn no_bytes_panic(body: Vec<u8>, status in 200..600_u16) {
            let read = open::<Listing>(StatusCode::from_u16(status).unwrap(), &body);
            prop_assert!(read.is_err());
        }

        #[test]
        fn no_json_panics_and_only_status_200_is_a_result(value in value(), status in 200..600_u16) {
            let body = json!({"Response": value}).to_string();
            let read = open::<Listing>(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            prop_assert!(read.is_err() || status == 200);
            if let Ok((listing, _)) = read {
                // Turning each into the core's words must not panic either.
                prop_assert!(listing.network_interface_set.into_iter().map(crate::convert::eni).count() < 10);
            }
        }
    }
}
