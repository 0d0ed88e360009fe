//! What the agent says that is not in the kernel, and what of ours is in the kernel that the agent does not say.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use agent::introspection::{EniView, Owner};
use eni_netlink::kernel::{Kind, Link, MAIN, Owner as Device, Route, Rule};

use super::{Difference, Kernel, View};

/// The differences, in order.
pub fn compare(view: &View, kernel: &Kernel) -> Vec<Difference> {
    let tables: BTreeMap<&str, Option<u32>> =
        view.enis.iter().map(|eni| (eni.id.as_str(), eni.table)).collect();
    let mut found = BTreeSet::new();
    for eni in &view.enis {
        found.extend(
            of_eni(eni, kernel)
                .into_iter()
                .map(|what| difference(&eni.id, what)),
        );
    }
    for owner in &view.owners {
        let table = tables.get(owner.eni.as_str()).copied().flatten();
        let missing = of_owner(owner, table, kernel);
        found.extend(missing.into_iter().map(|what| difference(&owner.interface, what)));
    }
    let owners: BTreeSet<&str> = view.owners.iter().map(|owner| owner.interface.as_str()).collect();
    for link in &kernel.links {
        if let Device::Pod(key) = link.owner()
            && !owners.contains(key.to_string().as_str())
        {
            found.insert(difference(
                &key.to_string(),
                format!("the device {} is there, and the agent knows no owner", link.name),
            ));
        }
    }
    found.extend(
        kernel
            .leftovers
            .iter()
            .map(|leftover| difference(leftover, "it serves nothing that is there")),
    );
    found.into_iter().collect()
}

/// What of an ENI is not as it should be.
fn of_eni(eni: &EniView, kernel: &Kernel) -> Vec<String> {
    let (Some(index), Some(table)) = (eni.device, eni.table) else {
        return vec!["it is not in service: the agent has not found its device yet".to_owned()];
    };
    let Some(link) = kernel.links.iter().find(|link| link.index == index) else {
        return vec![format!("its device {index} is gone")];
    };
    let mut missing = Vec::new();
    if link.mac.map(|mac| mac.to_string()).as_deref() != Some(eni.mac.as_str()) {
        missing.push(format!(
            "its device {} has another MAC than {}",
            link.name, eni.mac
        ));
    }
    if !link.up {
        missing.push(format!("its device {} is down", link.name));
    }
    let leaves = |route: &&Route| {
        route.table == table
            && route.kind == Kind::Unicast
            && route.link == Some(index)
            && route.destination.prefix_len() == 0
    };
    if !kernel.routes.iter().any(|route| leaves(&route)) {
        missing.push(format!("table {table} has no default route by {}", link.name));
    }
    let ends = |route: &&Route| route.table == table && route.kind == Kind::Unreachable;
    if !kernel.routes.iter().any(|route| ends(&route)) {
        missing.push(format!("table {table} has no last resort"));
    }
    missing
}

/// What of an interface is not as it should be; `table` is that of its ENI.
fn of_owner(owner: &Owner, table: Option<u32>, kernel: &Kernel) -> Vec<String> {
    let is = |link: &&Link| matches!(link.owner(), Device::Pod(key) if key.to_string() == owner.interface);
    let Some(link) = kernel.links.iter().find(is) else {
        return vec!["it has no device; the sandbox is gone, or its ADD is under way".to_owned()];
    };
    let mut missing = Vec::new();
    if !link.up {
        missing.push(format!("its device {} is down", link.name));
    }
    for address in &owner.addresses {
        missing.extend(of_address(*address, link, table, kernel));
    }
    missing
}

fn of_address(address: IpAddr, link: &Link, table: Option<u32>, kernel: &Kernel) -> Vec<String> {
    let mut missing = Vec::new();
    let leads = |route: &Route| {
        route.table == MAIN && route.destination.addr() == address && route.link == Some(link.index)
    };
    if !kernel.routes.iter().any(leads) {
        missing.push(format!("no route leads to {address} by {}", link.name));
    }
    let rules = std::iter::once(Rule::to(address)).chain(table.map(|table| Rule::from(address, table)));
    for rule in rules.filter(|rule| !kernel.rules.contains(rule)) {
        missing.push(format!("{rule} is missing"));
    }
    let knows = |link: u32| {
        kernel
            .neighbours
            .iter()
            .any(|neighbour| neighbour.link == link && neighbour.address == address)
    };
    if !knows(link.index) {
        missing.push(format!("{address} is no permanent neighbour on {}", link.name));
    }
    missing
}

fn difference(subject: &str, what: impl Into<String>) -> Difference {
    Difference {
        subject: subject.to_owned(),
        what: what.into(),
    }
}
