//! A plugin's side of the protocol, on a real socket.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{future::Future, time::Duration};

use agent_api::{
    Endpoint,
    proto::{self, agent_client::AgentClient},
    spoken,
};
use eni_core::model::SandboxKey;
use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};
use tonic::{Status, Streaming, transport::Channel};
use tower::service_fn;

pub type Client = AgentClient<Channel>;

/// How long something that must happen may take before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(10);

pub async fn connect(endpoint: &Endpoint) -> Client {
    let Endpoint::Unix(path) = endpoint.clone() else {
        panic!("{endpoint} is no socket's path")
    };
    let connect = move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    };
    let channel = tonic::transport::Endpoint::from_static("http://agent");
    Client::new(channel.connect_with_connector(service_fn(connect)).await.unwrap())
}

pub fn key(container: &str) -> SandboxKey {
    SandboxKey::new("net", container, "eth0")
}

pub fn add_request(container: &str, started: u64, deadline: Duration) -> proto::AddRequest {
    proto::AddRequest {
        versions: Some(spoken()),
        interface: Some((&key(container)).into()),
        started_ns: started,
        deadline_ms: deadline.as_millis() as u32,
        ..Default::default()
    }
}

/// The grant, and what keeps the ADD open.
pub async fn add(
    client: &mut Client,
    request: proto::AddRequest,
) -> Result<(proto::Grant, Streaming<proto::AddReply>), Status> {
    let mut stream = client.add(request).await?.into_inner();
    let reply = stream.message().await?.expect("a grant comes first");
    Ok((reply.grant.unwrap(), stream))
}

pub async fn del(
    client: &mut Client,
    container: &str,
    started: u64,
    deadline: Duration,
) -> Result<Vec<String>, Status> {
    let request = proto::DelRequest {
        versions: Some(spoken()),
        interface: Some((&key(container)).into()),
        started_ns: started,
        deadline_ms: deadline.as_millis() as u32,
    };
    Ok(client.del(request).await?.into_inner().released)
}

pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(
        timeout(DEADLINE, poll).await.is_ok(),
        "not within {DEADLINE:?}: {what}"
    );
}

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("an answer in time")
}
