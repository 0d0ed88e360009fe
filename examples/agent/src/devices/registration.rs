//! When the plugin listens and when it registers: a pure function of what is seen.
//!
//! A kubelet that starts removes every socket beside its own, ours included, then makes its own anew. It
//! may also drop a plugin without a word: then its stream ends, or never begins.

use std::time::Duration;

use tokio::time::Instant;

/// The pause before the same kubelet is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// How long a kubelet that took a registration may take to ask for the devices; it waits for our socket for
/// ten seconds itself (`dial` of its device manager).
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// How long a kubelet that restarted may take to know its pods again, and by them what is in use.
const SETTLE: Duration = Duration::from_secs(30);

/// One making of a socket. A number of an inode is used again at once, the time of its making is not; and
/// other rights or a security label do not make it another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketId {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// When it was made, in seconds and nanoseconds.
    pub(super) made: (i64, i64),
}

/// What is there now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Kubelet's socket.
    pub(super) kubelet: Option<SocketId>,
    /// Ours.
    pub(super) own: Option<SocketId>,
    /// Who watches the devices.
    pub(super) watches: Watches,
}

/// Kubelet's watches of the devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Watches {
    /// How many there are.
    pub(super) open: usize,
    /// How many there ever were.
    pub(super) begun: u64,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    /// The socket that we serve.
    pub(super) listening: Option<SocketId>,
    /// The last registration, and the last step that failed, by kubelet's socket.
    pub(super) tried: Option<(SocketId, Instant)>,
    /// When another kubelet than before was seen last.
    pub(super) restarted: Option<Instant>,
    /// The kubelet that took a registration of the socket that we serve.
    pub(super) registered: Option<Registered>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    pub(super) kubelet: SocketId,
    pub(super) at: Instant,
    /// How many watches had begun before.
    pub(super) begun: u64,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// Serve on a new socket.
    Listen,
    /// Register with this kubelet.
    Register(SocketId),
}

impl Past {
    /// Takes note of a kubelet that is not the one before.
    pub(super) fn notice(&mut self, seen: &Seen, now: Instant) {
        let other = |(known, _): (SocketId, Instant)| seen.kubelet.is_some_and(|kubelet| kubelet != known);
        if self.tried.is_some_and(other) {
            self.restarted = Some(now);
        }
    }

    /// Whether kubelet knows all of its pods.
    pub(super) fn settled(&self, now: Instant) -> bool {
        self.restarted.is_none_or(|at| now >= at + SETTLE)
    }
}

