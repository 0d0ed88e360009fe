//! Which nodes are to be worked on, and when. Synchronous; the clock and the dice are arguments.
//!
//! Every operation costs the logarithm of the number of nodes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::NodeName;

/// How much a node needs; the greater goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    /// Sandboxes that wait for an address.
    pub(super) waiting: u32,
    /// ENIs were ordered for it that are not in service yet: they are of use to nobody until they are.
    pub(super) begun: bool,
    /// Addresses that its scheduled pods lack.
    pub(super) deficit: u32,
}

/// Where a node stands that is not at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// To be worked on: its place in `due`.
    Due(Need, u64),
    /// Being worked on, in its place in the order of arrival; whether something changed since.
    Busy { arrival: u64, again: bool },
}

/// The time after a failed attempt.
#[derive(Clone, Copy, Debug)]
struct Pause {
    length: Duration,
    until: Instant,
    /// What the node needed when it failed; until it needs more, the cloud is left alone.
    failed: Option<Need>,
}

/// How a turn ended. A node that is to be tried again brings random bits for its pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There is nothing left to do that is known of.
    Done,
    /// It needs more than there is: nothing tells when that changes.
    Starved(u64),
    /// Something failed.
    Failed(u64),
}

/// A node's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) node: NodeName,
    /// Its last attempt failed a moment ago, and it needs no more than then: the cloud is to be left alone.
    pub(super) resting: bool,
}

/// Which nodes are to be worked on, and when.
#[derive(Debug)]
pub(super) struct Schedule {
    places: BTreeMap<NodeName, Place>,
    /// The neediest first, among equals who came first.
    due: BTreeSet<(Reverse<Need>, u64, NodeName)>,
    /// When pauses end.
    retries: BTreeSet<(Instant, NodeName)>,
    /// Nodes whose last attempt failed.
    pauses: BTreeMap<NodeName, Pause>,
    arrivals: u64,
    first_pause: Duration,
    longest_pause: Duration,
}

/// How many nodes stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) due: usize,
    pub(super) busy: usize,
    pub(super) paused: usize,
}

impl Schedule {
    pub(super) fn new(first_pause: Duration, longest_pause: Duration) -> Self {
        Self {
            places: BTreeMap::new(),
            due: BTreeSet::new(),
            retries: BTreeSet::new(),
            pauses: BTreeMap::new(),
            arrivals: 0,
            first_pause,
            longest_pause,
        }
    }

    /// Something changed about a node, which now needs that much.
    pub(super) fn mark(&mut self, name: NodeName, need: Need) {
        match self.places.get_mut(&name) {
            None => {
                self.arrivals += 1;
                self.enqueue(name, need, self.arrivals);
            }
            Some(Place::Busy { again, .. }) => *again = true,
            Some(Place::Due(before, arrival)) => {
                let arrival = *arrival;
                self.due.remove(&(Reverse(*before), arrival, name.clone()));
                *before = need;
                self.due.insert((Reverse(need), arrival, name));
            }
        }
    }

    /// Takes the neediest node that is due; with `urgent`, only one where somebody waits.
    pub(super) fn next(
        &mut self,
        now: Instant,
        urgent: bool,
        need: impl Fn(&NodeName) -> Need,
    ) -> Option<Turn> {
        while let Some((_, name)) = self.retries.first().filter(|(at, _)| *at <= now).cloned() {
            self.retries.pop_first();
            let need = need(&name);
            self.mark(name, need);
        }
        self.due
            .first()
            .filter(|(need, ..)| !urgent || need.0.waiting > 0)?;
        let (Reverse(need), arrival, node) = self.due.pop_first()?;
        let pause = self.pauses.get(&node);
        let failed = pause
            .filter(|pause| now < pause.until)
            .and_then(|pause| pause.failed);
        let resting = failed.is_some_and(|failed| need <= failed);
        let again = false;
        self.places.insert(node.clone(), Place::Busy { arrival, again });
        Some(Turn { node, resting })
    }

