//! The thread that owns the file.

use std::{path::Path, sync::mpsc::Receiver};

use tokio::sync::oneshot;

use super::{codec::Write, database::Store};
use crate::journal::{JournalError, Memory};

/// Commits made durable by one flush; bounds the time that one transaction takes.
const MAX_GROUP: usize = 256;

type Answer<T> = oneshot::Sender<Result<T, JournalError>>;

/// What the async side asks for.
pub(super) enum Request {
    Load(Answer<Memory>),
    Commit(Vec<Write>, Answer<()>),
}

/// Opens the file and serves requests until nobody can send one.
pub(super) fn run(path: &Path, requests: &Receiver<Request>, opened: Answer<()>) {
    let store = match Store::open(path) {
        Ok(store) => store,
        Err(error) => return tell(opened, Err(error)),
    };
    tell(opened, Ok(()));
    let mut writer = Writer { store, failed: None };
    while let Ok(first) = requests.recv() {
        let mut group = Vec::new();
        for request in std::iter::once(first).chain(requests.try_iter()).take(MAX_GROUP) {
            match request {
                Request::Commit(writes, answer) => group.push((writes, answer)),
                Request::Load(answer) => {
                    writer.commit(std::mem::take(&mut group));
                    tell(answer, writer.store.load());
                }
            }
        }
        writer.commit(group);
    }
}

struct Writer {
    store: Store,
    /// After a failed commit nobody knows what the file holds, until it is opened again.
    failed: Option<JournalError>,
}

impl Writer {
    /// Makes all the commits of a group durable together, then answers them.
    fn commit(&mut self, group: Vec<(Vec<Write>, Answer<()>)>) {
        if self.failed.is_none() && !group.is_empty() {
            let writes = group.iter().flat_map(|(writes, _)| writes);
            self.failed = self.store.commit(writes).err();
            if let Some(error) = &self.failed {
                tracing::error!(%error, commits = group.len(), "the journal takes no more commits");
            }
        }
        for (_, answer) in group {
            tell(answer, self.failed.clone().map_or(Ok(()), Err));
        }
    }
}

/// Answers; a caller that went away needs none.
fn tell<T>(answer: Answer<T>, result: Result<T, JournalError>) {
    drop(answer.send(result));
}
