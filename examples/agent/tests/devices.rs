//! The whole agent offers its addresses to a kubelet.

mod client;
mod kubelet;
mod published;

use std::{collections::BTreeSet, future::Future};

use agent::{
    devices::{DeviceConfig, ENI_IP},
    proto::device_plugin::{
        AllocateRequest, ContainerAllocateRequest, ContainerAllocateResponse,
        ContainerPreferredAllocationRequest, PreferredAllocationRequest,
    },
};
use client::{DEADLINE, eventually, soon};
use eni_core::{
    cluster::{Cluster, modify},
    policy::Advertise,
};
use kubelet::Kubelet;
use published::{Published, Running};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{sleep, timeout},
};

/// A node's agent beside its kubelet.
struct Node {
    kubelet: Kubelet,
    published: Published,
    agent: Running,
    _directory: TempDir,
}

impl Node {
    async fn start(advertise: Advertise) -> Self {
        let (directory, kubelet) = (tempfile::tempdir().unwrap(), Kubelet::start());
        let published = Published::new().await;
        let agent = published.start(directory.path(), |config| {
            config.dialogue.advertise = advertise;
            config.devices = Some(DeviceConfig {
                directory: kubelet.plugins(),
                pod_resources: kubelet.pod_resources(),
                ..DeviceConfig::default()
            });
        });
        Self {
            kubelet,
            published,
            agent,
            _directory: directory,
        }
    }

    /// Waits until kubelet knows these devices as healthy, of so many.
    async fn shows(&self, healthy: impl IntoIterator<Item = u32>, total: usize) {
        let healthy = ids(healthy);
        let shown = || self.kubelet.with(|known| known.devices.clone());
        let expected = Some((healthy, total));
        eventually(&format!("kubelet knows {expected:?}"), || shown() == expected).await;
    }

    /// Waits until ipamd reads that the node advertises so many.
    async fn advertises(&self, count: u32) {
        until(|| async { self.advertised().await == count }).await;
    }

    async fn advertised(&self) -> u32 {
        let read = self.published.cluster.node_configs().get("node-1").await.unwrap();
        read.object.agent.advertised
    }

    async fn grant(&self, granted: u32) {
        let store = self.published.cluster.node_configs();
        let written = modify(&*store, "node-1", |config| {
            config.pool.granted = granted;
            true
        });
        written.await.unwrap();
    }

    fn registrations(&self) -> usize {
        self.kubelet.with(|known| known.registrations.len())
    }

    async fn stop(self) {
        soon(self.agent.stop()).await;
    }
}

fn ids(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    numbers
        .into_iter()
        .map(|number| format!("address-{number}"))
        .collect()
}

async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let poll = async {
        while !condition().await {
            sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(DEADLINE, poll).await.is_ok(), "not within {DEADLINE:?}");
}

#[tokio::test]
async fn what_ipamd_grants_is_what_kubelet_offers_before_and_after_kubelet_restarts() {
    let mut node = Node::start(Advertise::Attainable).await;
    node.shows(0..9, 12).await;
    node.advertises(9).await;
    let request = node.kubelet.with(|known| known.registrations[0].clone());
    assert_eq!((&*request.version, &*request.resource_name), ("v1beta1", ENI_IP));

    node.kubelet.restart().await;
    node.shows(0..9, 12).await;
    assert_eq!(node.registrations(), 2);

    node.grant(11).await;
    node.shows(0..11, 12).await;
    assert_eq!(node.advertised().await, 11, "ipamd knew it before kubelet");
    node.stop().await;
}

#[tokio::test]
async fn a_lowered_grant_spares_the_devices_in_use_and_is_reported_as_it_is() {
    let node = Node::start(Advertise::Attainable).await;
    node.shows(0..9, 12).await;
    node.kubelet.with(|known| known.in_use = ids([7, 8]));
    node.grant(4).await;
    node.shows([0, 1, 7, 8], 12).await;
    node.advertises(4).await;
    // More in use than are granted.
    node.kubelet.with(|known| known.in_use = ids([0, 7, 8]));
    node.grant(2).await;
    node.shows([0, 7, 8], 12).await;
    node.advertises(3).await;
    node.stop().await;
}

