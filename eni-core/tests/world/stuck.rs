//! ENIs and addresses that the cloud leaves hanging are found, told and driven on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use eni_core::{
    cloud::{AssignAddresses, Capabilities, Cloud, CloudResult, CreateEni, EniFilter},
    model::*,
};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{Setup, World};

const WARM: WarmRange = WarmRange { min: 5, max: 5 };
const NONE: WarmRange = WarmRange { min: 0, max: 0 };
const MINUTE: Duration = Duration::from_secs(60);

/// The order whose first one hangs.
#[derive(Clone, Copy, PartialEq)]
enum Hangs {
    Nothing,
    Create,
    Attach,
    Assign,
    Detach,
    Delete,
}

/// A cloud that hangs over one order, until it is told otherwise.
struct Sticky {
    inner: Arc<dyn Cloud>,
    hangs: Mutex<Hangs>,
    /// The ENI that hangs, and how it looks.
    held: Mutex<BTreeMap<EniId, (EniState, BTreeSet<IpAddr>)>>,
}

impl Sticky {
    /// Whether this is the order to hang over.
    fn catches(&self, order: Hangs) -> bool {
        let mut hangs = self.hangs.lock();
        let caught = *hangs == order;
        if caught {
            *hangs = Hangs::Nothing;
        }
        caught
    }

    fn hold(&self, eni: &EniId, state: EniState, unready: &[IpAddr]) {
        let held = (state, unready.iter().copied().collect());
        self.held.lock().insert(eni.clone(), held);
    }

    fn free(&self, eni: &EniId) {
        self.held.lock().remove(eni);
    }
}

#[async_trait]
impl Cloud for Sticky {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>> {
        self.inner.instances(ids).await
    }
    async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits> {
        self.inner.limits(instance).await
    }
    async fn subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>> {
        self.inner.subnets(ids).await
    }
    async fn enis(&self, filter: &EniFilter) -> CloudResult<Vec<Eni>> {
        let mut enis = self.inner.enis(filter).await?;
        let held = self.held.lock();
        for eni in &mut enis {
            if let Some((state, unready)) = held.get(&eni.id) {
                eni.state = *state;
                let addresses = eni.addresses.iter_mut();
                addresses
                    .filter(|address| unready.contains(&address.ip))
                    .for_each(|address| address.ready = false);
            }
        }
        Ok(enis)
    }
    async fn create_eni(&self, request: &CreateEni) -> CloudResult<Eni> {
        let eni = self.inner.create_eni(request).await?;
        if self.catches(Hangs::Create) {
            self.hold(&eni.id, EniState::Pending, &[]);
        }
        Ok(eni)
    }
    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        if self.catches(Hangs::Attach) {
            self.hold(eni, EniState::Attaching, &[]);
            return Ok(());
        }
        self.inner.attach_eni(eni, instance).await
    }
    async fn detach_eni(&self, eni: &EniId) -> CloudResult<()> {
        if self.catches(Hangs::Detach) {
            self.hold(eni, EniState::Detaching, &[]);
            return Ok(());
        }
        self.free(eni);
        self.inner.detach_eni(eni).await
    }
    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        if self.catches(Hangs::Delete) {
            self.hold(eni, EniState::Deleting, &[]);
            return Ok(());
        }
        self.free(eni);
        self.inner.delete_eni(eni).await
    }
    async fn assign_addresses(&self, eni: &EniId, request: &AssignAddresses) -> CloudResult<Vec<IpAddr>> {
        let assigned = self.inner.assign_addresses(eni, request).await?;
        if self.catches(Hangs::Assign) {
            self.hold(eni, EniState::InUse, &assigned);
        }
        Ok(assigned)
    }
    async fn unassign_addresses(&self, eni: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        self.free(eni);
        self.inner.unassign_addresses(eni, addresses).await
    }
    async fn migrate_address(&self, from: &EniId, to: &EniId, address: IpAddr) -> CloudResult<()> {
        self.inner.migrate_address(from, to, address).await
    }
}

