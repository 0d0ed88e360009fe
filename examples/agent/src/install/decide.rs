//! What becomes of the directory of network configurations.

/// The name of our configuration: before those of other networks, as TKE's `20-tke-bridge.conflist`.
pub(super) const CONFLIST: &str = "10-tke-route-eni.conflist";

/// What libcni takes for a configuration (`ConfFiles` of `libcni/conf.go`).
const SUFFIXES: [&str; 3] = [".conf", ".conflist", ".json"];

/// What is seen of the directory, and of the agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// The files' names, in any order.
    pub(super) names: &'a [String],
    /// What is in ours, if it is there.
    pub(super) ours: Option<&'a [u8]>,
    /// What is to be in it.
    pub(super) wanted: &'a [u8],
    /// Whether an ADD would be served.
    pub(super) serves: bool,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it is as it shall be.
    Keep,
    /// Write ours.
    Write,
    /// Nothing yet: the node would be ready, and its pods' ADDs would fail.
    Wait,
}

/// Ours is written when the agent serves. What an earlier agent wrote stays until then: pods that run need it for
/// their DEL, and one that waits for the agent is better off than one that finds no network.
pub(super) fn decide(view: View<'_>) -> Step {
    match view {
        View { ours, wanted, .. } if ours == Some(wanted) => Step::Keep,
        View { serves: true, .. } => Step::Write,
        View { serves: false, .. } => Step::Wait,
    }
}

/// The configuration that the runtime takes in place of ours: the first by name wins. It is somebody else's, and is
/// not touched.
pub(super) fn in_the_way<'a>(view: View<'a>) -> Option<&'a str> {
    let names = view.names.iter().map(String::as_str);
    let first = names
        .filter(|name| SUFFIXES.iter().any(|suffix| name.ends_with(suffix)))
        .min()?;
    (first < CONFLIST).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view<'a>(ours: Option<&'a str>, serves: bool) -> View<'a> {
        View {
            names: &[],
            ours: ours.map(str::as_bytes),
            wanted: b"wanted",
            serves,
        }
    }

    #[test]
    fn a_node_is_not_made_ready_before_its_pods_can_be_served() {
        assert_eq!(decide(view(None, false)), Step::Wait);
        assert_eq!(decide(view(None, true)), Step::Write);
    }

    #[test]
    fn what_an_older_agent_wrote_is_replaced_when_this_one_serves() {
        assert_eq!(decide(view(Some("older"), false)), Step::Wait);
        assert_eq!(decide(view(Some("older"), true)), Step::Write);
    }

    #[test]
    fn what_is_right_stays_whether_the_agent_serves_or_not() {
        assert_eq!(decide(view(Some("wanted"), false)), Step::Keep);
        assert_eq!(decide(view(Some("wanted"), true)), Step::Keep);
    }

    #[test]
    fn only_a_configuration_that_sorts_before_ours_is_in_its_way() {
        let obstacle = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            let seen = View {
                names: &names,
                ..view(None, true)
            };
            in_the_way(seen).map(str::to_owned)
        };
        assert_eq!(obstacle(&[]), None);
        assert_eq!(obstacle(&[CONFLIST, "20-tke-bridge.conflist"]), None);
        assert_eq!(obstacle(&["multus", "00-multus.conf.bak", ".10-x.1"]), None);
        let two = ["05-cilium.conflist", "00-multus.conf", CONFLIST];
        assert_eq!(obstacle(&two), Some("00-multus.conf".to_owned()));
    }
}
