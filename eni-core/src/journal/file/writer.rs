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
    let mut writer = match Store::open(path) {
        Ok(store) => Writer {
            path,
            store: Some(store),
        },
        Err(error) => return tell(opened, Err(error)),
    };
    tell(opened, Ok(()));
    while let Ok(first) = requests.recv() {
        let mut group = Vec::new();
        for request in std::iter::once(first).chain(requests.try_iter()).take(MAX_GROUP) {
            match request {
                Request::Commit(writes, answer) => group.push((writes, answer)),
                Request::Load(answer) => {
                    writer.commit(std::mem::take(&mut group));
                    tell(answer, writer.store().and_then(|store| store.load()));
                }
            }
        }
        writer.commit(group);
    }
}

struct Writer<'a> {
    path: &'a Path,
    /// Closed after a failed commit: nobody knows what the file holds until it is opened again.
    store: Option<Store>,
}

impl Writer<'_> {
    /// The file, opened again where it had to be closed.
    fn store(&mut self) -> Result<&mut Store, JournalError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => Store::reopen(self.path)?,
        };
        Ok(self.store.insert(store))
    }

    /// Makes all the commits of a group durable together, then answers them.
    fn commit(&mut self, group: Vec<(Vec<Write>, Answer<()>)>) {
        if group.is_empty() {
            return;
        }
        let writes = group.iter().flat_map(|(writes, _)| writes);
        let result = self.store().and_then(|store| store.commit(writes));
        if let Err(error) = &result {
            tracing::error!(%error, commits = group.len(), "commits failed; the journal is opened again");
            self.store = None;
        }
        for (_, answer) in group {
            tell(answer, result.clone());
        }
    }
}

/// Answers; a caller that went away needs none.
fn tell<T>(answer: Answer<T>, result: Result<T, JournalError>) {
    drop(answer.send(result));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_was_closed_by_a_failure_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        drop(Store::open(&path).unwrap());
        let mut writer = Writer {
            path: &path,
            store: None,
        };
        let (answer, mut answered) = oneshot::channel();
        writer.commit(vec![(Vec::new(), answer)]);
        assert_eq!(answered.try_recv().unwrap(), Ok(()));
        assert_eq!(writer.store().unwrap().load().unwrap(), Memory::default());
    }

    #[test]
    fn a_journal_whose_file_vanished_is_not_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        drop(Store::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let mut writer = Writer {
            path: &path,
            store: None,
        };
        for _ in 0..2 {
            let (answer, mut answered) = oneshot::channel();
            writer.commit(vec![(Vec::new(), answer)]);
            let error = answered.try_recv().unwrap().unwrap_err();
            assert!(error.to_string().contains("vanished"), "{error}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_journal_that_cannot_be_opened_again_fails_every_commit() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer {
            path: directory.path(),
            store: None,
        };
        for _ in 0..2 {
            let (answer, mut answered) = oneshot::channel();
            writer.commit(vec![(Vec::new(), answer)]);
            assert!(answered.try_recv().unwrap().is_err());
        }
    }
}