/// A world whose cloud hangs over the first order of a kind, and that cloud.
async fn world(hangs: Hangs, warm: WarmRange) -> (World, Arc<Sticky>) {
    let made: Arc<Mutex<Option<Arc<Sticky>>>> = Arc::default();
    let keep = made.clone();
    let setup = Setup {
        between: Arc::new(move |inner| {
            let sticky = Arc::new(Sticky {
                inner,
                hangs: Mutex::new(hangs),
                held: Mutex::default(),
            });
            *keep.lock() = Some(sticky.clone());
            sticky
        }),
        ..Setup::new(1, warm)
    };
    let world = World::with(setup).await;
    let sticky = made.lock().clone().unwrap();
    (world, sticky)
}

async fn heals(world: &World, what: &str, condition: impl Fn(&World) -> bool) {
    sleep(4 * MINUTE).await;
    assert!(!condition(world), "it does hang");
    assert!(!world.reasons().contains("ENIStuck"), "patience first");
    world.until(what, 6 * MINUTE, condition).await;
    let events = world.cluster.events();
    let told = events.iter().find(|event| event.reason == "ENIStuck").unwrap();
    assert!(told.message.contains("eni-"), "{}", told.message);
    assert_eq!(world.monitor.stats().stuck, 0);
}

fn is_warm(world: &World) -> bool {
    world.service("node-0").counts().free == 5
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_hangs_is_deleted_and_made_anew() {
    let (world, _) = world(Hangs::Create, WARM).await;
    heals(&world, "warm", is_warm).await;
    assert_eq!(world.calls("create_eni"), 2);
    world
        .until("the first is gone", 2 * MINUTE, |world| {
            world.secondary_enis() == 1
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_attachment_that_hangs_is_undone_and_given_again() {
    let (world, _) = world(Hangs::Attach, WARM).await;
    heals(&world, "warm", is_warm).await;
    assert_eq!((world.calls("create_eni"), world.calls("detach_eni")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn addresses_that_never_become_ready_are_exchanged() {
    let (world, sticky) = world(Hangs::Nothing, WARM).await;
    world.until("warm", MINUTE, is_warm).await;
    *sticky.hangs.lock() = Hangs::Assign;
    for n in 0..3 {
        world.schedule(&format!("pod-{n}"), "node-0");
    }
    let eight = |world: &World| world.service("node-0").counts().free == 8;
    heals(&world, "8 idle", eight).await;
    assert_eq!(world.bound("node-0"), 8);
}

#[tokio::test(start_paused = true)]
async fn a_detachment_and_a_deletion_that_hang_are_ordered_again() {
    for hangs in [Hangs::Detach, Hangs::Delete] {
        let (world, sticky) = world(hangs, WARM).await;
        world.until("warm", MINUTE, is_warm).await;
        world.set_warm("node-0", NONE).await;
        while sticky.held.lock().is_empty() {
            sleep(MINUTE / 60).await;
        }
        heals(&world, "no ENI", |world| world.secondary_enis() == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_eni_that_hangs_under_pods_is_told_and_left_alone() {
    let (world, sticky) = world(Hangs::Nothing, WARM).await;
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", MINUTE).await.unwrap();
    sleep(MINUTE).await;
    let enis = world.cloud.all_enis();
    let eni = enis.iter().find(|eni| eni.kind == EniKind::Secondary).unwrap();
    *sticky.hangs.lock() = Hangs::Attach;
    world.cloud.detach_by_hand(&eni.id);
    sleep(30 * MINUTE).await;
    assert!(world.reasons().contains("ENIStuck"), "{:?}", world.reasons());
    for order in ["detach_eni", "delete_eni", "unassign_addresses"] {
        assert_eq!(world.calls(order), 0, "{order}");
    }
    assert_eq!(world.monitor.stats().stuck, 1);
}
