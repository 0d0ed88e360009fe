//! The devices that kubelet is shown: one for each pod that the instance can carry, as many of them healthy
//! as pods may have an address. To kubelet the healthy ones are the resource's allocatable, all of them its
//! capacity.

use std::collections::BTreeSet;

use eni_core::policy::Allowance;

use crate::proto::device_plugin::{Device, ListAndWatchResponse};

/// Kubelet's words (`Healthy` and `Unhealthy` of its device plugin API).
const HEALTHY: &str = "Healthy";
const UNHEALTHY: &str = "Unhealthy";

/// What every device's id begins with; the rest is its number.
const PREFIX: &str = "address-";

/// All devices, numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Devices {
    total: u32,
    healthy: BTreeSet<u32>,
}

/// What is known of the devices that kubelet has given out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InUse {
    /// The numbers of those that are.
    pub(super) numbers: BTreeSet<u32>,
    /// The others are free.
    pub(super) complete: bool,
}

impl Devices {
    /// The devices by what may be told, after `before`.
    ///
    /// Those in use stay healthy whatever may be told: kubelet refuses a pod, even one that runs, whose
    /// device is not. So none that was healthy changes unless there are too many and it is free for certain.
    pub(super) fn next(allowance: Allowance, before: Option<&Self>, in_use: &InUse) -> Self {
        let mut healthy = before.map_or_else(BTreeSet::new, |before| before.healthy.clone());
        healthy.extend(&in_use.numbers);
        let allowed = allowance.allocatable as usize;
        if in_use.complete {
            let surplus = healthy.len().saturating_sub(allowed);
            let free = healthy
                .iter()
                .rev()
                .filter(|number| !in_use.numbers.contains(number));
            let surplus: Vec<_> = free.take(surplus).copied().collect();
            healthy.retain(|number| !surplus.contains(number));
        }
        let total = healthy.last().map_or(0, |last| last.saturating_add(1));
        let total = total.max(allowance.capacity).max(allowance.allocatable);
        let lacking = allowed.saturating_sub(healthy.len());
        let others = (0..total).filter(|number| !healthy.contains(number));
        let chosen: Vec<_> = others.take(lacking).collect();
        healthy.extend(chosen);
        Self { total, healthy }
    }

    /// How many pods may have an address by this list.
    pub(super) fn allocatable(&self) -> u32 {
        u32::try_from(self.healthy.len()).unwrap_or(u32::MAX)
    }

    /// The list in kubelet's terms.
    pub(super) fn response(&self) -> ListAndWatchResponse {
        let device = |number| Device {
            id: format!("{PREFIX}{number}"),
            health: match self.healthy.contains(&number) {
                true => HEALTHY.to_owned(),
                false => UNHEALTHY.to_owned(),
            },
        };
        ListAndWatchResponse {
            devices: (0..self.total).map(device).collect(),
        }
    }
}

/// The number of a device; `None` for one that is not ours.
pub(super) fn number(id: &str) -> Option<u32> {
    id.strip_prefix(PREFIX)?.parse().ok()
}

/// The `size` devices that kubelet should give out of those `available`: what it must, and then the lowest
/// numbers. A lowered list turns the highest ones that are free unhealthy, so that the two seldom meet.
pub(super) fn preferred(available: &[String], must: &[String], size: usize) -> Vec<String> {
    let mut rest: Vec<_> = available.iter().filter(|id| !must.contains(id)).collect();
    rest.sort_by_key(|id| number(id).unwrap_or(u32::MAX));
    must.iter().chain(rest).take(size).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(allocatable: u32, capacity: u32) -> Allowance {
        Allowance {
            allocatable,
            capacity,
        }
    }

    fn in_use(numbers: impl Into<BTreeSet<u32>>) -> InUse {
        InUse {
            numbers: numbers.into(),
            complete: true,
        }
    }

    fn first(allocatable: u32, capacity: u32) -> Devices {
        Devices::next(allowance(allocatable, capacity), None, &in_use([]))
    }

    fn healthy(devices: &Devices) -> Vec<u32> {
        let response = devices.response().devices;
        let healthy = response.iter().filter(|device| device.health == HEALTHY);
        healthy.map(|device| number(&device.id).unwrap()).collect()
    }

    #[test]
    fn healthy_ones_are_what_may_be_told_and_all_are_the_capacity() {
        let devices = first(3, 5);
        assert_eq!(
            (healthy(&devices), devices.response().devices.len()),
            (vec![0, 1, 2], 5)
        );
        assert_eq!(devices.allocatable(), 3);
        assert_eq!(first(0, 5).allocatable(), 0);
    }

    #[test]
    fn ids_are_distinct_and_short_enough_for_kubelet() {
        let devices = first(1000, 1000).response().devices;
        let ids: BTreeSet<_> = devices.iter().map(|device| &device.id).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() <= 63));
    }

    #[test]
    fn a_lowered_list_spares_what_is_in_use() {
        let lowered = Devices::next(allowance(4, 9), Some(&first(9, 9)), &in_use([1, 7]));
        assert_eq!(healthy(&lowered), [0, 1, 2, 7]);
    }

    #[test]
    fn what_is_in_use_beyond_what_may_be_told_stays_and_is_counted() {
        let lowered = Devices::next(allowance(1, 9), Some(&first(9, 9)), &in_use([2, 5, 6]));
        assert_eq!((healthy(&lowered), lowered.allocatable()), (vec![2, 5, 6], 3));
        // Two of them ended.
        let later = Devices::next(allowance(1, 9), Some(&lowered), &in_use([5]));
        assert_eq!(healthy(&later), [5]);
    }

    #[test]
    fn a_list_that_need_not_change_does_not() {
        let before = Devices::next(allowance(4, 9), Some(&first(9, 9)), &in_use([7, 8]));
        // A kubelet that has just started does not know its pods yet.
        assert_eq!(Devices::next(allowance(4, 9), Some(&before), &in_use([])), before);
    }

    #[test]
    fn while_nobody_knows_what_is_free_a_list_grows_and_is_not_lowered() {
        let before = first(4, 9);
        let unknown = InUse::default();
        assert_eq!(Devices::next(allowance(2, 9), Some(&before), &unknown), before);
        let grown = Devices::next(allowance(6, 9), Some(&before), &unknown);
        assert_eq!(healthy(&grown), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_device_that_is_found_in_use_becomes_healthy() {
        let partly = InUse {
            complete: false,
            ..in_use([8])
        };
        let found = Devices::next(allowance(2, 9), Some(&first(2, 9)), &partly);
        assert_eq!(healthy(&found), [0, 1, 8]);
        assert_eq!(
            healthy(&Devices::next(allowance(2, 9), Some(&found), &in_use([8]))),
            [0, 8]
        );
    }

    #[test]
    fn a_device_in_use_beyond_the_capacity_stays_listed() {
        let devices = Devices::next(allowance(2, 3), None, &in_use([5]));
        assert_eq!(
            (healthy(&devices), devices.response().devices.len()),
            (vec![0, 5], 6)
        );
    }

    #[test]
    fn the_lowest_numbers_are_preferred_after_what_must_be_given() {
        let ids = |numbers: &[u32]| -> Vec<String> {
            numbers.iter().map(|number| format!("{PREFIX}{number}")).collect()
        };
        let available = ids(&[10, 9, 2, 4]);
        assert_eq!(preferred(&available, &[], 2), ids(&[2, 4]));
        assert_eq!(preferred(&available, &ids(&[10]), 2), ids(&[10, 2]));
        assert_eq!(preferred(&available, &[], 9).len(), 4);
    }
}
