//! The thread that owns the file.

use std::{path::Path, sync::mpsc::Receiver};

use tokio::sync::oneshot;

use super::{
    codec::Write,
    database::{Identity, Store},
};
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
    let store = Store::open(path).and_then(|store| Ok((Identity::present(path)?, store)));
    let mut writer = match store {
        Ok((file, store)) => Writer {
            path,
            file,
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
    /// What was opened at first.
    file: Identity,
    /// Closed after a failed commit: nobody knows what the file holds until it is opened again.
    store: Option<Store>,
}

impl Writer<'_> {
    /// The file, opened again where it had to be closed.
    fn store(&mut self) -> Result<&mut Store, JournalError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => Store::reopen(self.path, self.file)?,
        };
        Ok(self.store.insert(store))
    }

    /// Makes all the commits of a group durable together, then answers them.
    fn commit(&mut self, group: Vec<(Vec<Write>, Answer<()>)>) {
        if group.is_empty() {
            return;
        }
        let writes = group.iter().flat_map(|(writes, _)| writes);
        let (path, file) = (self.path, self.file);
        let result = self.store().and_then(|store| store.commit(writes));
        let result = result.and_then(|()| file.confirm(path));
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
            file: Identity::present(&path).unwrap(),
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
        let file = Identity::present(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut writer = Writer {
            path: &path,
            file,
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
    fn a_journal_whose_file_is_taken_away_while_it_is_open_acknowledges_nothing() {
        for replaced in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("journal");
            let mut writer = Writer {
                path: &path,
                store: Some(Store::open(&path).unwrap()),
                file: Identity::present(&path).unwrap(),
            };
            std::fs::rename(&path, directory.path().join("elsewhere")).unwrap();
            if replaced {
                drop(Store::open(&path).unwrap());
            }
            for _ in 0..2 {
                let (answer, mut answered) = oneshot::channel();
                writer.commit(vec![(Vec::new(), answer)]);
                let error = answered.try_recv().unwrap().unwrap_err();
                assert!(error.to_string().contains("vanished"), "{error}");
            }
            assert_eq!(path.exists(), replaced, "no file is made in its place");
        }
    }

    #[test]
    fn a_journal_that_cannot_be_opened_again_fails_every_commit() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer {
            path: directory.path(),
            file: Identity::present(directory.path()).unwrap(),
            store: None,
        };
        for _ in 0..2 {
            let (answer, mut answered) = oneshot::channel();
            writer.commit(vec![(Vec::new(), answer)]);
            assert!(answered.try_recv().unwrap().is_err());
        }
    }
}
