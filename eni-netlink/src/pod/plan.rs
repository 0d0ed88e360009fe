//! What a wired pod looks like in the kernel; pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use eni_core::network::{PodWiring, Wired};

use crate::identity::{End, LINK_GROUP, PRIMARY_INTERFACE, alias, host_name, mac};
use crate::kernel::{Address, LinkChange, MAIN, Neighbour, Route, Rule, Veth, host};

/// The router that every pod sees; it is nowhere but in the pod's neighbour entry. TKE's VPC-CNI.
pub const V4_ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));

/// Its IPv6 like. Link-local, as a router must be, and in no subnet of the cloud.
pub const V6_ROUTER: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// The metric of a second interface's default route, plus its index: worse than `eth0`'s, and usable by
/// a socket that is bound to the interface.
const SECONDARY_METRIC: u32 = 10_000;

/// What a wired pod looks like in the kernel.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    wiring: &'a PodWiring,
    pub(crate) wired: Wired,
    pub(crate) alias: String,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(wiring: &'a PodWiring) -> Self {
        let key = &wiring.interface.key;
        let wired = Wired {
            host_name: host_name(wiring.interface.pod.as_ref(), key),
            host_mac: mac(key, End::Host),
            pod_mac: mac(key, End::Pod),
        };
        Self {
            wiring,
            wired,
            alias: alias(key),
        }
    }

    pub(crate) fn interface(&self) -> &str {
        &self.wiring.interface.key.interface
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.wiring.addresses.iter()
    }

    pub(crate) fn mtu(&self) -> u32 {
        self.wiring.mtu
    }

    /// The pair of devices, its other end in `namespace`.
    pub(crate) fn veth<'v>(&'v self, namespace: BorrowedFd<'v>) -> Veth<'v> {
        Veth {
            name: &self.wired.host_name,
            mac: self.wired.host_mac,
            group: LINK_GROUP,
            peer_name: self.interface(),
            peer_mac: self.wired.pod_mac,
            peer_namespace: Some(namespace),
            mtu: self.wiring.mtu,
        }
    }

    /// What makes the node's end ours and fit for traffic whose answer may come by another device.
    pub(crate) fn host_change(&self) -> LinkChange {
        LinkChange {
            up: Some(true),
            alias: Some(self.alias.clone()),
            rp_filter: Some(0),
            ..LinkChange::default()
        }
    }

    pub(crate) fn host_route(&self, address: IpAddr, link: u32) -> Route {
        Route::to_host(address, link)
    }

    pub(crate) fn host_neighbour(&self, address: IpAddr, link: u32) -> Neighbour {
        Neighbour {
            link,
            address,
            mac: self.wired.pod_mac,
        }
    }

    /// The rules of one address, in the order of their priority.
    pub(crate) fn rules(&self, address: IpAddr) -> impl Iterator<Item = Rule> + use<> {
        let from = self.wiring.table.map(|table| Rule::from(address, table));
        std::iter::once(Rule::to(address)).chain(from)
    }

    pub(crate) fn pod_address(&self, address: IpAddr, link: u32) -> Address {
        Address::alone(link, address)
    }

    /// The pod's routes of one address: the way to the router, where one must be said, and the default.
    pub(crate) fn pod_routes(&self, address: IpAddr, link: u32) -> impl Iterator<Item = Route> + use<> {
        let primary = self.interface() == PRIMARY_INTERFACE;
        let rank = |route: Route| match primary {
            true => route,
            false => Route {
                metric: SECONDARY_METRIC + link,
                ..route
            },
        };
        let router = router(address);
        let to_router = router
            .is_ipv4()
            .then(|| rank(Route::new(MAIN, host(router), link)));
        let default = rank(Route {
            source: Some(address),
            ..Route::default_via(MAIN, router, link)
        });
        to_router.into_iter().chain([default])
    }

    /// The router's address leads to the node's end.
    pub(crate) fn pod_neighbour(&self, address: IpAddr, link: u32) -> Neighbour {
        Neighbour {
            link,
            address: router(address),
            mac: self.wired.host_mac,
        }
    }
}

fn router(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => V4_ROUTER,
        IpAddr::V6(_) => V6_ROUTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eni_core::model::{PodKey, SandboxKey};
    use eni_core::network::PodInterface;

    fn wiring(interface: &str, table: Option<u32>) -> PodWiring {
        PodWiring {
            interface: PodInterface {
                key: SandboxKey::new("tke", "c1", interface),
                pod: Some(PodKey::new("default", "web-0")),
                addresses: None,
            },
            netns: "/run/netns/c1".into(),
            addresses: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)).into(),
            table,
            mtu: 1500,
        }
    }

    fn lines<T: ToString>(values: impl Iterator<Item = T>) -> Vec<String> {
        values.map(|value| value.to_string()).collect()
    }

    const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

    #[test]
    fn a_pod_of_an_eni_has_two_rules() {
        let wiring = wiring("eth0", Some(4007));
        assert_eq!(
            lines(Plan::new(&wiring).rules(POD)),
            [
                "rule 512 to 10.0.0.7 lookup main",
                "rule 1536 from 10.0.0.7 lookup 4007"
            ]
        );
    }

    #[test]
    fn a_pod_of_the_main_table_has_no_rule_for_its_source() {
        let wiring = wiring("eth0", None);
        assert_eq!(
            lines(Plan::new(&wiring).rules(POD)),
            ["rule 512 to 10.0.0.7 lookup main"]
        );
    }

    #[test]
    fn the_pod_leaves_by_the_router_that_is_nowhere() {
        let wiring = wiring("eth0", None);
        assert_eq!(
            lines(Plan::new(&wiring).pod_routes(POD, 2)),
            [
                "route 169.254.1.1/32 link 2 table main",
                "route 0.0.0.0/0 via 169.254.1.1 link 2 src 10.0.0.7 table main"
            ]
        );
    }

    #[test]
    fn a_second_interface_does_not_compete_with_eth0() {
        let wiring = wiring("net1", None);
        assert!(
            Plan::new(&wiring)
                .pod_routes(POD, 3)
                .all(|route| route.metric == SECONDARY_METRIC + 3)
        );
    }
}
