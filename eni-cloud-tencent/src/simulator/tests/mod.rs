//! The simulator by its own API, in one process and in virtual time. Every answer is held against the
//! schema: its members, their types, and the codes that the action lists.

mod addresses;
mod eips;
mod faults;
mod fuzz;
mod interfaces;
mod keys;
mod limits;
mod listings;
mod signature;

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use eni_core::{
    env::Environment,
    model::Limits,
    sim::{Latency, MemoryCloud, SimEnvironment},
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use super::{
    Settings, Simulator,
    schema::{Action, Field, Schema, Shape},
};
use crate::{
    Credentials,
    tc3::{self, Payload},
};

const LIMITS: Limits = Limits {
    enis: 4,
    addresses_per_eni: 10,
};

/// What any action may answer (API documentation, "Common error codes").
const COMMON: &[&str] = &[
    "AuthFailure.InvalidAuthorization",
    "AuthFailure.SecretIdNotFound",
    "AuthFailure.SignatureExpire",
    "AuthFailure.SignatureFailure",
    "AuthFailure.TokenFailure",
    "InternalError",
    "InvalidAction",
    "InvalidParameter",
    "InvalidParameterValue",
    "MissingParameter",
    "NoSuchProduct",
    "NoSuchVersion",
    "RequestLimitExceeded",
    "ResourceNotFound",
    "UnauthorizedOperation",
    "UnknownParameter",
    "UnsupportedOperation",
    "UnsupportedRegion",
];

/// A simulator and a client of it.
pub(super) struct Api {
    pub(super) simulator: Simulator,
    pub(super) environment: Arc<SimEnvironment>,
    pub(super) credentials: Credentials,
}

impl Api {
    /// Two zones with two subnets each; `ins-1` and `ins-2` in the first, `ins-3` in the second zone.
    /// Orders take a second.
    pub(super) fn new() -> Self {
        Self::with(Settings::default(), |builder| builder)
    }

    pub(super) fn with(
        settings: Settings,
        change: impl FnOnce(eni_core::sim::MemoryCloudBuilder) -> eni_core::sim::MemoryCloudBuilder,
    ) -> Self {
        let builder = MemoryCloud::builder()
            .subnet("subnet-a", "ap-guangzhou-3", "10.0.1.0/24".parse().unwrap())
            .subnet("subnet-b", "ap-guangzhou-3", "10.0.2.0/28".parse().unwrap())
            .subnet("subnet-c", "ap-guangzhou-4", "10.0.3.0/24".parse().unwrap())
            .ipv6("subnet-a", "2001:db8:1::/64".parse().unwrap())
            .instance("ins-1", "subnet-a", LIMITS)
            .instance("ins-2", "subnet-a", LIMITS)
            .instance("ins-3", "subnet-c", LIMITS)
            .latency(Latency::orders(Duration::from_secs(1)));
        let environment = Arc::new(SimEnvironment::new(7));
        let simulator = Simulator::new(change(builder).build(), environment.clone(), settings);
        let credentials = Credentials::new("AKIDEXAMPLE", "SECRETEXAMPLE");
        simulator.add_credentials(credentials.clone(), None);
        Self {
            simulator,
            environment,
            credentials,
        }
    }

    /// The members of `Response`, or the code of the error.
    pub(super) async fn call(&self, name: &str, parameters: Value) -> Result<Value, String> {
        let action = &Schema::get().actions[name];
        let request = self.signed(name, action, &parameters.to_string());
        let response = self.send(request).await;
        match response.get("Error") {
            Some(error) => {
                let code = error["Code"].as_str().unwrap();
                let listed = action.error_codes.iter().any(|known| known == code);
                let expected = listed || COMMON.contains(&code) || action.error_codes.is_empty();
                assert!(expected, "{name} does not list {code}");
                Err(code.to_owned())
            }
            None => {
                let mut members = response.as_object().unwrap().clone();
                members.remove("RequestId").expect("the id of the request");
                conforms(name, &action.service, &action.response, &members);
                Ok(response)
            }
        }
    }

    /// What must succeed.
    pub(super) async fn done(&self, name: &str, parameters: Value) -> Value {
        let shown = parameters.to_string();
        let answer = self.call(name, parameters).await;
        answer.unwrap_or_else(|code| panic!("{name} {shown}: {code}"))
    }

    pub(super) fn signed(&self, name: &str, action: &Action, body: &str) -> Request<Body> {
        let timestamp = self.environment.now();
        let request = tc3::Request {
            method: "POST",
            host: "127.0.0.1:8080",
            content_type: "application/json",
            extra_headers: &[],
            query: "",
            payload: Payload::Signed(body.as_bytes()),
            timestamp,
            service: &action.service,
        };
        let mut signed = Request::post("/")
            .header("Host", request.host)
            .header("Content-Type", request.content_type)
            .header("Authorization", request.authorization(&self.credentials))
            .header("X-TC-Action", name)
            .header("X-TC-Version", &action.version)
            .header("X-TC-Region", "ap-guangzhou")
            .header("X-TC-Timestamp", timestamp.as_second().to_string())
            .body(Body::from(body.to_owned()))
            .unwrap();
        if let Some(token) = self.credentials.token() {
            let token = token.expose_secret().parse().unwrap();
            signed.headers_mut().insert("X-TC-Token", token);
        }
        signed
    }

    /// The content of an answer's envelope.
    pub(super) async fn send(&self, request: Request<Body>) -> Value {
        let response = self.simulator.router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let mut envelope: Value = serde_json::from_slice(&body).unwrap();
        assert!(envelope["Response"]["RequestId"].is_string(), "{envelope}");
        envelope["Response"].take()
    }

    /// A new ENI of `subnet-a`, ready.
    pub(super) async fn eni(&self, name: &str, secondary: u32) -> String {
        let created = self.done(
            "CreateNetworkInterface",
            json!({
                "VpcId": "vpc-sim",
                "SubnetId": "subnet-a",
                "NetworkInterfaceName": name,
                "SecondaryPrivateIpAddressCount": secondary,
            }),
        );
        let created = created.await;
        settle().await;
        text(&created["NetworkInterface"]["NetworkInterfaceId"])
    }

    /// The same, on `ins-1`.
    pub(super) async fn attached(&self, name: &str) -> String {
        let eni = self.eni(name, 0).await;
        self.done(
            "AttachNetworkInterface",
            json!({"NetworkInterfaceId": eni, "InstanceId": "ins-1"}),
        )
        .await;
        settle().await;
        eni
    }

    /// Addresses that are free in a subnet, as the API counts them.
    pub(super) async fn free(&self, subnet: &str) -> u64 {
        let listed = self.done("DescribeSubnets", json!({"SubnetIds": [subnet]})).await;
        listed["SubnetSet"][0]["AvailableIpAddressCount"]
            .as_u64()
            .unwrap()
    }

    /// One ENI as listings show it.
    pub(super) async fn shown(&self, eni: &str) -> Value {
        let mut listed = self
            .done("DescribeNetworkInterfaces", json!({"NetworkInterfaceIds": [eni]}))
            .await;
        listed["NetworkInterfaceSet"][0].take()
    }
}

/// Orders come to their end.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

pub(super) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// The answer has members of the schema alone, each of its type.
fn conforms(path: &str, service: &str, fields: &[Field], members: &Map<String, Value>) {
    for (name, value) in members {
        let path = format!("{path}.{name}");
        let field = fields.iter().find(|field| field.0 == *name);
        let field = field.unwrap_or_else(|| panic!("the schema has no {path}"));
        match value {
            Value::Null => assert!(field.nullable(), "{path} is null"),
            value => typed(&path, service, field.1, field, value),
        }
    }
}

fn typed(path: &str, service: &str, shape: Shape, field: &Field, value: &Value) {
    match (shape, value) {
        (Shape::List, Value::Array(elements)) => {
            for element in elements {
                typed(path, service, field.element(), field, element);
            }
        }
        (Shape::Object, Value::Object(members)) => {
            conforms(
                path,
                service,
                Schema::get().object(service, &field.2).unwrap(),
                members,
            );
        }
        (Shape::String, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => {}
        (Shape::Int, number) if number.is_i64() || number.is_u64() => {}
        (Shape::Float, number) if number.is_number() => {}
        _ => panic!("{path} is {value}, not {shape:?}"),
    }
}
