//! Sizes of instances: names, cores, and how much network each carries.
//!
//! Source: Tencent Cloud's documentation, "Elastic Network Interface: Use Limits" (ENIs and addresses by
//! cores, the primary ones included).

use eni_core::model::Limits;

/// A size of the family S5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The instance type.
    pub name: &'static str,
    /// Virtual CPUs.
    pub cores: u32,
    /// Memory in GB.
    pub memory: u32,
    /// ENIs and addresses.
    pub limits: Limits,
}

const fn size(name: &'static str, cores: u32, memory: u32, enis: u32, addresses_per_eni: u32) -> Size {
    Size {
        name,
        cores,
        memory,
        limits: Limits {
            enis,
            addresses_per_eni,
        },
    }
}

/// Every size, the smallest first.
pub const SIZES: &[Size] = &[
    size("S5.SMALL2", 1, 2, 2, 6),
    size("S5.MEDIUM4", 2, 4, 4, 10),
    size("S5.LARGE8", 4, 8, 4, 10),
    size("S5.2XLARGE16", 8, 16, 6, 20),
    size("S5.4XLARGE32", 16, 32, 8, 30),
];

/// The smallest size that carries this much, or the largest of all.
pub(super) fn fitting(limits: Limits) -> &'static Size {
    let carries = |size: &&Size| {
        size.limits.enis >= limits.enis && size.limits.addresses_per_eni >= limits.addresses_per_eni
    };
    let largest = SIZES.last().expect("the table has rows");
    SIZES.iter().find(carries).unwrap_or(largest)
}
