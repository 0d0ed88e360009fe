//! The server behind the real protocol on a real socket.

mod client;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use agent::{
    history::History,
    server::{self, Listener, ServeError, Served},
};
use agent_api::{DelRecord, Endpoint, Spool, proto, spoken};
use client::{Client, DEADLINE, add, add_request, del, eventually, key, soon};
use eni_core::{
    agent::{NodeService, ServiceConfig},
    env::SystemEnvironment,
    gc::NodeCollector,
    journal::{CommitFault, MemoryJournal},
    model::{EniId, Generation, Mac, NodePool, PoolAddress, PoolEni, SandboxKey},
    network::EniLink,
    sandbox::NamespaceSandboxes,
    sim::MemoryNetwork,
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tonic::{Code, Status};

struct Bed {
    endpoint: Endpoint,
    journal: MemoryJournal,
    service: Arc<NodeService>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<Result<(), ServeError>>,
    _directory: TempDir,
}

impl Bed {
    /// An agent with this many addresses.
    async fn new(addresses: u8) -> Self {
        Self::with_records(addresses, &[]).await
    }

    /// An agent that finds these records of DELs.
    async fn with_records(addresses: u8, records: &[DelRecord]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(directory.path().join("agent.sock"));
        let spool = Spool::new(endpoint.spool_directory());
        records.iter().for_each(|record| spool.write(record).unwrap());
        let journal = MemoryJournal::new();
        let config = ServiceConfig {
            cooldown: Duration::ZERO,
            ..Default::default()
        };
        let service = NodeService::open(Arc::new(journal.clone()), SystemEnvironment::shared(), config)
            .await
            .unwrap();
        service.recover(&Default::default()).await.unwrap();
        if addresses > 0 {
            accept(&service, addresses).await;
        }
        let listener = Listener::bind(&endpoint).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { stopped.await.unwrap_or_default() };
        let network = Arc::new(MemoryNetwork::new());
        let server = tokio::spawn(server::run(listener, served(&service, network), shutdown));
        Self {
            endpoint,
            journal,
            service,
            stop: Some(stop),
            server,
            _directory: directory,
        }
    }

    async fn client(&self) -> Client {
        client::connect(&self.endpoint).await
    }

    fn waiting(&self) -> usize {
        *self.service.waiting().borrow()
    }
}

fn served(service: &Arc<NodeService>, network: Arc<MemoryNetwork>) -> Served {
    let known = service.clone();
    let sandboxes = Arc::new(NamespaceSandboxes::new(move || known.namespaces()));
    let collector = NodeCollector::new(service.clone(), network.clone(), sandboxes, Arc::default());
    Served {
        service: service.clone(),
        network,
        collector: Arc::new(collector),
        history: Arc::new(History::new(SystemEnvironment::shared())),
    }
}

async fn accept(service: &NodeService, addresses: u8) {
    let eni = PoolEni {
        id: EniId::from("eni-1"),
        mac: Mac([0x20, 0x90, 0x6f, 0, 0, 1]),
        subnet: "subnet-1".into(),
        cidr: "10.0.1.0/24".parse().unwrap(),
        gateway: "10.0.1.1".parse().unwrap(),
        primary: "10.0.1.2".parse().unwrap(),
        attached: (0..addresses)
            .map(|n| PoolAddress {
                ip: [10, 0, 1, 10 + n].into(),
                generation: Generation::from_random(n.into()),
            })
            .collect(),
        releasing: Vec::new(),
        reserved: [].into(),
        evicting: Vec::new(),
    };
    let links = BTreeMap::from([(
        eni.id.clone(),
        EniLink {
            index: 3,
            table: 4003,
        },
    )]);
    service
        .accept(
            NodePool {
                enis: vec![eni],
                maximum: 9,
                capacity: 9,
                granted: 0,
                by_claim: false,
            },
            &links,
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_grant_names_addresses_and_table() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let (grant, _open) = add(&mut client, add_request("c1", 1, DEADLINE)).await.unwrap();
    assert_eq!(
        (grant.addresses, grant.table, grant.eni),
        (vec!["10.0.1.10".to_owned()], 4003, "eni-1".to_owned())
    );
    let check = proto::CheckRequest {
        versions: Some(spoken()),
        interface: Some((&key("c1")).into()),
    };
    assert_eq!(
        client
            .check(check)
            .await
            .unwrap()
            .into_inner()
            .grant
            .unwrap()
            .table,
        4003
    );
    let unknown = proto::CheckRequest {
        versions: Some(spoken()),
        interface: Some((&key("c2")).into()),
    };
    assert_eq!(client.check(unknown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_del_waits_for_the_add_that_is_wiring() {
    let bed = Bed::new(1).await;
    let (mut adding, mut deleting) = (bed.client().await, bed.client().await);
    let (_, open) = add(&mut adding, add_request("c1", 1, DEADLINE)).await.unwrap();
    let busy = del(&mut deleting, "c1", 2, Duration::from_millis(50))
        .await
        .unwrap_err();
    assert_eq!(busy.code(), Code::Aborted, "{busy}");
    let released = tokio::spawn(async move { del(&mut deleting, "c1", 2, DEADLINE).await });
    drop(open);
    assert_eq!(soon(released).await.unwrap().unwrap(), ["10.0.1.10"]);
}

#[tokio::test]
async fn a_plugin_that_dies_holds_nothing_up() {
    let bed = Bed::new(1).await;
    let (mut adding, mut deleting) = (bed.client().await, bed.client().await);
    let open = add(&mut adding, add_request("c1", 1, DEADLINE)).await.unwrap();
    drop((open, adding));
    assert_eq!(
        soon(del(&mut deleting, "c1", 2, DEADLINE)).await.unwrap(),
        ["10.0.1.10"]
    );
    assert!(
        soon(del(&mut deleting, "c1", 3, DEADLINE))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_plugin_that_hangs_holds_up_until_its_deadline() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let (_, mut open) = add(&mut client, add_request("c1", 1, Duration::from_millis(100)))
        .await
        .unwrap();
    assert_eq!(
        soon(del(&mut client, "c1", 2, DEADLINE)).await.unwrap(),
        ["10.0.1.10"]
    );
    let told = soon(open.message()).await.unwrap_err();
    assert_eq!(told.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn an_add_waits_in_order_and_says_why_it_gave_up() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let (_, _open) = add(&mut client, add_request("c1", 1, DEADLINE)).await.unwrap();
    let late = add(&mut client, add_request("c2", 1, Duration::from_millis(200)))
        .await
        .unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(late.message().contains("all 1 addresses"), "{late}");
}

#[tokio::test]
async fn a_waiting_plugin_that_dies_gives_up_its_place() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let (_, open) = add(&mut client, add_request("c1", 1, DEADLINE)).await.unwrap();
    let mut dying = bed.client().await;
    let waiting = tokio::spawn(async move { add(&mut dying, add_request("c2", 1, DEADLINE)).await });
    eventually("c2 waits", || bed.waiting() == 1).await;
    waiting.abort();
    drop(waiting.await);
    drop(open);
    soon(del(&mut client, "c1", 2, DEADLINE)).await.unwrap();
    let run = bed.service.clone();
    let run = tokio::spawn(async move { run.run().await });
    let (grant, _open) = soon(add(&mut client, add_request("c3", 1, DEADLINE)))
        .await
        .unwrap();
    assert_eq!(grant.addresses, ["10.0.1.10"]);
    run.abort();
}

#[tokio::test]
async fn an_add_that_a_del_overtook_is_cancelled() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    assert!(del(&mut client, "c1", 5, DEADLINE).await.unwrap().is_empty());
    let late = add(&mut client, add_request("c1", 4, DEADLINE))
        .await
        .unwrap_err();
    assert_eq!(late.code(), Code::Cancelled);
    assert!(add(&mut client, add_request("c1", 6, DEADLINE)).await.is_ok());
}

#[tokio::test]
async fn an_older_sandbox_of_a_pod_is_told_which_one_has_its_address() {
    let bed = Bed::new(2).await;
    let mut client = bed.client().await;
    let of_web = |container, started| proto::AddRequest {
        pod: Some(proto::Pod {
            namespace: "default".to_owned(),
            name: "web-0".to_owned(),
            uid: "u1".to_owned(),
        }),
        ..add_request(container, started, DEADLINE)
    };
    let _open = add(&mut client, of_web("newer", 5)).await.unwrap();
    let refused = add(&mut client, of_web("older", 4)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "no repetition helps");
    assert!(refused.message().contains("net/newer/eth0"), "{refused}");
    assert_eq!(bed.service.owners().len(), 1);
}

#[tokio::test]
async fn an_add_that_comes_too_late_is_to_be_repeated_with_more_time() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let late = add(&mut client, add_request("c1", 1, Duration::ZERO))
        .await
        .unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(late.message().contains("repeat the ADD with more time"), "{late}");
    assert_eq!(bed.service.counts().free, 1);
    assert!(add(&mut client, add_request("c1", 2, DEADLINE)).await.is_ok());
}

#[tokio::test]
async fn stopping_answers_who_waits_and_lets_who_wires_end() {
    let mut bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let (_, mut open) = add(&mut client, add_request("c1", 1, DEADLINE)).await.unwrap();
    let mut waiter = bed.client().await;
    let waiting = tokio::spawn(async move { add(&mut waiter, add_request("c2", 1, DEADLINE)).await });
    eventually("c2 waits", || bed.waiting() == 1).await;
    bed.stop.take().unwrap().send(()).unwrap();
    let told = soon(waiting).await.unwrap().unwrap_err();
    assert_eq!(told.code(), Code::Unavailable, "{told}");
    assert!(
        timeout(Duration::from_millis(50), open.message()).await.is_err(),
        "the open ADD was cut off"
    );
    drop((open, client));
    soon(bed.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn it_is_ready_once_an_eni_is_in_service() {
    let bed = Bed::new(0).await;
    let mut client = bed.client().await;
    let status = proto::StatusRequest {
        versions: Some(spoken()),
    };
    let reply = client.status(status).await.unwrap().into_inner();
    assert!(!reply.ready && reply.reason.contains("ENI"), "{reply:?}");
    accept(&bed.service, 1).await;
    let reply = client.status(status).await.unwrap().into_inner();
    assert!(reply.ready && reply.reason.is_empty(), "{reply:?}");
}

#[tokio::test]
async fn peers_without_a_common_version_are_told() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let versions = |oldest, newest| Some(proto::Versions { oldest, newest });
    let future = proto::AddRequest {
        versions: versions(7, 9),
        ..add_request("c1", 1, DEADLINE)
    };
    let refused = add(&mut client, future).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("7 to 9"), "{refused}");
    let wide = proto::StatusRequest {
        versions: versions(1, 9),
    };
    assert_eq!(
        client.status(wide).await.unwrap().into_inner().version,
        *agent_api::PROTOCOL.end()
    );
    let silent = proto::AddRequest {
        versions: None,
        ..add_request("c1", 1, DEADLINE)
    };
    assert!(add(&mut client, silent).await.is_ok());
}

#[tokio::test]
async fn a_request_without_an_interface_is_refused() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    for interface in [None, Some((&SandboxKey::new("net", "", "eth0")).into())] {
        let request = proto::AddRequest {
            interface,
            ..add_request("c1", 1, DEADLINE)
        };
        assert_eq!(
            add(&mut client, request).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
}

#[tokio::test]
async fn a_failing_journal_is_an_internal_error_and_grants_nothing() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    bed.journal.fail_next(CommitFault::Before);
    let failed = add(&mut client, add_request("c1", 1, DEADLINE))
        .await
        .unwrap_err();
    assert_eq!(failed.code(), Code::Internal, "{failed}");
}

#[tokio::test]
async fn recorded_dels_are_replayed_before_it_serves() {
    let recorded = DelRecord::new(key("c1"), Duration::from_nanos(5)).unwrap();
    let bed = Bed::with_records(1, &[recorded]).await;
    let mut client = bed.client().await;
    let late = add(&mut client, add_request("c1", 4, DEADLINE))
        .await
        .unwrap_err();
    assert_eq!(late.code(), Code::Cancelled, "the record came after this ADD");
    assert!(
        Spool::new(bed.endpoint.spool_directory())
            .list()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_record_that_came_too_late_for_the_start_is_met_by_the_next_call() {
    let bed = Bed::new(2).await;
    let spool = Spool::new(bed.endpoint.spool_directory());
    let mut client = bed.client().await;
    for container in ["c1", "c2"] {
        let granted = add(&mut client, add_request(container, 1, DEADLINE))
            .await
            .unwrap();
        drop(granted);
        spool
            .write(&DelRecord::new(key(container), Duration::from_nanos(2)).unwrap())
            .unwrap();
    }
    let (again, _open) = add(&mut client, add_request("c1", 3, DEADLINE)).await.unwrap();
    assert_eq!(spool.find(&key("c1")).unwrap(), None);
    assert_eq!(again.addresses.len(), 1);
    assert_eq!(del(&mut client, "c2", 4, DEADLINE).await.unwrap().len(), 1);
    assert_eq!(spool.find(&key("c2")).unwrap(), None);
}

#[tokio::test]
async fn records_that_cannot_be_made_good_keep_it_from_serving() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix(directory.path().join("agent.sock"));
    let spool = Spool::new(endpoint.spool_directory());
    let journal = MemoryJournal::new();
    let open = || {
        NodeService::open(
            Arc::new(journal.clone()),
            SystemEnvironment::shared(),
            ServiceConfig::default(),
        )
    };
    let service = open().await.unwrap();
    service.recover(&Default::default()).await.unwrap();
    accept(&service, 1).await;
    let owner = eni_core::agent::Add {
        request: eni_core::allocator::AddressRequest {
            key: key("c1"),
            pod: None,
            pod_uid: None,
            families: service.families(),
            origin: None,
        },
        deadline: tokio::time::Instant::now() + DEADLINE,
        started: Duration::ZERO,
    };
    drop(service.add(owner).await.unwrap());
    spool
        .write(&DelRecord::new(key("c1"), Duration::from_nanos(2)).unwrap())
        .unwrap();
    let service = open().await.unwrap();
    journal.fail_next(CommitFault::Before);
    let listener = Listener::bind(&endpoint).await.unwrap();
    let network = Arc::new(MemoryNetwork::new());
    let ended = soon(server::run(
        listener,
        served(&service, network),
        std::future::pending(),
    ))
    .await;
    assert!(matches!(ended, Err(ServeError::Replay(_))), "{ended:?}");
    assert_eq!(
        spool.list().unwrap().len(),
        1,
        "the record is kept for the next start"
    );
}

fn interface(network: &str, container: &str) -> proto::Interface {
    (&SandboxKey::new(network, container, "eth0")).into()
}

async fn gc(client: &mut Client, network: &str, valid: &[&str]) -> Result<proto::GcReply, Status> {
    let request = proto::GcRequest {
        versions: Some(spoken()),
        network: network.to_owned(),
        valid: valid
            .iter()
            .map(|container| interface(network, container))
            .collect(),
    };
    Ok(client.gc(request).await?.into_inner())
}

#[tokio::test]
async fn gc_takes_only_what_its_own_network_lacks() {
    let bed = Bed::new(3).await;
    let mut client = bed.client().await;
    for (network, container) in [("net", "dead"), ("net", "valid"), ("other", "dead")] {
        let request = proto::AddRequest {
            interface: Some(interface(network, container)),
            ..add_request(container, 1, DEADLINE)
        };
        drop(add(&mut client, request).await.unwrap());
    }
    let idle = || {
        let mut owners = bed.service.owners().into_iter();
        !owners.any(|(key, _)| bed.service.is_busy(&key))
    };
    eventually("the plugins have hung up", idle).await;
    let reply = gc(&mut client, "net", &["valid"]).await.unwrap();
    assert_eq!((reply.reclaimed.len(), reply.failed.len()), (1, 0), "{reply:?}");
    assert!(reply.reclaimed[0].contains("net/dead/eth0"), "{reply:?}");
    let owners: Vec<_> = bed.service.owners().into_iter().map(|(key, _)| key).collect();
    assert_eq!(
        owners,
        [
            SandboxKey::new("net", "valid", "eth0"),
            SandboxKey::new("other", "dead", "eth0")
        ]
    );
}

#[tokio::test]
async fn a_gc_that_says_half_is_refused_and_takes_nothing() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    drop(add(&mut client, add_request("c1", 1, DEADLINE)).await.unwrap());
    for (network, valid) in [("", &[][..]), ("net", &[""])] {
        let refused = gc(&mut client, network, valid).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    assert_eq!(bed.service.owners().len(), 1);
}

#[tokio::test]
async fn an_owner_remembers_its_boot_and_namespace() {
    let bed = Bed::new(2).await;
    let mut client = bed.client().await;
    let told = proto::AddRequest {
        netns: "/run/netns/x".to_owned(),
        netns_device: 4,
        netns_inode: 5,
        ..add_request("c1", 1, DEADLINE)
    };
    drop(add(&mut client, told).await.unwrap());
    // As a plugin of an earlier version says it.
    let untold = proto::AddRequest {
        netns: "/run/netns/y".to_owned(),
        ..add_request("c2", 1, DEADLINE)
    };
    drop(add(&mut client, untold).await.unwrap());
    let origins = bed
        .service
        .owners()
        .into_iter()
        .map(|(_, owned)| owned.origin.unwrap());
    let origins: Vec<_> = origins.collect();
    assert!(origins.iter().all(|origin| origin.boot == *bed.service.boot()));
    let netns = origins[0].netns.as_ref().unwrap();
    assert_eq!((&*netns.path, netns.device, netns.inode), ("/run/netns/x", 4, 5));
    assert_eq!(origins[1].netns, None);
}
