//! A gateway on this machine that answers as a test says, and remembers what came.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use eni_cloud_tencent::{
    ApiConfig, CredentialSource, Credentials, Endpoint, StaticCredentials, TencentCloud,
};
use eni_core::env::SystemEnvironment;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn action(&self) -> &str {
        self.header("x-tc-action")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// An answer: status, more headers, body.
pub struct Answer(pub StatusCode, pub Vec<(&'static str, String)>, pub String);

/// A result.
pub fn result(fields: Value) -> Answer {
    let mut response = fields;
    response["RequestId"] = json!("r-test");
    Answer(
        StatusCode::OK,
        Vec::new(),
        json!({ "Response": response }).to_string(),
    )
}

/// A refusal.
pub fn refusal(code: &str) -> Answer {
    result(json!({"Error": {"Code": code, "Message": "refused"}}))
}

type Script = dyn FnMut(&Received) -> Answer + Send;

/// The gateway; it ends with the test's runtime.
pub struct Gateway {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Gateway {
    pub async fn start(script: impl FnMut(&Received) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let script: Box<Script> = Box::new(script);
        let state = (received.clone(), Arc::new(Mutex::new(script)));
        let app = Router::new().fallback(answer).with_state(state);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, received }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The actions that came, in order.
    pub fn actions(&self) -> Vec<String> {
        self.received()
            .iter()
            .map(|request| request.action().to_owned())
            .collect()
    }

    pub fn config(&self) -> ApiConfig {
        ApiConfig {
            endpoint: Endpoint::At(self.url.parse().unwrap()),
            ..ApiConfig::new("ap-guangzhou")
        }
    }

    pub fn cloud(&self) -> TencentCloud {
        let keys = Credentials::new("AKIDtest", "hush-key").with_token("hush-token");
        self.cloud_with(Arc::new(StaticCredentials::new(keys)))
    }

    pub fn cloud_with(&self, keys: Arc<dyn CredentialSource>) -> TencentCloud {
        TencentCloud::new(&self.config(), keys, SystemEnvironment::shared()).unwrap()
    }
}

type Shared = (Arc<Mutex<Vec<Received>>>, Arc<Mutex<Box<Script>>>);

async fn answer(
    State((received, script)): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let request = Received { headers, body };
    received.lock().unwrap().push(request.clone());
    let Answer(status, more, body) = (script.lock().unwrap())(&request);
    let more = more
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    (status, more.collect(), body)
}

/// An ENI as the API shows it.
pub fn eni(id: &str, state: &str, instance: Option<&str>, addresses: &[(&str, &str)]) -> Value {
    let addresses = addresses
        .iter()
        .enumerate()
        .map(|(index, (ip, state))| json!({"PrivateIpAddress": ip, "State": state, "Primary": index == 0}));
    json!({
        "NetworkInterfaceId": id, "NetworkInterfaceName": "one", "SubnetId": "subnet-1", "VpcId": "vpc-1",
        "Zone": "", "MacAddress": "20:90:6F:2A:11:3D", "State": state, "Primary": false,
        "Attachment": instance.map(|id| json!({"InstanceId": id})), "GroupSet": [], "TagSet": [],
        "PrivateIpAddressSet": addresses.collect::<Vec<_>>(),
    })
}

/// A listing of ENIs that is whole.
pub fn listing(enis: &[Value]) -> Answer {
    result(json!({"NetworkInterfaceSet": enis, "TotalCount": enis.len()}))
}

/// Subnet `subnet-1`.
pub fn subnets() -> Answer {
    result(json!({"TotalCount": 1, "SubnetSet": [{
        "SubnetId": "subnet-1", "VpcId": "vpc-1", "Zone": "ap-guangzhou-3", "CidrBlock": "10.0.0.0/24",
        "AvailableIpAddressCount": 200,
    }]}))
}
