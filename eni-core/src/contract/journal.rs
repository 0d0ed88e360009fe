//! The contract of [`Journal`], as far as a backend can be asked without breaking its store.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;

use crate::{
    journal::{Change, Hold, Journal, Memory},
    model::{Allocation, Generation, Netns, NodePool, Origin, PodAddresses, PodKey, PoolAddress, SandboxKey},
};

/// A place for one journal, which is empty at first.
#[async_trait]
pub trait JournalHarness: Send + Sync {
    /// Opens the journal. A case drops what it opened before it opens again.
    async fn open(&self) -> Arc<dyn Journal>;
}

fn key(container: &str) -> SandboxKey {
    SandboxKey::new("tke", container, "eth0")
}

fn address(last: u8, generation: u64) -> PoolAddress {
    PoolAddress {
        ip: [10, 0, 0, last].into(),
        generation: Generation::from_random(generation),
    }
}

fn allocation(last: u8) -> Allocation {
    Allocation {
        addresses: PodAddresses::from(address(last, 0).ip),
        eni: "eni-1".into(),
        pod: None,
        pod_uid: None,
        origin: None,
    }
}

/// An allocation with something in every field.
fn full_allocation() -> Allocation {
    Allocation {
        addresses: PodAddresses {
            v4: Some([10, 0, 0, 9].into()),
            v6: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9].into()),
        },
        eni: "eni-1".into(),
        pod: Some(PodKey::new("default", "web-0")),
        pod_uid: Some("uid-1".into()),
        origin: Some(Origin {
            boot: "boot-1".into(),
            netns: Some(Netns {
                path: "/run/netns/one".into(),
                device: 4,
                inode: 4_026_532_000,
            }),
            started: Some(std::time::Duration::from_nanos(77_500_000_001)),
        }),
    }
}

fn cooling() -> Hold {
    Hold::Cooling {
        until: "2026-01-01T00:00:30.5Z".parse().expect("a time"),
        uptime: Some(crate::env::Uptime {
            boot: "boot-1".into(),
            since: std::time::Duration::from_millis(77_500),
        }),
    }
}

fn pool(capacity: u32) -> NodePool {
    NodePool {
        capacity,
        ..NodePool::default()
    }
}

async fn commit(journal: &Arc<dyn Journal>, changes: Vec<Change>) {
    journal.commit(changes).await.expect("a commit");
}

/// What the journal remembers, in order of keys.
async fn load(journal: &Arc<dyn Journal>) -> Memory {
    let mut memory = journal.load().await.expect("what is remembered");
    memory.owned.sort_by(|one, other| one.0.cmp(&other.0));
    memory.held.sort_by_key(|(address, _)| *address);
    memory
}

/// An empty journal is no error.
pub async fn a_new_journal_remembers_nothing(harness: &dyn JournalHarness) {
    assert_eq!(load(&harness.open().await).await, Memory::default());
}

/// "`load` returns exactly the outcome of the acknowledged commits".
pub async fn every_kind_of_change_survives_reopening(harness: &dyn JournalHarness) {
    let journal = harness.open().await;
    commit(
        &journal,
        vec![
            Change::Own(key("a"), full_allocation()),
            Change::Own(key("b"), allocation(2)),
        ],
    )
    .await;
    commit(&journal, vec![Change::Hold(address(3, 1), cooling())]).await;
    commit(
        &journal,
        vec![
            Change::Hold(address(4, 1), Hold::Withdrawn),
            Change::Pool(pool(7)),
        ],
    )
    .await;
    drop(journal);
    let expected = Memory {
        owned: vec![(key("a"), full_allocation()), (key("b"), allocation(2))],
        held: vec![(address(3, 1), cooling()), (address(4, 1), Hold::Withdrawn)],
        pool: Some(pool(7)),
    };
    assert_eq!(load(&harness.open().await).await, expected);
}

/// Disowning and unholding forget, and forgetting again is no error.
pub async fn every_kind_of_change_can_be_taken_back(harness: &dyn JournalHarness) {
    let journal = harness.open().await;
    commit(
        &journal,
        vec![
            Change::Own(key("a"), allocation(1)),
            Change::Hold(address(2, 1), cooling()),
        ],
    )
    .await;
    for _ in 0..2 {
        commit(
            &journal,
            vec![Change::Disown(key("a")), Change::Unhold(address(2, 1))],
        )
        .await;
    }
    drop(journal);
    assert_eq!(load(&harness.open().await).await, Memory::default());
}

