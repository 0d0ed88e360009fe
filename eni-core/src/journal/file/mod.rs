//! A crash-safe journal on a file.
//!
//! The file is a `redb` database: copy-on-write, checksummed, all or nothing per transaction. One
//! thread owns it; the async side only sends it requests.

mod codec;
mod database;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{Change, Journal, JournalError, Memory};
use codec::encode;
use writer::Request;

/// A crash-safe journal on a file.
///
/// Commits that wait at the same time are made durable together, by one flush of the disk. After a
/// failed commit the file is opened again before the next one, so that a full disk does no lasting harm.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl FileJournal {
    /// Opens the journal at `path`; where there is nothing, makes an empty one, readable by its owner
    /// only, and the directory for it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written, is open elsewhere, is damaged, or was written by a newer
    /// version. It is then left as it is.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let path = path.into();
        let (requests, inbox) = mpsc::channel();
        let (answer, opened) = oneshot::channel();
        let thread_path = path.clone();
        let writer = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer::run(&thread_path, &inbox, answer))
            .map_err(|error| failure(&path, format!("no thread could be started for it ({error})")))?;
        let journal = Self {
            path,
            requests: Some(requests),
            writer: Some(writer),
        };
        journal.answer(opened).await?;
        Ok(journal)
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Request,
    ) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        let sent = self
            .requests
            .as_ref()
            .map(|requests| requests.send(request(answer)));
        match sent {
            Some(Ok(())) => self.answer(answered).await,
            _ => Err(self.stopped()),
        }
    }

    async fn answer<T>(
        &self,
        answered: oneshot::Receiver<Result<T, JournalError>>,
    ) -> Result<T, JournalError> {
        answered.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// The writer ends early only by a panic, which a damaged file can cause.
    fn stopped(&self) -> JournalError {
        failure(
            &self.path,
            "its writer stopped; restart the agent, and look in its log if that does not help",
        )
    }
}

#[async_trait]
impl Journal for FileJournal {
    async fn load(&self) -> Result<Memory, JournalError> {
        self.ask(Request::Load).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        let writes = changes.iter().map(encode).collect::<Result<_, _>>();
        let writes =
            writes.map_err(|error| failure(&self.path, format!("a change cannot be written ({error})")))?;
        self.ask(|answer| Request::Commit(writes, answer)).await
    }
}

impl Drop for FileJournal {
    /// Waits for the commit under way, so that the file can be opened again at once.
    fn drop(&mut self) {
        self.requests = None;
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!(journal = %self.path.display(), "the journal's writer panicked");
        }
    }
}

fn failure(path: &Path, message: impl Into<String>) -> JournalError {
    JournalError {
        journal: path.display().to_string(),
        message: message.into(),
    }
}
