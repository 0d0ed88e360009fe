//! Which events to write when, so that one that repeats a thousand times is written now and then. Pure.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::Note;

/// Different events remembered at most; beyond, the one that has been quiet for longest is forgotten.
const CAPACITY: usize = 4096;

/// Events that were reported lately.
#[derive(Debug)]
pub(super) struct Aggregate {
    window: Duration,
    notes: BTreeMap<Note, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Reported since it was written.
    times: u32,
    /// When it may be written (again).
    due: Instant,
}

impl Aggregate {
    /// Writes each event at once, and its repetitions at most once per `window`.
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            notes: BTreeMap::new(),
        }
    }

    /// An event was reported.
    pub(super) fn add(&mut self, note: Note, now: Instant) {
        self.notes
            .entry(note)
            .or_insert(Entry { times: 0, due: now })
            .times += 1;
        while self.notes.len() > CAPACITY {
            let quiet = self
                .notes
                .iter()
                .min_by_key(|(_, entry)| (entry.times, entry.due));
            if let Some(quiet) = quiet.map(|(note, _)| note.clone()) {
                self.notes.remove(&quiet);
            }
        }
    }

    /// An event could not be written for now: it is tried again after `pause`.
    pub(super) fn again(&mut self, note: Note, times: u32, now: Instant, pause: Duration) {
        let entry = self.notes.entry(note).or_insert(Entry { times: 0, due: now });
        entry.times += times;
        entry.due = now + pause;
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.notes.values().map(|entry| entry.due).min()
    }

    /// What is to be written now, and how many times it was reported since it was written last.
    pub(super) fn take(&mut self, now: Instant) -> Vec<(Note, u32)> {
        // One that was quiet for a whole window is forgotten.
        self.notes.retain(|_, entry| entry.times > 0 || entry.due > now);
        let due = self.notes.iter_mut().filter(|(_, entry)| entry.due <= now);
        due.map(|(note, entry)| {
            entry.due = now + self.window;
            (note.clone(), std::mem::take(&mut entry.times))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Reference;

    fn note(message: &str) -> Note {
        Note {
            about: Reference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                namespace: None,
                name: "node-1".to_owned(),
                uid: None,
            },
            warning: true,
            reason: "ENILimit".to_owned(),
            message: message.to_owned(),
        }
    }

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_is_written_at_once_and_repetitions_once_per_window() {
        let (mut aggregate, begun) = (Aggregate::new(WINDOW), Instant::now());
        aggregate.add(note("a"), begun);
        assert_eq!(aggregate.take(begun), [(note("a"), 1)]);
        for second in 1..=50 {
            aggregate.add(note("a"), begun + Duration::from_secs(second));
            assert_eq!(aggregate.take(begun + Duration::from_secs(second)), []);
        }
        assert_eq!(aggregate.due(), Some(begun + WINDOW));
        assert_eq!(aggregate.take(begun + WINDOW), [(note("a"), 50)]);
    }

    #[test]
    fn different_events_do_not_wait_for_each_other() {
        let (mut aggregate, now) = (Aggregate::new(WINDOW), Instant::now());
        aggregate.add(note("a"), now);
        aggregate.add(note("b"), now);
        assert_eq!(aggregate.take(now), [(note("a"), 1), (note("b"), 1)]);
    }

    #[test]
    fn one_that_was_quiet_for_a_window_is_forgotten() {
        let (mut aggregate, now) = (Aggregate::new(WINDOW), Instant::now());
        aggregate.add(note("a"), now);
        assert_eq!(aggregate.take(now).len(), 1);
        assert_eq!(aggregate.take(now + WINDOW), []);
        assert_eq!(aggregate.due(), None);
    }

    #[test]
    fn what_could_not_be_written_is_due_again_with_what_was_added() {
        let (mut aggregate, begun) = (Aggregate::new(WINDOW), Instant::now());
        aggregate.add(note("a"), begun);
        let taken = aggregate.take(begun);
        let pause = Duration::from_secs(5);
        taken
            .into_iter()
            .for_each(|(note, times)| aggregate.again(note, times, begun, pause));
        aggregate.add(note("a"), begun);
        assert_eq!(aggregate.take(begun), []);
        assert_eq!(aggregate.take(begun + pause), [(note("a"), 2)]);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut aggregate, now) = (Aggregate::new(WINDOW), Instant::now());
        for number in 0..CAPACITY + 10 {
            aggregate.add(note(&number.to_string()), now);
        }
        assert_eq!(aggregate.take(now).len(), CAPACITY);
    }
}