/// A later change replaces an earlier one of the same key.
pub async fn the_last_change_of_a_key_counts(harness: &dyn JournalHarness) {
    let journal = harness.open().await;
    for last in 1..=3 {
        commit(
            &journal,
            vec![
                Change::Own(key("a"), allocation(last)),
                Change::Pool(pool(last.into())),
            ],
        )
        .await;
    }
    commit(&journal, vec![Change::Hold(address(5, 1), cooling())]).await;
    commit(&journal, vec![Change::Hold(address(5, 1), Hold::Withdrawn)]).await;
    drop(journal);
    let expected = Memory {
        owned: vec![(key("a"), allocation(3))],
        held: vec![(address(5, 1), Hold::Withdrawn)],
        pool: Some(pool(3)),
    };
    assert_eq!(load(&harness.open().await).await, expected);
}

/// "Makes changes durable, all or nothing, in order".
pub async fn changes_of_one_commit_apply_in_order(harness: &dyn JournalHarness) {
    let journal = harness.open().await;
    let changes = vec![
        Change::Own(key("a"), allocation(1)),
        Change::Disown(key("a")),
        Change::Disown(key("b")),
        Change::Own(key("b"), allocation(2)),
        Change::Hold(address(1, 1), cooling()),
        Change::Unhold(address(1, 1)),
    ];
    commit(&journal, changes).await;
    drop(journal);
    let expected = Memory {
        owned: vec![(key("b"), allocation(2))],
        ..Memory::default()
    };
    assert_eq!(load(&harness.open().await).await, expected);
}

/// There is nothing to fail.
pub async fn a_commit_of_nothing_succeeds(harness: &dyn JournalHarness) {
    let journal = harness.open().await;
    commit(&journal, Vec::new()).await;
    assert_eq!(load(&journal).await, Memory::default());
}

/// Keys whose parts look alike stay different.
pub async fn keys_are_never_confused(harness: &dyn JournalHarness) {
    let parts = [
        ("a", "b", "c"),
        ("a/b", "c", ""),
        ("a", "b/c", ""),
        ("a\"", ",\"b", "c"),
        ("a", "", "b/c"),
        ("ä\0", "\n", "c"),
    ];
    let keys = parts.map(|(network, container, interface)| SandboxKey::new(network, container, interface));
    let journal = harness.open().await;
    for (number, key) in (1..).zip(&keys) {
        commit(&journal, vec![Change::Own(key.clone(), allocation(number))]).await;
    }
    drop(journal);
    let memory = load(&harness.open().await).await;
    assert_eq!(memory.owned.len(), keys.len());
    for (number, key) in (1..).zip(&keys) {
        assert!(
            memory.owned.contains(&(key.clone(), allocation(number))),
            "{key:?}"
        );
    }
}

/// A hold belongs to one stay of an address, not to the address.
pub async fn stays_of_one_address_are_told_apart(harness: &dyn JournalHarness) {
    let journal = harness.open().await;
    commit(
        &journal,
        vec![
            Change::Hold(address(1, 1), Hold::Withdrawn),
            Change::Hold(address(1, 2), cooling()),
        ],
    )
    .await;
    commit(&journal, vec![Change::Unhold(address(1, 1))]).await;
    drop(journal);
    assert_eq!(
        load(&harness.open().await).await.held,
        [(address(1, 2), cooling())]
    );
}

/// "Callers may commit concurrently".
pub async fn concurrent_commits_are_all_remembered(harness: &dyn JournalHarness) {
    let journal = harness.open().await;
    let commits = (0..64u8).map(|number| {
        let own = Change::Own(key(&number.to_string()), allocation(number));
        journal.commit(vec![own, Change::Hold(address(number, 1), Hold::Withdrawn)])
    });
    for result in join_all(commits).await {
        result.expect("a commit");
    }
    drop(journal);
    let memory = load(&harness.open().await).await;
    assert_eq!((memory.owned.len(), memory.held.len()), (64, 64));
}

/// A commit shows at once, not only when the journal is opened again.
pub async fn load_sees_what_was_acknowledged(harness: &dyn JournalHarness) {
    let journal = harness.open().await;
    commit(&journal, vec![Change::Own(key("a"), allocation(1))]).await;
    assert_eq!(load(&journal).await.owned, [(key("a"), allocation(1))]);
}
