//! CHECK: compares a pod interface with the kernel.

use eni_core::model::{Family, Mac};
use eni_core::network::{Discrepancy, NetworkResult, PodWiring};

use super::plan::Plan;
use crate::kernel::{Address, Link, MAIN, Neighbour, Route, RouteFilter, Rule, Side};
use crate::namespace::{Namespace, NamespaceError};
use crate::node::Node;
use crate::socket::{Netlink, NetlinkError};

/// Compares a pod interface with the kernel.
pub(crate) fn verify(node: &Node, wiring: &PodWiring) -> NetworkResult<Vec<Discrepancy>> {
    let plan = Plan::new(wiring);
    let pod = match Namespace::open(&wiring.netns) {
        Ok(pod) => pod,
        Err(NamespaceError::Missing { .. }) => {
            return Ok(vec![Discrepancy {
                what: format!("network namespace {} is missing", wiring.netns),
            }]);
        }
        Err(error) => return Err(error.into()),
    };
    node.with_socket(|netlink| {
        let first = compare(node, netlink, &plan, &pod)?;
        if first.is_empty() {
            return Ok(first);
        }
        // A dump may pass over what is there while other pods come and go: only what is wrong twice is.
        let second = compare(node, netlink, &plan, &pod)?;
        Ok(first
            .into_iter()
            .filter(|difference| second.contains(difference))
            .collect())
    })
}

pub(super) fn compare(
    node: &Node,
    netlink: &mut Netlink,
    plan: &Plan<'_>,
    pod: &Namespace,
) -> NetworkResult<Vec<Discrepancy>> {
    let mut report = Report::default();
    let Some(host) = report.host(netlink, plan)? else {
        return Ok(report.differences);
    };
    node.inside(pod, || report.pod(&mut Netlink::open()?, plan, &host))??;
    Ok(report.differences)
}

#[derive(Default)]
struct Report {
    differences: Vec<Discrepancy>,
}

impl Report {
    /// The node's side; its device, if there is one of ours.
    fn host(&mut self, netlink: &mut Netlink, plan: &Plan<'_>) -> Result<Option<Link>, NetlinkError> {
        let name = &plan.wired.host_name;
        let Some(host) = Link::by_name(netlink, name)? else {
            self.add(format!("device {name} is missing"));
            return Ok(None);
        };
        if host.alias.as_deref() != Some(&plan.alias) {
            let alias = host.alias.as_deref().unwrap_or_default();
            self.add(format!(
                "device {name} has the alias `{alias}` instead of `{}`",
                plan.alias
            ));
            return Ok(None);
        }
        self.link(&host, plan.wired.host_mac, plan.mtu());
        if host.rp_filter != Some(0) {
            self.add(format!(
                "device {name} filters by reverse path; set its rp_filter to 0"
            ));
        }
        for address in plan.addresses() {
            let family = Family::of(address);
            let filter = RouteFilter {
                table: Some(MAIN),
                link: Some(host.index),
                ours: true,
            };
            let routes = Route::read_all(netlink, family, filter)?;
            self.present(&plan.host_route(address, host.index), &routes);
            let neighbours = Neighbour::read_all(netlink, family, Some(host.index))?;
            self.present(&plan.host_neighbour(address, host.index), &neighbours);

            let rules = Rule::read_all(netlink, family)?;
            let wanted: Vec<_> = plan.rules(address).collect();
            wanted.iter().for_each(|rule| self.present(rule, &rules));
            let in_the_way =
                |rule: &&Rule| rule.address == address && rule.side == Side::From && !wanted.contains(rule);
            for rule in rules.iter().filter(in_the_way) {
                self.add(format!("{rule} is in the way"));
            }
        }
        Ok(Some(host))
    }

    /// The pod's side; `netlink` leads into its namespace.
    fn pod(&mut self, netlink: &mut Netlink, plan: &Plan<'_>, host: &Link) -> Result<(), NetlinkError> {
        let name = plan.interface();
        let Some(link) = Link::by_name(netlink, name)? else {
            self.add(format!("interface {name} is missing in the pod"));
            return Ok(());
        };
        if host.peer != Some(link.index) || link.peer != Some(host.index) {
            self.add(format!(
                "interface {name} in the pod is not the other end of {}",
                host.name
            ));
            return Ok(());
        }
        self.link(&link, plan.wired.pod_mac, plan.mtu());
        for address in plan.addresses() {
            let family = Family::of(address);
            let addresses = Address::read_all(netlink, family, Some(link.index))?;
            self.present(&plan.pod_address(address, link.index), &addresses);
            let filter = RouteFilter {
                table: Some(MAIN),
                link: Some(link.index),
                ours: true,
            };
            let routes = Route::read_all(netlink, family, filter)?;
            plan.pod_routes(address, link.index)
                .for_each(|route| self.present(&route, &routes));
            let neighbours = Neighbour::read_all(netlink, family, Some(link.index))?;
            self.present(&plan.pod_neighbour(address, link.index), &neighbours);
        }
        Ok(())
    }

    fn link(&mut self, link: &Link, mac: Mac, mtu: u32) {
        let name = &link.name;
        if !link.up {
            self.add(format!("device {name} is down"));
        }
        if link.mac != Some(mac) {
            let found = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
            self.add(format!("device {name} has the MAC {found} instead of {mac}"));
        }
        if link.mtu != mtu {
            self.add(format!("device {name} has the MTU {} instead of {mtu}", link.mtu));
        }
    }

    fn present<T: PartialEq + ToString>(&mut self, wanted: &T, found: &[T]) {
        if !found.contains(wanted) {
            self.add(format!("{} is missing", wanted.to_string()));
        }
    }

    fn add(&mut self, what: String) {
        self.differences.push(Discrepancy { what });
    }
}