    /// A turn has ended.
    pub(super) fn finish(&mut self, turn: Turn, need: Need, end: End, now: Instant) {
        let Turn { node, resting } = turn;
        let place = self.places.remove(&node);
        match end {
            End::Failed(random) => self.pause(&node, Some(need), random, now),
            // The end of a turn that left the cloud alone tells nothing new.
            _ if resting => {}
            End::Starved(random) => self.pause(&node, None, random, now),
            End::Done => {
                if let Some(pause) = self.pauses.remove(&node) {
                    self.retries.remove(&(pause.until, node.clone()));
                }
            }
        }
        // Whoever has begun goes on before others begin.
        if let Some(Place::Busy { arrival, again: true }) = place {
            self.enqueue(node, need, arrival);
        }
    }

    fn pause(&mut self, node: &NodeName, failed: Option<Need>, random: u64, now: Instant) {
        let last = self.pauses.get(node).map(|pause| pause.length);
        let length = pause(self.first_pause, self.longest_pause, last, random);
        let until = now + length;
        let pause = Pause {
            length,
            until,
            failed,
        };
        if let Some(before) = self.pauses.insert(node.clone(), pause) {
            self.retries.remove(&(before.until, node.clone()));
        }
        self.retries.insert((until, node.clone()));
    }

    /// When the next pause ends.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    pub(super) fn census(&self) -> Census {
        Census {
            due: self.due.len(),
            busy: self.places.len() - self.due.len(),
            paused: self.retries.len(),
        }
    }

    fn enqueue(&mut self, name: NodeName, need: Need, arrival: u64) {
        self.due.insert((Reverse(need), arrival, name.clone()));
        self.places.insert(name, Place::Due(need, arrival));
    }
}

