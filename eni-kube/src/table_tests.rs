//! Tests of the table: what watchers are told, and when they are not told yet.

use eni_core::{
    cluster::Version,
    model::{Node, Uid},
};
use futures::FutureExt;

use super::*;

fn item(name: &str, uid: &str) -> Item<Node> {
    let node = Node {
        name: name.into(),
        uid: Uid::from(uid),
        instance: None,
        zone: None,
        max_pods: None,
        silent: None,
    };
    Item {
        key: name.to_owned(),
        uid: uid.to_owned(),
        version: Version(uid.into()),
        object: Ok(node),
    }
}

fn broken(name: &str) -> Item<Node> {
    Item {
        object: Err("nonsense".to_owned()),
        ..item(name, "x")
    }
}

/// The next step in short, if there is one: `=` the whole state, `+` applied, `-` deleted.
fn next(subscription: &Subscription<Node>) -> Option<String> {
    let name = |node: &Node| format!("{}:{}", node.name, node.uid);
    Some(match subscription.next().now_or_never()? {
        WatchEvent::Reset(all) => {
            let names: Vec<_> = all.iter().map(|read| name(&read.object)).collect();
            format!("={}", names.join(","))
        }
        WatchEvent::Applied(read) => format!("+{}", name(&read.object)),
        WatchEvent::Deleted(node) => format!("-{}", name(&node)),
    })
}

fn table() -> Arc<Table<Node>> {
    Arc::new(Table::new())
}

#[test]
fn nothing_is_told_before_the_whole_state_was_read() {
    let table = table();
    let watcher = table.subscribe();
    assert_eq!(next(&watcher), None);
    table.reset(vec![item("a", "1")]);
    assert_eq!(next(&watcher).as_deref(), Some("=a:1"));
    assert_eq!(
        next(&table.subscribe()).as_deref(),
        Some("=a:1"),
        "a late watcher"
    );
    assert_eq!(next(&watcher), None);
}

#[test]
fn steps_of_one_object_merge_and_a_reset_replaces_them() {
    let table = table();
    table.reset(Vec::new());
    let watcher = table.subscribe();
    assert_eq!(next(&watcher).as_deref(), Some("="));
    table.apply(item("a", "1"));
    table.apply(item("a", "2"));
    table.apply(item("b", "1"));
    table.remove("b");
    assert_eq!(next(&watcher).as_deref(), Some("+a:2"));
    assert_eq!(next(&watcher).as_deref(), Some("-b:1"));
    table.apply(item("a", "3"));
    table.reset(vec![item("c", "1")]);
    assert_eq!(next(&watcher).as_deref(), Some("=c:1"));
    assert_eq!(next(&watcher), None);
}

#[test]
fn a_watcher_that_is_far_behind_gets_the_whole_state() {
    let table = table();
    table.reset(Vec::new());
    let watcher = table.subscribe();
    assert_eq!(next(&watcher).as_deref(), Some("="));
    for number in 0..=MAX_STEPS {
        table.apply(item(&number.to_string(), "1"));
        table.remove(&number.to_string());
    }
    assert_eq!(next(&watcher).as_deref(), Some("="));
    assert_eq!(next(&watcher), None);
}

#[test]
fn an_object_that_turns_into_nonsense_is_told_of_and_keeps_its_last_state() {
    let table = table();
    table.reset(vec![item("a", "1")]);
    let watcher = table.subscribe();
    assert_eq!(next(&watcher).as_deref(), Some("=a:1"));
    let told = table.apply(broken("a")).unwrap();
    assert_eq!((told.key.as_str(), told.reason.as_str()), ("a", "nonsense"));
    assert_eq!(next(&watcher), None, "neither changed nor gone");
    assert_eq!(table.reset(vec![broken("a")]).len(), 1);
    assert_eq!(next(&watcher).as_deref(), Some("=a:1"));
    table.apply(item("a", "2"));
    assert_eq!(next(&watcher).as_deref(), Some("+a:2"));
}

#[test]
fn a_new_list_with_new_nonsense_is_told_as_what_changed() {
    let table = table();
    table.reset(vec![item("a", "1"), item("b", "1"), item("c", "1")]);
    let watcher = table.subscribe();
    assert_eq!(next(&watcher).as_deref(), Some("=a:1,b:1,c:1"));
    assert_eq!(
        table
            .reset(vec![item("a", "1"), item("b", "2"), broken("d")])
            .len(),
        1
    );
    assert_eq!(next(&watcher).as_deref(), Some("+b:2"));
    assert_eq!(next(&watcher).as_deref(), Some("-c:1"));
    assert_eq!(next(&watcher), None);
    assert_eq!(
        next(&table.subscribe()),
        None,
        "a new watcher waits for the whole"
    );
}

#[test]
fn a_list_with_an_object_that_was_never_readable_is_not_told() {
    for heal in [
        |table: &Table<Node>| table.remove("b"),
        |table: &Table<Node>| {
            table.apply(item("b", "2"));
        },
    ] {
        let table = table();
        let watcher = table.subscribe();
        assert_eq!(table.reset(vec![item("a", "1"), broken("b")]).len(), 1);
        assert_eq!(next(&watcher), None);
        heal(&table);
        assert!(next(&watcher).unwrap().starts_with("=a:1"));
    }
}
