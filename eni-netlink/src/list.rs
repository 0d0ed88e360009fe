//! Everything of ours in the node's namespace, as text.

use std::collections::HashMap;

use eni_core::network::NetworkResult;

use crate::kernel::{FAMILIES, Link, Neighbour, Owner, Route, RouteFilter, Rule};
use crate::socket::Netlink;

/// A line for every pod device, rule, route and neighbour of ours; not for devices that only wait for
/// their deletion.
pub(crate) fn list(netlink: &mut Netlink) -> NetworkResult<Vec<String>> {
    let links = Link::read_all(netlink)?;
    let names: HashMap<u32, &str> = links
        .iter()
        .map(|link| (link.index, link.name.as_str()))
        .collect();
    let named = |index: u32| names.get(&index).copied().unwrap_or("(gone)");
    let pods: Vec<_> = links
        .iter()
        .filter(|link| matches!(link.owner(), Owner::Pod(_) | Owner::Unfinished))
        .collect();
    let mut lines = Vec::new();
    for link in &pods {
        let owner = match link.owner() {
            Owner::Pod(key) => key.to_string(),
            _ => "unfinished".to_owned(),
        };
        lines.push(format!("device {} index {} of {owner}", link.name, link.index));
    }
    for family in FAMILIES {
        lines.extend(Rule::read_all(netlink, family)?.iter().map(Rule::to_string));
        let filter = RouteFilter {
            ours: true,
            ..RouteFilter::default()
        };
        for route in Route::read_all(netlink, family, filter)? {
            lines.push(match route.link {
                Some(link) => format!("{route} ({})", named(link)),
                None => route.to_string(),
            });
        }
        for link in &pods {
            for neighbour in Neighbour::read_all(netlink, family, Some(link.index))? {
                lines.push(format!("{neighbour} ({})", link.name));
            }
        }
    }
    Ok(lines)
}
