//! Which subnets are worth a call: a circuit breaker per subnet, shared by all nodes. Pure: time is an
//! argument, and whoever orders ENIs and addresses tells it how that went.
//!
//! ```text
//!            failed                     pause over
//!   closed ----------> open (10 s) ------------------> half-open
//!      ^                  ^                             |   |
//!      |                  +--- failed: twice the pause -+   |
//!      +------------------------- succeeded ----------------+
//! ```
//!
//! For each order that takes addresses out of a subnet: ask [`Breakers::allows`] when it is planned; for
//! a [`Allowance::Probe`] call [`Breakers::probing`] before the call and ask for one address only; then
//! report [`Breakers::failed`], [`Breakers::succeeded`] or [`Breakers::undecided`]. Nodes that found the
//! subnet closed to them are to be planned again at [`Breakers::changes_at`].

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::model::SubnetId;

/// What may be asked of a subnet now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Whatever is needed.
    Any,
    /// One address, by one caller, to see whether there is room again.
    Probe,
    /// Nothing.
    None,
}

/// The subnets that failed, and when they may be tried again. The others are closed circuits.
#[derive(Clone, Debug, Default)]
pub struct Breakers {
    open: BTreeMap<SubnetId, Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    pause: Duration,
    until: Instant,
    /// When the probe under way began.
    probe: Option<Instant>,
}

impl Breakers {
    /// How long a subnet is left alone after its first failure.
    pub const FIRST_PAUSE: Duration = Duration::from_secs(10);
    /// How long it is left alone at most; the pause doubles up to this.
    pub const LONGEST_PAUSE: Duration = Duration::from_secs(600);
    /// When a probe that was not reported back counts as lost, and another may start. Longer than a
    /// call with its repetitions takes.
    pub const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

    /// What may be asked of `subnet`.
    pub fn allows(&self, subnet: &SubnetId, now: Instant) -> Allowance {
        match self.open.get(subnet) {
            None => Allowance::Any,
            Some(open) if now >= open.next_probe() => Allowance::Probe,
            Some(_) => Allowance::None,
        }
    }

    /// A probe of `subnet` is about to be sent. Without effect on a closed circuit.
    pub fn probing(&mut self, subnet: &SubnetId, now: Instant) {
        if let Some(open) = self.open.get_mut(subnet) {
            open.probe = Some(now);
        }
    }

    /// `subnet` is exhausted, gone, or refuses.
    ///
    /// While the circuit is open, this tells of a call that was sent before it opened, and changes
    /// nothing: many nodes that fail at once are one failure.
    pub fn failed(&mut self, subnet: &SubnetId, now: Instant) {
        let pause = match self.open.get(subnet) {
            None => Self::FIRST_PAUSE,
            Some(open) if now < open.until => return,
            Some(open) => (open.pause * 2).min(Self::LONGEST_PAUSE),
        };
        let open = Open {
            pause,
            until: now + pause,
            probe: None,
        };
        self.open.insert(subnet.clone(), open);
    }

    /// `subnet` gave what was asked: the circuit is closed. While it is open this tells of an older
    /// call, and changes nothing.
    pub fn succeeded(&mut self, subnet: &SubnetId, now: Instant) {
        if self.open.get(subnet).is_some_and(|open| now >= open.until) {
            self.open.remove(subnet);
        }
    }

    /// A probe ended without saying anything of the subnet (throttled, not started, no answer): another
    /// may be sent.
    pub fn undecided(&mut self, subnet: &SubnetId) {
        if let Some(open) = self.open.get_mut(subnet) {
            open.probe = None;
        }
    }

    /// When `subnet` will allow more than nothing; `None` if it does already.
    pub fn changes_at(&self, subnet: &SubnetId, now: Instant) -> Option<Instant> {
        let at = self.open.get(subnet)?.next_probe();
        (at > now).then_some(at)
    }