/// What is to be done next.
pub(super) fn next(seen: &Seen, past: &Past, now: Instant) -> Step {
    let Some(kubelet) = seen.kubelet else {
        return Step::Wait;
    };
    let step = if seen.own.is_none() || seen.own != past.listening {
        Step::Listen
    } else {
        match past.registered.filter(|registered| registered.kubelet == kubelet) {
            Some(_) if seen.watches.open > 0 => Step::Wait,
            // It has not watched since.
            Some(registered) if seen.watches.begun == registered.begun && now < registered.at + PATIENCE => {
                Step::Wait
            }
            _ => Step::Register(kubelet),
        }
    };
    let lately = |(socket, at): (SocketId, Instant)| socket == kubelet && now < at + RETRY;
    match past.tried.is_some_and(lately) {
        true => Step::Wait,
        false => step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBELET: SocketId = socket(1);
    const RESTARTED: SocketId = socket(2);
    const OWN: SocketId = socket(3);

    const fn socket(inode: u64) -> SocketId {
        SocketId {
            device: 1,
            inode,
            made: (0, 0),
        }
    }

    /// With a watch that is open, or one that was.
    const fn seen(kubelet: Option<SocketId>, own: Option<SocketId>, watched: bool) -> Seen {
        let open = if watched { 1 } else { 0 };
        Seen {
            kubelet,
            own,
            watches: Watches { open, begun: 1 },
        }
    }

    /// Registered at `at`; the watch has begun since, or before.
    fn registered(at: Instant, watched: bool) -> Past {
        Past {
            listening: Some(OWN),
            tried: Some((KUBELET, at)),
            restarted: None,
            registered: Some(Registered {
                kubelet: KUBELET,
                at,
                begun: if watched { 0 } else { 1 },
            }),
        }
    }

    #[test]
    fn it_listens_then_registers_and_waits_for_no_kubelet() {
        let now = Instant::now();
        let mut past = Past::default();
        assert_eq!(next(&seen(None, None, false), &past, now), Step::Wait);
        assert_eq!(next(&seen(Some(KUBELET), None, false), &past, now), Step::Listen);
        past.listening = Some(OWN);
        let step = next(&seen(Some(KUBELET), Some(OWN), false), &past, now);
        assert_eq!(step, Step::Register(KUBELET));
    }

    #[test]
    fn a_registered_plugin_that_is_watched_rests() {
        let now = Instant::now();
        let later = now + Duration::from_secs(86_400);
        let step = next(
            &seen(Some(KUBELET), Some(OWN), true),
            &registered(now, true),
            later,
        );
        assert_eq!(step, Step::Wait);
    }

    #[test]
    fn a_kubelet_that_restarted_is_registered_with_at_once() {
        let now = Instant::now();
        let past = registered(now, true);
        // It removes both sockets, then makes its own.
        assert_eq!(next(&seen(None, None, false), &past, now), Step::Wait);
        assert_eq!(
            next(&seen(Some(RESTARTED), None, false), &past, now),
            Step::Listen
        );
        // Ours may have been spared, and the old stream may be open still.
        let step = next(&seen(Some(RESTARTED), Some(OWN), true), &past, now);
        assert_eq!(step, Step::Register(RESTARTED));
    }

    #[test]
    fn a_socket_made_again_with_the_same_inode_is_another() {
        let again = SocketId {
            made: (0, 1),
            ..KUBELET
        };
        let now = Instant::now();
        let step = next(&seen(Some(again), Some(OWN), true), &registered(now, true), now);
        assert_eq!(step, Step::Register(again));
    }

    #[test]
    fn a_socket_that_somebody_replaced_is_made_again() {
        let past = registered(Instant::now(), true);
        let step = next(
            &seen(Some(KUBELET), Some(socket(9)), true),
            &past,
            Instant::now() + RETRY,
        );
        assert_eq!(step, Step::Listen);
    }

    #[test]
    fn a_kubelet_that_stopped_watching_is_registered_with_again() {
        let now = Instant::now();
        let past = registered(now, true);
        let silent = seen(Some(KUBELET), Some(OWN), false);
        assert_eq!(next(&silent, &past, now), Step::Wait);
        assert_eq!(next(&silent, &past, now + RETRY), Step::Register(KUBELET));
    }

    #[test]
    fn a_kubelet_that_never_watched_is_given_time() {
        let now = Instant::now();
        let past = registered(now, false);
        let silent = seen(Some(KUBELET), Some(OWN), false);
        assert_eq!(next(&silent, &past, now + RETRY), Step::Wait);
        assert_eq!(next(&silent, &past, now + PATIENCE), Step::Register(KUBELET));
    }

    #[test]
    fn a_kubelet_that_restarted_is_given_time_to_know_its_pods() {
        let now = Instant::now();
        let mut past = Past::default();
        past.notice(&seen(Some(KUBELET), None, false), now);
        assert!(past.settled(now), "this one may have run for long");
        past = registered(now, true);
        past.notice(&seen(Some(KUBELET), Some(OWN), true), now);
        past.notice(&seen(None, None, false), now);
        assert!(past.settled(now), "it is the same, or away");
        past.notice(&seen(Some(RESTARTED), None, false), now);
        assert!(!past.settled(now));
        assert!(past.settled(now + SETTLE));
    }

    #[test]
    fn what_failed_is_tried_again_after_a_pause() {
        let now = Instant::now();
        let past = Past {
            listening: Some(OWN),
            tried: Some((KUBELET, now)),
            ..Past::default()
        };
        let here = seen(Some(KUBELET), Some(OWN), false);
        assert_eq!(next(&here, &past, now), Step::Wait);
        assert_eq!(next(&here, &past, now + RETRY), Step::Register(KUBELET));
    }
}
