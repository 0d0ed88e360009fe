//! Who waits for a token, and whose turn it is. Pure, generic over what waits.

use std::collections::BTreeMap;

use super::Lane;
use crate::cloud::Call;

/// Every this-many-th start goes to the oldest waiter instead of the most urgent one.
const TURN: u64 = 20;

/// A place in the line. Its order is that of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    number: u64,
    pub(super) lane: Lane,
    pub(super) call: Call,
}

/// The waiters: one line per call and lane.
///
/// The highest lane goes first, and inside it whoever came first among those whose call has a token.
/// No lane starves: every 20th start of a call goes to that call's oldest waiter, and every 20th start
/// of all to the oldest waiter there is. What is oldest stays so, hence each waiter goes after at most
/// 20 starts for each waiter that came before it.
#[derive(Debug)]
pub(super) struct Lines<W> {
    lines: [Line<W>; Call::ALL.len()],
    starts: u64,
    arrivals: u64,
}

#[derive(Debug)]
struct Line<W> {
    lanes: [BTreeMap<u64, W>; Lane::ALL.len()],
    starts: u64,
}

impl<W> Lines<W> {
    pub(super) fn push(&mut self, call: Call, lane: Lane, waiter: W) -> Ticket {
        self.arrivals += 1;
        let number = self.arrivals;
        self.lines[call as usize].lanes[lane as usize].insert(number, waiter);
        Ticket { number, lane, call }
    }

    /// Whose turn it is among the calls and lanes that are `open`.
    pub(super) fn next(&self, open: impl Fn(Call, Lane) -> bool) -> Option<Ticket> {
        let heads = Call::ALL.into_iter().filter_map(|call| {
            let heads = self.heads(call).filter(|head| open(call, head.lane));
            let urgent = heads.clone().next()?;
            Some((urgent, heads.min()?))
        });
        if turn(self.starts) {
            return heads.map(|(_, oldest)| oldest).min();
        }
        // A call competes with its most urgent waiter even where it is the oldest one's turn.
        let (urgent, oldest) = heads.min_by_key(|(urgent, _)| (urgent.lane, urgent.number))?;
        let turn = turn(self.lines[urgent.call as usize].starts);
        Some(if turn { oldest } else { urgent })
    }

    /// Takes a waiter out of the line to start it.
    pub(super) fn start(&mut self, ticket: Ticket) -> Option<W> {
        let waiter = self.remove(ticket)?;
        self.starts += 1;
        self.lines[ticket.call as usize].starts += 1;
        Some(waiter)
    }

    /// Takes a waiter out of the line, if it is still there.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<W> {
        self.lines[ticket.call as usize].lanes[ticket.lane as usize].remove(&ticket.number)
    }

    /// The first waiter of each lane of a call, most urgent first.
    pub(super) fn heads(&self, call: Call) -> impl Iterator<Item = Ticket> + Clone {
        Lane::ALL.into_iter().filter_map(move |lane| {
            let (number, _) = self.lines[call as usize].lanes[lane as usize].first_key_value()?;
            Some(Ticket {
                number: *number,
                lane,
                call,
            })
        })
    }

    /// The waiters of `call` that a newcomer in `lane` cannot overtake.
    pub(super) fn ahead(&self, call: Call, lane: Lane) -> usize {
        let lanes = &self.lines[call as usize].lanes[..=lane as usize];
        lanes.iter().map(BTreeMap::len).sum()
    }

    /// The waiters in a lane.
    pub(super) fn waiting(&self, lane: Lane) -> usize {
        self.lines
            .iter()
            .map(|line| line.lanes[lane as usize].len())
            .sum()
    }
}

impl<W> Default for Lines<W> {
    fn default() -> Self {
        Self {
            lines: Call::ALL.map(|_| Line {
                lanes: Lane::ALL.map(|_| BTreeMap::new()),
                starts: 0,
            }),
            starts: 0,
            arrivals: 0,
        }
    }
}

fn turn(starts: u64) -> bool {
    starts % TURN == TURN - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(lines: &mut Lines<&'static str>, count: usize) -> Vec<&'static str> {
        (0..count)
            .filter_map(|_| {
                let ticket = lines.next(|_, _| true)?;
                lines.start(ticket)
            })
            .collect()
    }

    #[test]
    fn the_highest_lane_goes_first_and_inside_it_the_first_to_come() {
        let mut lines = Lines::default();
        lines.push(Call::Enis, Lane::Audit, "audit");
        lines.push(Call::DeleteEni, Lane::Collection, "collect");
        lines.push(Call::AssignAddresses, Lane::Growth, "grow 1");
        lines.push(Call::CreateEni, Lane::Growth, "grow 2");
        lines.push(Call::UnassignAddresses, Lane::Release, "release");
        lines.push(Call::AssignAddresses, Lane::Growth, "grow 3");
        lines.push(Call::AssignAddresses, Lane::Waiting, "wait");
        let order = drain(&mut lines, 9);
        assert_eq!(
            order,
            [
                "wait", "grow 1", "grow 2", "grow 3", "release", "collect", "audit"
            ]
        );
    }

    #[test]
    fn whoever_gives_up_is_passed_over() {
        let mut lines = Lines::default();
        lines.push(Call::Enis, Lane::Growth, "first");
        let second = lines.push(Call::Enis, Lane::Growth, "second");
        lines.push(Call::Enis, Lane::Growth, "third");
        assert_eq!(lines.remove(second), Some("second"));
        assert_eq!(lines.remove(second), None);
        assert_eq!(drain(&mut lines, 3), ["first", "third"]);
    }

    #[test]
    fn a_call_without_a_token_holds_up_nobody_else() {
        let mut lines = Lines::default();
        lines.push(Call::CreateEni, Lane::Waiting, "create");
        let assign = lines.push(Call::AssignAddresses, Lane::Release, "assign");
        assert_eq!(lines.next(|call, _| call != Call::CreateEni), Some(assign));
    }

    #[test]
    fn the_lowest_lane_gets_one_start_in_twenty_while_the_highest_never_ends() {
        for low in [Call::AssignAddresses, Call::DeleteEni] {
            let mut lines = Lines::default();
            for _ in 0..3 {
                lines.push(low, Lane::Audit, "low");
            }
            let mut order = Vec::new();
            for _ in 0..60 {
                lines.push(Call::AssignAddresses, Lane::Waiting, "high");
                order.extend(drain(&mut lines, 1));
            }
            let low = order.iter().filter(|who| **who == "low").count();
            assert_eq!(low, 3, "{order:?}");
        }
    }

    #[test]
    fn a_scarce_call_does_not_starve_its_lowest_lane() {
        // One start in seven may be of the scarce call, and its own highest lane never ends either.
        let mut lines = Lines::default();
        lines.push(Call::CreateEni, Lane::Collection, "low");
        let mut starts = 0;
        loop {
            starts += 1;
            assert!(starts <= 7 * 20, "the lowest lane starves");
            lines.push(Call::CreateEni, Lane::Waiting, "high");
            lines.push(Call::AssignAddresses, Lane::Waiting, "other");
            let ticket = lines.next(|call, _| match starts % 7 {
                0 => call == Call::CreateEni,
                _ => call != Call::CreateEni,
            });
            if lines.start(ticket.unwrap()) == Some("low") {
                break;
            }
        }
    }
}
