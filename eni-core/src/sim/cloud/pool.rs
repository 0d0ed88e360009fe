//! The addresses of one range of a subnet.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

/// Gives out the lowest free address of a range.
///
/// Three addresses are never given out: the network's own, the one after it (the gateway) and the last,
/// as Tencent Cloud does (a /24 has 253 usable ones).
#[derive(Debug)]
pub(super) struct AddressPool {
    cidr: IpNet,
    /// The lowest and the highest usable address, as numbers.
    first: u128,
    last: u128,
    /// Everything from here on was never given out, unless it is in `taken`.
    fresh: u128,
    taken: BTreeSet<u128>,
    /// Given back below `fresh`.
    returned: BTreeSet<u128>,
}

impl AddressPool {
    pub(super) fn new(cidr: IpNet) -> Self {
        let first = number(cidr.network()).saturating_add(2);
        let last = number(cidr.broadcast()).saturating_sub(1);
        Self {
            cidr,
            first,
            last,
            fresh: first,
            taken: BTreeSet::new(),
            returned: BTreeSet::new(),
        }
    }

    pub(super) fn cidr(&self) -> IpNet {
        self.cidr
    }

    pub(super) fn gateway(&self) -> IpAddr {
        self.address(number(self.cidr.network()).saturating_add(1))
    }

    /// How many addresses are free; the largest `u32` stands for more.
    pub(super) fn free(&self) -> u32 {
        let usable = (self.last + 1).saturating_sub(self.first);
        u32::try_from(usable - self.taken.len() as u128).unwrap_or(u32::MAX)
    }

    /// Takes any free address.
    pub(super) fn take(&mut self) -> Option<IpAddr> {
        if let Some(number) = self.returned.pop_first() {
            self.taken.insert(number);
            return Some(self.address(number));
        }
        while self.fresh <= self.last {
            let number = self.fresh;
            self.fresh += 1;
            if self.taken.insert(number) {
                return Some(self.address(number));
            }
        }
        None
    }

    /// Whether the address is one that the pool gives out, free or not.
    pub(super) fn serves(&self, ip: IpAddr) -> bool {
        self.cidr.contains(&ip) && (self.first..=self.last).contains(&number(ip))
    }

    /// Takes this address, if it is free.
    pub(super) fn take_exactly(&mut self, ip: IpAddr) -> bool {
        let number = number(ip);
        self.returned.remove(&number);
        self.serves(ip) && self.taken.insert(number)
    }

    /// Whether the address is taken.
    pub(super) fn is_taken(&self, ip: IpAddr) -> bool {
        self.serves(ip) && self.taken.contains(&number(ip))
    }

    /// Gives an address back.
    pub(super) fn give_back(&mut self, ip: IpAddr) {
        let number = number(ip);
        if self.serves(ip) && self.taken.remove(&number) && number < self.fresh {
            self.returned.insert(number);
        }
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.cidr {
            IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(cidr: &str) -> AddressPool {
        AddressPool::new(cidr.parse().unwrap())
    }

    #[test]
    fn three_addresses_are_reserved() {
        let mut pool = pool("10.0.0.0/29");
        assert_eq!(pool.gateway().to_string(), "10.0.0.1");
        assert_eq!(pool.free(), 5);
        let given: Vec<_> = std::iter::from_fn(|| pool.take())
            .map(|ip| ip.to_string())
            .collect();
        assert_eq!(
            given,
            ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
        );
        assert_eq!(pool.free(), 0);
    }

    #[test]
    fn what_is_given_back_is_given_out_again_once() {
        let mut pool = pool("10.0.0.0/29");
        let ip = pool.take().unwrap();
        pool.give_back(ip);
        pool.give_back(ip);
        assert_eq!(pool.free(), 5);
        assert_eq!(pool.take(), Some(ip));
        assert_ne!(pool.take(), Some(ip));
    }

    #[test]
    fn an_exact_address_is_taken_once_and_skipped() {
        let mut pool = pool("10.0.0.0/29");
        let second = "10.0.0.3".parse().unwrap();
        assert!(pool.take_exactly(second) && !pool.take_exactly(second));
        assert!(
            !pool.take_exactly("10.0.0.1".parse().unwrap()),
            "the gateway is reserved"
        );
        assert!(
            !pool.take_exactly("10.0.1.2".parse().unwrap()),
            "another subnet's"
        );
        let given: Vec<_> = std::iter::from_fn(|| pool.take())
            .map(|ip| ip.to_string())
            .collect();
        assert_eq!(given, ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
    }

    #[test]
    fn tiny_and_huge_ranges_work() {
        assert_eq!(pool("10.0.0.0/31").free(), 0);
        assert_eq!(pool("10.0.0.0/32").free(), 0);
        let mut huge = pool("2001:db8::/64");
        assert_eq!(huge.free(), u32::MAX);
        assert_eq!(huge.take().unwrap().to_string(), "2001:db8::2");
    }
}
