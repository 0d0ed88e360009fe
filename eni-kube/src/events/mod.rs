//! Events for the people who look at an object: core/v1 in the legacy form, which the components' roles allow and
//! every version of `kubectl describe` shows.

mod aggregate;
mod write;

use std::{sync::Arc, time::Duration};

use eni_core::{
    cluster::{Event, Subject},
    env::Environment,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{calls::Calls, kind::Kind, table::Unreadable};
use aggregate::Aggregate;
use write::Writer;

/// Events that wait to be written; more are dropped, as the log has them all.
const WAITING: usize = 1024;

/// How long an event waits that the API server could not take.
const PAUSE: Duration = Duration::from_secs(5);

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    api_version: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    /// Without it the API server is asked.
    uid: Option<String>,
}

/// An event, without how often it happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    about: Reference,
    warning: bool,
    reason: String,
    message: String,
}

/// Takes events and never blocks.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    notes: mpsc::Sender<Note>,
}

impl Reporter {
    /// Writes events as `component`, the repetitions of one at most once per `window`, until it is dropped.
    pub(crate) fn start(
        calls: Calls,
        component: &'static str,
        window: Duration,
        environment: Arc<dyn Environment>,
    ) -> Self {
        let (sender, notes) = mpsc::channel(WAITING);
        let writer = Writer {
            calls,
            component,
            environment,
        };
        tokio::spawn(run(notes, writer, window));
        Self { notes: sender }
    }

    /// Reports an event of the core.
    pub(crate) fn report(&self, event: Event) {
        let about = match event.subject {
            Subject::Node(name) => Reference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                namespace: None,
                name: name.to_string(),
                // `kubectl describe node` looks for events by the name in the place of the uid.
                uid: Some(name.to_string()),
            },
            Subject::Pod(key) => Reference {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: Some(key.namespace.to_string()),
                name: key.name.to_string(),
                uid: None,
            },
        };
        self.send(Note {
            about,
            warning: event.warning,
            reason: event.reason.to_owned(),
            message: event.message,
        });
    }

    /// Reports that an object cannot be read.
    pub(crate) fn unreadable<T: Kind>(&self, found: &Unreadable) {
        let Unreadable { key, uid, reason } = found;
        tracing::error!(
            kind = T::KIND,
            key,
            reason,
            "object cannot be read; its last readable state is kept"
        );
        let (namespace, name) = crate::kind::parts(key);
        self.send(Note {
            about: Reference {
                api_version: T::api_version(),
                kind: T::KIND.to_owned(),
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
                uid: Some(uid.clone()),
            },
            warning: true,
            reason: "Unreadable".to_owned(),
            message: format!(
                "this object cannot be read ({reason}); what it said before stays in force; put it right, or delete \
                 it if it is not needed"
            ),
        });
    }

    fn send(&self, note: Note) {
        if let Err(error) = self.notes.try_send(note) {
            tracing::warn!(%error, "event dropped");
        }
    }
}

async fn run(mut notes: mpsc::Receiver<Note>, writer: Writer, window: Duration) {
    let mut aggregate = Aggregate::new(window);
    loop {
        let due = aggregate.due();
        let later = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => futures::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            note = notes.recv() => match note {
                Some(note) => aggregate.add(note, Instant::now()),
                None => return,
            },
            () = later => {}
        }
        for (note, times) in aggregate.take(Instant::now()) {
            let Err(error) = writer.write(&note, times).await else {
                continue;
            };
            tracing::warn!(%error, about = note.about.name, reason = note.reason, message = note.message, "event not written");
            if error.is_transient() {
                aggregate.again(note, times, Instant::now(), PAUSE);
            }
        }
    }
}