/// The pause after a failure, with decorrelated jitter: between the first pause and three times the last
/// one, so that nodes that failed together do not come back together.
///
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
fn pause(first: Duration, longest: Duration, last: Option<Duration>, random: u64) -> Duration {
    let last = last.unwrap_or(first);
    let span = (last * 3).saturating_sub(first);
    // 32 bits are fine enough for a pause.
    let part = (random >> 32) as f64 / f64::from(u32::MAX);
    (first + span.mul_f64(part)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule() -> Schedule {
        Schedule::new(SECOND, 60 * SECOND)
    }

    fn need(waiting: u32, deficit: u32) -> Need {
        Need {
            waiting,
            deficit,
            begun: false,
        }
    }

    fn turns(schedule: &mut Schedule, now: Instant) -> Vec<Turn> {
        std::iter::from_fn(|| schedule.next(now, false, |_| need(0, 0))).collect()
    }

    fn drain(schedule: &mut Schedule, now: Instant) -> Vec<String> {
        let turns = turns(schedule, now).into_iter();
        turns.map(|turn| turn.node.to_string()).collect()
    }

    fn turn(node: &str) -> Turn {
        Turn {
            node: node.into(),
            resting: false,
        }
    }

    #[test]
    fn the_neediest_goes_first_and_equals_in_order_of_arrival() {
        let mut schedule = schedule();
        for (name, deficit) in [("z", 1), ("a", 1), ("big", 90), ("small", 2)] {
            schedule.mark(name.into(), need(0, deficit));
        }
        schedule.mark("short".into(), need(1, 0));
        schedule.mark("small".into(), need(0, 100));
        let begun = Need {
            begun: true,
            ..need(0, 3)
        };
        schedule.mark("begun".into(), begun);
        let order = drain(&mut schedule, Instant::now());
        assert_eq!(order, ["short", "begun", "small", "big", "z", "a"]);
    }

    #[test]
    fn a_node_that_changes_while_it_is_worked_on_is_due_again_after_it() {
        let (mut schedule, now) = (schedule(), Instant::now());
        schedule.mark("a".into(), need(0, 1));
        assert_eq!(drain(&mut schedule, now), ["a"]);
        schedule.mark("a".into(), need(0, 1));
        assert_eq!(drain(&mut schedule, now), [""; 0], "one at a time");
        schedule.finish(turn("a"), need(0, 1), End::Done, now);
        assert_eq!(drain(&mut schedule, now), ["a"]);
        schedule.finish(turn("a"), need(0, 0), End::Done, now);
        assert_eq!(drain(&mut schedule, now), [""; 0]);
        assert_eq!(schedule.census(), Census::default());
        assert!(schedule.places.is_empty(), "nothing is kept of a node at rest");
    }

    #[test]
    fn a_node_that_has_begun_goes_on_before_others_begin() {
        let (mut schedule, now) = (schedule(), Instant::now());
        for name in ["a", "b"] {
            schedule.mark(name.into(), need(0, 1));
        }
        assert_eq!(schedule.next(now, false, |_| need(0, 1)), Some(turn("a")));
        schedule.mark("a".into(), need(0, 1));
        schedule.finish(turn("a"), need(0, 1), End::Done, now);
        assert_eq!(drain(&mut schedule, now), ["a", "b"]);
    }

    #[test]
    fn a_failed_node_comes_back_after_its_pause() {
        let (mut schedule, now) = (schedule(), Instant::now());
        schedule.mark("a".into(), need(0, 1));
        assert_eq!(drain(&mut schedule, now), ["a"]);
        schedule.finish(turn("a"), need(0, 1), End::Failed(u64::MAX), now);
        assert_eq!(drain(&mut schedule, now), [""; 0]);
        assert_eq!(schedule.next_retry(), Some(now + 3 * SECOND));
        assert_eq!(turns(&mut schedule, now + 3 * SECOND), [turn("a")]);
        schedule.finish(turn("a"), need(0, 1), End::Failed(u64::MAX), now);
        assert_eq!(schedule.next_retry(), Some(now + 9 * SECOND));
    }

    #[test]
    fn in_its_pause_a_node_leaves_the_cloud_alone_unless_it_needs_more() {
        let (mut schedule, now) = (schedule(), Instant::now());
        schedule.finish(turn("a"), need(0, 1), End::Failed(0), now);
        schedule.mark("a".into(), need(0, 1));
        let resting = Turn {
            resting: true,
            ..turn("a")
        };
        assert_eq!(turns(&mut schedule, now), std::slice::from_ref(&resting));
        schedule.finish(resting, need(0, 1), End::Done, now);
        assert_eq!(schedule.next_retry(), Some(now + SECOND), "the pause goes on");
        schedule.mark("a".into(), need(1, 1));
        assert_eq!(turns(&mut schedule, now), [turn("a")]);
        schedule.finish(turn("a"), need(0, 0), End::Done, now);
        assert_eq!(schedule.next_retry(), None, "and ends with a success");
    }

    #[test]
    fn only_nodes_with_waiters_go_beyond_the_workers() {
        let (mut schedule, now) = (schedule(), Instant::now());
        schedule.mark("a".into(), need(0, 50));
        assert_eq!(schedule.next(now, true, |_| need(0, 50)), None);
        schedule.mark("a".into(), need(1, 50));
        assert_eq!(schedule.next(now, true, |_| need(1, 50)), Some(turn("a")));
    }

    #[test]
    fn pauses_are_scattered_between_the_first_and_the_longest() {
        let (first, longest) = (SECOND, 60 * SECOND);
        assert_eq!(pause(first, longest, None, 0), SECOND);
        assert_eq!(pause(first, longest, Some(10 * SECOND), u64::MAX), 30 * SECOND);
        assert_eq!(pause(first, longest, Some(10 * SECOND), 0), SECOND);
        assert_eq!(pause(first, longest, Some(50 * SECOND), u64::MAX), longest);
    }

    #[test]
    fn a_success_makes_the_next_pause_short_again() {
        let (mut schedule, now) = (schedule(), Instant::now());
        for _ in 0..5 {
            schedule.finish(turn("a"), need(0, 1), End::Failed(u64::MAX), now);
        }
        schedule.finish(turn("a"), need(0, 1), End::Done, now);
        schedule.finish(turn("a"), need(0, 1), End::Failed(u64::MAX), now);
        assert_eq!(schedule.next_retry(), Some(now + 3 * SECOND));
    }
}