    /// The subnets whose circuit is not closed, for conditions, events and counts.
    pub fn open(&self) -> impl Iterator<Item = &SubnetId> {
        self.open.keys()
    }
}

impl Open {
    fn next_probe(&self) -> Instant {
        let lost = self.probe.map(|begun| begun + Breakers::PROBE_TIMEOUT);
        lost.map_or(self.until, |lost| lost.max(self.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Do {
        Fail,
        Succeed,
        Probe,
        Undecided,
        See(Allowance),
    }
    use Allowance::{Any, None as Nothing, Probe as One};
    use Do::*;

    /// Does each step at its second.
    fn run(steps: &[(u64, Do)]) {
        let (subnet, start) = (SubnetId::from("subnet-a"), Instant::now());
        let mut breakers = Breakers::default();
        for (n, (second, step)) in steps.iter().enumerate() {
            let now = start + Duration::from_secs(*second);
            match step {
                Fail => breakers.failed(&subnet, now),
                Succeed => breakers.succeeded(&subnet, now),
                Probe => breakers.probing(&subnet, now),
                Undecided => breakers.undecided(&subnet),
                See(allowance) => {
                    assert_eq!(
                        breakers.allows(&subnet, now),
                        *allowance,
                        "step {n}, second {second}"
                    );
                    let change = breakers.changes_at(&subnet, now);
                    assert_eq!(
                        change.is_some(),
                        *allowance == Nothing,
                        "step {n}, second {second}"
                    );
                    if let Some(at) = change {
                        assert_eq!(breakers.allows(&subnet, at), One, "step {n}, second {second}");
                    }
                }
            }
        }
        assert_eq!(
            breakers.allows(&"subnet-b".into(), start),
            Any,
            "subnets are apart"
        );
    }

    #[test]
    fn a_subnet_is_left_alone_after_a_failure_and_then_probed_by_one() {
        run(&[
            (0, See(Any)),
            (0, Fail),
            (0, See(Nothing)),
            (9, See(Nothing)),
            (10, See(One)),
            (10, Probe),
            (10, See(Nothing)),
            (11, Succeed),
            (11, See(Any)),
        ]);
    }

    #[test]
    fn the_pause_doubles_up_to_ten_minutes_and_begins_anew_after_a_success() {
        let mut steps = vec![(0, Fail)];
        let mut now = 0;
        for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
            steps.extend([
                (now + pause - 1, See(Nothing)),
                (now + pause, See(One)),
                (now + pause, Probe),
                (now + pause, Fail),
            ]);
            now += pause;
        }
        steps.extend([(now + 600, Probe), (now + 600, Succeed), (now + 600, See(Any))]);
        steps.extend([
            (now + 601, Fail),
            (now + 610, See(Nothing)),
            (now + 611, See(One)),
        ]);
        run(&steps);
    }

    #[test]
    fn many_failures_at_once_are_one() {
        run(&[(0, Fail), (0, Fail), (3, Fail), (9, See(Nothing)), (10, See(One))]);
    }

    #[test]
    fn a_late_success_does_not_close_an_open_circuit() {
        run(&[(0, Fail), (1, Succeed), (1, See(Nothing)), (10, See(One))]);
    }

    #[test]
    fn a_probe_that_says_nothing_makes_room_for_another() {
        run(&[
            (0, Fail),
            (10, Probe),
            (11, See(Nothing)),
            (11, Undecided),
            (11, See(One)),
        ]);
    }

    #[test]
    fn a_probe_that_is_never_reported_back_blocks_for_a_minute_only() {
        run(&[
            (0, Fail),
            (12, Probe),
            (71, See(Nothing)),
            (72, See(One)),
            (72, Probe),
            (73, See(Nothing)),
        ]);
    }

    #[test]
    fn success_and_probe_of_a_closed_circuit_change_nothing() {
        run(&[(0, Succeed), (0, Probe), (0, Undecided), (0, See(Any))]);
    }
}
