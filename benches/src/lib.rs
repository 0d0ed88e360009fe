//! What the benchmarks share: inputs of a known size.

use std::net::{IpAddr, Ipv4Addr};

use eni_core::model::{EniId, Generation, Mac, NodePool, PoolAddress, PoolEni, SubnetId};
use ipnet::{IpNet, Ipv4Net};

/// Addresses on one ENI of a large instance, its primary one apart.
const PER_ENI: u32 = 29;

/// A node's pool with this many addresses, on as many ENIs as a large instance would need for them.
pub fn pool(addresses: u32) -> NodePool {
    let enis = (0..addresses.div_ceil(PER_ENI)).map(|number| {
        let first = number * PER_ENI;
        eni(number, first..addresses.min(first + PER_ENI))
    });
    NodePool {
        enis: enis.collect(),
        maximum: addresses,
        capacity: addresses,
        granted: 0,
        by_claim: false,
    }
}

fn eni(number: u32, addresses: std::ops::Range<u32>) -> PoolEni {
    let [_, b, c, d] = number.to_be_bytes();
    PoolEni {
        id: EniId::from(format!("eni-{number:08}")),
        mac: Mac([2, 0, 0, b, c, d]),
        subnet: SubnetId::from("subnet-1"),
        cidr: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8)),
        gateway: Ipv4Addr::new(10, 0, 0, 1).into(),
        primary: ip(0x80_0000 + number),
        attached: addresses
            .map(|address| PoolAddress {
                ip: ip(0x100 + address),
                generation: Generation::from_random(address.into()),
            })
            .collect(),
        releasing: Vec::new(),
        reserved: [].into(),
        evicting: Vec::new(),
    }
}

/// The address `10.0.0.0 + offset`.
fn ip(offset: u32) -> IpAddr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + offset).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_the_size_it_is_asked_for() {
        for size in [0, 1, 29, 30, 250] {
            assert_eq!(pool(size).attached(), size as usize);
        }
    }
}
