//! Rules that TKE's VPC-CNI before v3.8.0 left on a node that we took over.
//!
//! Its tables were numbered 2000 + index, and its rules bear no protocol number of ours. They are not
//! ours and stay, with one exception: a rule that leads packets *from an address that we own* (a pod's, by
//! the agent's journal, or an ENI's own, by what ipamd attached) at our own priority into a table of that
//! numbering. Being older it would win over ours, and the pod would leave by an ENI that may be gone. The
//! address tells that it cannot be of use to anybody else, so it is deleted, one rule by its whole
//! selector. Its table, and whatever else leads there, stays.

use crate::identity::{EARLIER_TABLE_BASE, FROM_POD, PROTOCOL, TABLE_BASE};
use crate::kernel::{Rule, Side};

/// Whether a rule with this protocol number is one of those, if its address is ours.
pub(crate) fn is_superseded(rule: &Rule, protocol: u8) -> bool {
    protocol != PROTOCOL
        && rule.side == Side::From
        && rule.priority == FROM_POD
        && rule.table > EARLIER_TABLE_BASE
        && rule.table <= TABLE_BASE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip rule add` writes 3 (RTPROT_BOOT), TKE's plugin 0.
    const THEIRS: [u8; 2] = [0, 3];

    #[test]
    fn only_rules_of_its_shape_and_numbering_are_superseded() {
        let address = "10.0.0.7".parse().unwrap();
        for protocol in THEIRS {
            assert!(is_superseded(&Rule::from(address, 2003), protocol));
            assert!(!is_superseded(&Rule::from(address, 4003), protocol));
            assert!(!is_superseded(&Rule::from(address, 100), protocol));
            assert!(!is_superseded(&Rule::to(address), protocol));
            let elsewhere = Rule {
                priority: FROM_POD + 1,
                ..Rule::from(address, 2003)
            };
            assert!(!is_superseded(&elsewhere, protocol));
        }
        assert!(!is_superseded(&Rule::from(address, 2003), PROTOCOL));
    }
}
