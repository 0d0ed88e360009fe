//! Keeps a table up to date by one list and one watch, for as long as somebody follows it.
//!
//! A list may come from the server's cache, but never from before what was seen already: the servers of a cluster
//! lag behind one another. A watch that ends goes on from where it was; only when the server has forgotten that
//! place is everything listed again.

use std::{pin::pin, sync::Arc, time::Duration};

use eni_core::{env::Environment, model::NodeName};
use futures::TryStreamExt;
use kube::core::{
    WatchEvent,
    params::{ListParams, WatchParams},
};
use parking_lot::Mutex;
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    calls::{CallError, Calls},
    events::Reporter,
    item::{Item, Listing},
    kind::{Kind, requests, selectors},
    table::{Subscription, Table, Unreadable},
};

/// How long a list of everything may take.
const LIST_PATIENCE: Duration = Duration::from_secs(60);

/// How long the server keeps a watch open.
const WATCH_SECONDS: u32 = 290;

/// How long a watch may be silent before its connection is taken for dead: servers that send bookmarks send one a
/// minute.
const SILENCE: Duration = Duration::from_secs(100);

/// The first pause after a failure; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A watch that lasted this long was a good one.
const LASTED: Duration = Duration::from_secs(10);

/// The version that stands for whatever the server has at hand.
const ANY: &str = "0";

/// What an informer needs besides its kind.
#[derive(Clone)]
pub(crate) struct Backing {
    pub(crate) calls: Calls,
    pub(crate) reporter: Reporter,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) heard: Heard,
}

/// When the API server was heard last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<Instant>>>);

impl Heard {
    /// How long ago.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.0.lock().map(|at| at.elapsed())
    }

    fn now(&self) {
        *self.0.lock() = Some(Instant::now());
    }
}

/// The objects of one kind and scope, followed until it is dropped.
#[derive(Debug)]
pub(crate) struct Informer<T: Kind> {
    table: Arc<Table<T>>,
    task: AbortHandle,
}

impl<T: Kind> Informer<T> {
    /// Begins to follow a scope: a node's, or everything.
    pub(crate) fn start(backing: Backing, node: Option<NodeName>) -> Self {
        let table = Arc::new(Table::new());
        let follower = Follower {
            backing,
            node,
            table: table.clone(),
            from: Some(ANY.to_owned()),
            pause: PAUSE,
        };
        Self {
            table,
            task: tokio::spawn(follower.run()).abort_handle(),
        }
    }

    /// Another watcher.
    pub(crate) fn subscribe(&self) -> Subscription<T> {
        self.table.subscribe()
    }
}

impl<T: Kind> Drop for Informer<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower<T: Kind> {
    backing: Backing,
    node: Option<NodeName>,
    table: Arc<Table<T>>,
    /// A list shall not be from before this; `None` asks the store itself, which costs the server more.
    from: Option<String>,
    pause: Duration,
}

/// Why a watch ended.
enum End {
    /// By itself.
    Over,
    /// The server does not remember the state that it was to begin with.
    Forgotten,
    /// Anything else.
    Failed(String),
}

impl<T: Kind> Follower<T> {
    async fn run(mut self) {
        loop {
            match self.list().await {
                Ok(version) => self.follow(version).await,
                Err(error) => {
                    // A server that lost its past, or was put back to an earlier one, knows nothing of what we saw:
                    // only its store tells what is.
                    if matches!(error.code(), Some(410 | 504)) {
                        self.from = None;
                    }
                    // The kind may not be defined yet.
                    tracing::warn!(kind = T::KIND, %error, "objects cannot be listed yet");
                    self.rest().await;
                }
            }
        }
    }

    /// Reads everything; the state that it is of.
    async fn list(&mut self) -> Result<String, CallError> {
        let (fields, labels) = selectors::<T>(self.node.as_ref());
        let parameters = ListParams {
            field_selector: fields,
            label_selector: labels,
            resource_version: self.from.clone(),
            ..ListParams::default()
        };
        let request = requests::<T>(None).list(&parameters);
        let listing: Listing<T> = self.backing.calls.send(request, LIST_PATIENCE).await?;
        self.backing.heard.now();
        for unreadable in self.table.reset(listing.items) {
            self.complain(unreadable);
        }
        let version = listing.metadata.resource_version.unwrap_or_default();
        self.from = Some(version.clone());
        Ok(version)
    }

    /// Follows what happens after a state, until everything must be listed again.
    async fn follow(&mut self, mut version: String) {
        loop {
            let begun = Instant::now();
            let end = self.watch(&mut version).await;
            self.from = Some(version.clone());
            if begun.elapsed() > LASTED {
                self.pause = PAUSE;
            }
            match end {
                // The server ends watches in good order by itself, but not at once.
                End::Over if begun.elapsed() > LASTED => continue,
                End::Over => {}
                End::Forgotten => return,
                End::Failed(error) => {
                    tracing::info!(
                        kind = T::KIND,
                        error,
                        "watch interrupted; it goes on from where it was"
                    );
                }
            }
            self.rest().await;
        }
    }

    async fn watch(&self, version: &mut String) -> End {
        let (fields, labels) = selectors::<T>(self.node.as_ref());
        let parameters = WatchParams {
            field_selector: fields,
            label_selector: labels,
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = match requests::<T>(None).watch(&parameters, version) {
            Ok(request) => request,
            Err(error) => return End::Failed(error.to_string()),
        };
        let opened = self.backing.calls.client().request_events::<Item<T>>(request);
        let events = match timeout(SILENCE, opened).await {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => return ended(error.into()),
            Err(_) => return End::Failed("no answer".to_owned()),
        };
        let mut events = pin!(events);
        loop {
            let event = match timeout(SILENCE, events.try_next()).await {
                Ok(Ok(Some(event))) => event,
                Ok(Ok(None)) => return End::Over,
                Ok(Err(error)) => return ended(error.into()),
                Err(_) => return End::Failed("the server fell silent".to_owned()),
            };
            self.backing.heard.now();
            match event {
                WatchEvent::Added(item) | WatchEvent::Modified(item) => {
                    version.clone_from(&item.version.0.to_string());
                    if let Some(unreadable) = self.table.apply(item) {
                        self.complain(unreadable);
                    }
                }
                WatchEvent::Deleted(item) => {
                    version.clone_from(&item.version.0.to_string());
                    self.table.remove(&item.key);
                }
                WatchEvent::Bookmark(mark) => *version = mark.metadata.resource_version,
                WatchEvent::Error(status) => return ended(CallError::Status(status)),
            }
        }
    }

    fn complain(&self, unreadable: Unreadable) {
        self.backing.reporter.unreadable::<T>(&unreadable);
    }

    /// Pauses for longer each time, and not at the same moment as all other agents.
    async fn rest(&mut self) {
        let share = (self.backing.environment.random() % 1000) as f64 / 1000.0;
        sleep(self.pause.mul_f64(0.5 + share / 2.0)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

fn ended(error: CallError) -> End {
    match error.code() {
        Some(410 | 504) => End::Forgotten,
        _ => End::Failed(error.to_string()),
    }
}
