//! In which subnets new ENIs are made.

use crate::model::{Subnet, SubnetId};

/// New ENIs for addresses that are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// The subnet of each ENI and how many addresses it gets beyond its own.
    pub enis: Vec<(SubnetId, u32)>,
    /// ENIs could still be made, and no subnet has room for one.
    pub starved: bool,
}

/// Spreads `missing` addresses over up to `slots` new ENIs of up to `per_eni` addresses each.
///
/// Each goes into the subnet with the most free addresses left, as few ENIs as possible; the ENI's own
/// address comes out of the subnet too.
pub fn spread(mut missing: u32, slots: u32, per_eni: u32, subnets: &[Subnet]) -> Spread {
    let mut free: Vec<_> = subnets.iter().map(|subnet| (subnet.free, &subnet.id)).collect();
    let mut spread = Spread::default();
    for _ in 0..slots {
        if missing == 0 || per_eni == 0 {
            break;
        }
        let Some((left, subnet)) = roomiest(&mut free) else {
            spread.starved = true;
            break;
        };
        let secondary = missing.min(per_eni).min(*left - 1);
        *left -= secondary + 1;
        missing -= secondary;
        spread.enis.push(((*subnet).clone(), secondary));
    }
    spread
}

/// The subnet with the most free addresses, if it has room for an ENI's own address and one for a pod.
pub(super) fn roomiest<T: Ord>(free: &mut [(u32, T)]) -> Option<(&mut u32, &T)> {
    let fits = free.iter_mut().filter(|(free, _)| *free >= 2);
    // The first of equals, so that the choice does not depend on a cloud's order of listing.
    fits.max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)))
        .map(|(free, subnet)| (free, &*subnet))
}