#[tokio::test]
async fn what_is_bound_is_what_kubelet_offers_where_an_operator_wants_that() {
    let node = Node::start(Advertise::Bound).await;
    node.shows(0..3, 12).await;
    node.advertises(3).await;
    node.stop().await;
}

#[tokio::test]
async fn a_kubelet_that_hung_up_is_registered_with_again() {
    let node = Node::start(Advertise::Attainable).await;
    node.shows(0..9, 12).await;
    node.kubelet.drop_watches();
    eventually("it registers again", || node.registrations() == 2).await;
    node.stop().await;
}

#[tokio::test]
async fn a_container_gets_nothing_for_its_device_and_low_numbers_go_first() {
    let node = Node::start(Advertise::Attainable).await;
    node.shows(0..9, 12).await;
    let mut plugin = node.kubelet.plugin().await;
    let container = ContainerAllocateRequest {
        devices_ids: vec!["address-3".to_owned()],
    };
    let request = AllocateRequest {
        container_requests: vec![container.clone(), container],
    };
    let reply = plugin.allocate(request).await.unwrap().into_inner();
    assert_eq!(reply.container_responses, [ContainerAllocateResponse {}; 2]);

    let container = ContainerPreferredAllocationRequest {
        available_device_i_ds: ids([5, 2, 8]).into_iter().collect(),
        must_include_device_i_ds: Vec::new(),
        allocation_size: 1,
    };
    let request = PreferredAllocationRequest {
        container_requests: vec![container],
    };
    let reply = plugin
        .get_preferred_allocation(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(reply.container_responses[0].device_i_ds, ["address-2"]);
    node.stop().await;
}

/// One HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A field of a request that is kept in the table, by the number of its name in HPACK's static table.
fn field(name: u8, value: &str) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    assert!(length < 127);
    [&[0x40 | name, length], value.as_bytes()].concat()
}

#[tokio::test]
async fn a_kubelet_before_1_26_which_names_the_socket_as_its_authority_is_answered() {
    let node = Node::start(Advertise::Attainable).await;
    node.shows(0..9, 12).await;
    let endpoint = node.kubelet.with(|known| known.registrations[0].endpoint.clone());
    let mut connection = UnixStream::connect(node.kubelet.plugins().join(endpoint))
        .await
        .unwrap();
    // POST, http; path, authority and content type as literals; `te: trailers` with a name of its own.
    let request = [
        &[0x83, 0x86][..],
        &field(4, "/v1beta1.DevicePlugin/GetDevicePluginOptions"),
        &field(
            1,
            "/var/lib/kubelet/device-plugins/tke.cloud.tencent.com-eni-ip.sock",
        ),
        &field(31, "application/grpc"),
        &[0x40, 2, b't', b'e', 8],
        b"trailers",
    ];
    // The second time all of them by number, the newest first.
    let again = [0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe];
    // HEADERS, then DATA with a gRPC message of no bytes that ends the stream.
    let message = [0; 5];
    let sent = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &request.concat()),
        frame(0, 1, 1, &message),
        frame(1, 4, 3, &again),
        frame(0, 1, 3, &message),
    ];
    connection.write_all(&sent.concat()).await.unwrap();
    // Each stream is answered by a message, then by trailers that end it.
    let (mut messages, mut ended) = (0, 0);
    while ended < 2 {
        let mut header = [0; 9];
        soon(connection.read_exact(&mut header)).await.unwrap();
        let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
        soon(connection.read_exact(&mut payload)).await.unwrap();
        assert!(
            ![3, 7].contains(&header[3]),
            "the request was refused: {header:?} {payload:?}"
        );
        // Flag 2 of the options: preferred allocations are available.
        messages += usize::from(header[3] == 0 && payload == [0, 0, 0, 0, 2, 0x10, 1]);
        ended += usize::from(header[3] == 1 && header[4] & 1 == 1);
    }
    assert_eq!(messages, 2);
    node.stop().await;
}
