//! One order at a time on one thing: the API excludes operations on the same ENI, and attaching to the same
//! instance, and refuses the second.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

type Waiting = BTreeMap<String, Arc<Turn<()>>>;

/// The things that orders are under way on.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<Waiting>>);

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    id: String,
    guard: Option<OwnedMutexGuard<()>>,
    turns: Turns,
}

impl Turns {
    /// Waits for one's turn on a thing. Whoever needs two takes the ENI's first.
    pub(super) async fn take(&self, id: &str) -> Taken {
        // Made before waiting, so that dropping the future forgets the thing too.
        let mut taken = Taken {
            id: id.to_owned(),
            guard: None,
            turns: self.clone(),
        };
        let turn = self.0.lock().entry(id.to_owned()).or_default().clone();
        taken.guard = Some(turn.lock_owned().await);
        taken
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut waiting = self.turns.0.lock();
        self.guard = None;
        // Whoever waits holds it too.
        if waiting
            .get(&self.id)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn the_second_waits_for_the_first_and_others_do_not() {
        let turns = Turns::default();
        let first = turns.take("eni-1").await;
        timeout(SOON, turns.take("eni-2")).await.expect("another thing");
        assert!(timeout(SOON, turns.take("eni-1")).await.is_err());
        drop(first);
        timeout(SOON, turns.take("eni-1")).await.expect("its turn");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_remembered_of_what_is_over() {
        let turns = Turns::default();
        let first = turns.take("eni-1").await;
        assert!(timeout(SOON, turns.take("eni-1")).await.is_err());
        assert_eq!(turns.0.lock().len(), 1);
        drop(first);
        assert!(turns.0.lock().is_empty());
    }
}
