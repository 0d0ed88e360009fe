//! Which device is the node's primary ENI, the one that its operating system set up.

use eni_core::model::{Family, Mac};
use eni_netlink::{
    kernel::{Link, MAIN, Route, RouteFilter},
    socket::{Netlink, NetlinkError},
};

/// Why there is no telling.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrimaryError {
    /// No device has that name.
    #[error("--primary-interface {0}: there is no such device with a MAC; see `ip link`")]
    NoDevice(String),
    /// Nothing leads out of the node.
    #[error("the node has no default route over a device with a MAC; name its device by --primary-interface")]
    NoRoute,
    /// The kernel does not say.
    #[error(
        "the node's devices and routes cannot be read: {0}; run the agent as root in the node's network namespace"
    )]
    Kernel(#[from] NetlinkError),
}

/// The MAC of the primary ENI: of the device with that name, or of the one by which the default route leaves.
pub(crate) fn find(named: Option<&str>) -> Result<Mac, PrimaryError> {
    let mut netlink = Netlink::open()?;
    let links = Link::read_all(&mut netlink)?;
    let main = RouteFilter {
        table: Some(MAIN),
        ..RouteFilter::default()
    };
    let routes = Route::read_all(&mut netlink, Family::V4, main)?;
    choose(&links, &routes, named)
}

fn choose(links: &[Link], routes: &[Route], named: Option<&str>) -> Result<Mac, PrimaryError> {
    if let Some(name) = named {
        let found = links.iter().find(|link| link.name == name);
        let mac = found.and_then(|link| link.mac);
        return mac.ok_or_else(|| PrimaryError::NoDevice(name.to_owned()));
    }
    let mut defaults: Vec<_> = routes
        .iter()
        .filter(|route| route.destination.prefix_len() == 0)
        .collect();
    defaults.sort_by_key(|route| route.metric);
    let mac = |route: &&Route| {
        let link = links.iter().find(|link| Some(link.index) == route.link)?;
        link.mac
    };
    defaults.iter().find_map(mac).ok_or(PrimaryError::NoRoute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, mac: Option<Mac>) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mac,
            alias: None,
            group: 0,
            up: true,
            mtu: 1500,
            kind: None,
            peer: None,
            rp_filter: None,
        }
    }

    fn default_by(link: u32, metric: u32) -> Route {
        Route {
            metric,
            ..Route::default_via(MAIN, [10, 0, 0, 1].into(), link)
        }
    }

    const PRIMARY: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const SECONDARY: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn links() -> [Link; 3] {
        [
            link(1, "tun0", None),
            link(2, "eth0", Some(PRIMARY)),
            link(3, "eth1", Some(SECONDARY)),
        ]
    }

    #[test]
    fn the_primary_eni_is_where_the_best_default_route_leaves() {
        let elsewhere = Route::to_host([10, 0, 0, 9].into(), 3);
        let routes = [elsewhere, default_by(3, 200), default_by(2, 100)];
        assert_eq!(choose(&links(), &routes, None).unwrap(), PRIMARY);
        // A tunnel is no ENI.
        let tunnelled = [default_by(1, 0), default_by(2, 100)];
        assert_eq!(choose(&links(), &tunnelled, None).unwrap(), PRIMARY);
    }

    #[test]
    fn a_name_counts_more_and_must_be_that_of_a_device_with_a_mac() {
        let routes = [default_by(2, 0)];
        assert_eq!(choose(&links(), &routes, Some("eth1")).unwrap(), SECONDARY);
        for name in ["eth7", "tun0"] {
            let refused = choose(&links(), &routes, Some(name));
            assert!(matches!(refused, Err(PrimaryError::NoDevice(it)) if it == name));
        }
    }

    #[test]
    fn a_node_that_nothing_leads_out_of_has_none() {
        assert!(matches!(choose(&links(), &[], None), Err(PrimaryError::NoRoute)));
    }
}
