//! How many addresses a node advertises to its kubelet, and in which order a change of that is told.
//!
//! What the kubelet believes, pods are scheduled by; what the node reported, ipamd counts on. So the report
//! is never below what the kubelet may believe: a raised number is reported first and told then, a lowered
//! one is told first and reported then.

use std::str::FromStr;

use crate::model::{Families, Family, NodePool, PoolAddress};

/// What a node advertises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Advertise {
    /// What it can attain: ipamd's grant. Pods of a burst are scheduled at once, and wait for their address
    /// in order.
    #[default]
    Attainable,
    /// What it has bound, as TKE does: a burst climbs in steps of the warm range.
    Bound,
}

/// What the kubelet is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Pods that may have an address, the resource's *allocatable*.
    pub allocatable: u32,
    /// Pods that the instance can carry at most, the resource's *capacity*.
    pub capacity: u32,
}

/// A word that is neither of `attainable` and `bound`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not something that a node can advertise; use `attainable` or `bound`")]
pub struct InvalidAdvertise(String);

impl FromStr for Advertise {
    type Err = InvalidAdvertise;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "attainable" => Ok(Self::Attainable),
            "bound" => Ok(Self::Bound),
            _ => Err(InvalidAdvertise(text.to_owned())),
        }
    }
}

/// How many pods shall be able to have an address by the published pool; never more than the grant, as the
/// rest is others'.
pub fn advertised(
    advertise: Advertise,
    pool: &NodePool,
    withdrawn: &[PoolAddress],
    families: Families,
) -> u32 {
    match advertise {
        Advertise::Attainable => pool.granted,
        Advertise::Bound => {
            let bound = families
                .each()
                .iter()
                .map(|family| bound(pool, withdrawn, *family));
            let bound = bound.min().unwrap_or_default();
            u32::try_from(bound).unwrap_or(u32::MAX).min(pool.granted)
        }
    }
}

/// The number to report, where `wanted` is to be advertised, `told` is the most that the kubelet may believe
/// (`None`: this process told it nothing) and `reported` is what the last report says.
pub fn to_report(wanted: u32, told: Option<u32>, reported: u32) -> u32 {
    wanted.max(told.unwrap_or(reported))
}

/// The number to tell, where `wanted` is to be advertised and the last report says `reported`.
pub fn to_tell(wanted: u32, reported: u32) -> u32 {
    wanted.min(reported)
}

fn bound(pool: &NodePool, withdrawn: &[PoolAddress], family: Family) -> usize {
    let attached = pool.enis.iter().flat_map(|eni| &eni.attached);
    attached
        .filter(|entry| Family::of(entry.ip) == family && !withdrawn.contains(entry))
        .count()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::model::{Generation, Mac, PoolEni};

    fn entry(ip: impl Into<IpAddr>) -> PoolAddress {
        PoolAddress {
            ip: ip.into(),
            generation: Generation::from_random(1),
        }
    }

    fn pool(attached: Vec<PoolAddress>, granted: u32) -> NodePool {
        let eni = PoolEni {
            id: "eni-1".into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            subnet: "subnet-1".into(),
            cidr: "10.0.0.0/24".parse().unwrap(),
            gateway: [10, 0, 0, 1].into(),
            primary: [10, 0, 0, 2].into(),
            attached,
            releasing: Vec::new(),
            reserved: [].into(),
            evicting: Vec::new(),
        };
        NodePool {
            enis: vec![eni],
            maximum: 9,
            capacity: 27,
            granted,
            by_claim: false,
        }
    }

    fn of_v4(count: u8, granted: u32) -> NodePool {
        pool(
            (10..10 + count).map(|last| entry([10, 0, 0, last])).collect(),
            granted,
        )
    }

    #[test]
    fn what_can_be_attained_is_the_grant() {
        let pool = of_v4(5, 20);
        assert_eq!(advertised(Advertise::Attainable, &pool, &[], Families::V4), 20);
    }

    #[test]
    fn what_is_bound_leaves_out_what_is_withdrawn_and_what_is_no_longer_granted() {
        let withdrawn = [entry([10, 0, 0, 10])];
        let bound = |pool: &NodePool| advertised(Advertise::Bound, pool, &withdrawn, Families::V4);
        assert_eq!(bound(&of_v4(5, 20)), 4);
        assert_eq!(bound(&of_v4(5, 3)), 3);
        assert_eq!(bound(&NodePool::default()), 0);
    }

    #[test]
    fn of_two_families_the_scarcer_one_counts() {
        let v6: IpAddr = "fd00::10".parse().unwrap();
        let pool = pool(vec![entry([10, 0, 0, 10]), entry([10, 0, 0, 11]), entry(v6)], 20);
        let bound = |families| advertised(Advertise::Bound, &pool, &[], families);
        assert_eq!(bound(Families::V4), 2);
        assert_eq!(bound(Families::V6), 1);
        assert_eq!(bound(Families::Dual), 1);
    }

    #[test]
    fn a_raised_number_is_reported_before_it_is_told() {
        assert_eq!((to_report(9, Some(4), 4), to_tell(9, 4)), (9, 4));
        assert_eq!((to_report(9, Some(4), 9), to_tell(9, 9)), (9, 9));
    }

    #[test]
    fn a_lowered_number_is_told_before_it_is_reported() {
        assert_eq!((to_report(4, Some(9), 9), to_tell(4, 9)), (9, 4));
        assert_eq!((to_report(4, Some(4), 9), to_tell(4, 9)), (4, 4));
    }

    #[test]
    fn what_a_kubelet_was_told_by_an_earlier_process_is_what_it_reported() {
        assert_eq!(to_report(4, None, 9), 9);
        assert_eq!(to_report(9, None, 4), 9);
    }

    #[test]
    fn the_report_is_never_below_what_the_kubelet_may_believe_in_any_order_of_steps() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let (mut wanted, mut told, mut reported) = (0, None, 0);
            for _ in 0..50 {
                match random.u8(0..3) {
                    0 => wanted = random.u32(0..20),
                    1 => reported = to_report(wanted, told, reported),
                    _ => told = Some(to_tell(wanted, reported)),
                }
                assert!(told.is_none_or(|told| told <= reported), "{told:?} {reported}");
            }
        }
    }

    #[test]
    fn only_the_two_words_are_understood() {
        assert_eq!("attainable".parse(), Ok(Advertise::Attainable));
        assert_eq!("bound".parse(), Ok(Advertise::Bound));
        assert!("Bound".parse::<Advertise>().is_err());
    }
}
