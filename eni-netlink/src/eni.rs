//! ENIs in and out of service: address, table, rules.

use std::collections::BTreeMap;
use std::net::IpAddr;

use eni_core::model::{Family, Mac};
use eni_core::network::{EniLink, EniSetup, NetworkError, NetworkResult};
use nix::errno::Errno;
use parking_lot::Mutex;
use rtnetlink::packet_route::link::InfoKind;

use crate::earlier;
use crate::error::all_of;
use crate::identity::{FROM_POD, PROTOCOL, TABLE_BASE, table_of};
use crate::kernel::{Address, FAMILIES, Kind, Link, LinkChange, MAIN, Route, RouteFilter, Rule, Side, host};
use crate::socket::{Netlink, Request, tolerate};

/// The protocol number of routes that the kernel makes of addresses (RTPROT_KERNEL).
const BY_KERNEL: u8 = 2;

/// The table that each ENI last had. What the kernel itself remembers of it is the rule for its own
/// address; this helps where that is not known either.
#[derive(Debug, Default)]
pub(crate) struct Tables(Mutex<BTreeMap<Mac, u32>>);

impl Tables {
    /// The ENIs in service.
    pub(crate) fn macs(&self) -> Vec<Mac> {
        self.0.lock().keys().copied().collect()
    }
}

/// Puts an ENI into service.
pub(crate) fn ensure(netlink: &mut Netlink, tables: &Tables, eni: &EniSetup) -> NetworkResult<EniLink> {
    let links = Link::read_all(netlink)?;
    let earlier = earlier_table(netlink, eni.primary)?;
    let Some(link) = device(&links, eni.mac) else {
        // Remembered for a removal that may follow.
        if let Some(table) = earlier {
            tables.0.lock().insert(eni.mac, table);
        }
        return Err(NetworkError::NoDevice { mac: eni.mac });
    };
    let table = table_of(link.index);
    set_up(netlink, eni, link, table)?;
    supersede(netlink, eni.primary)?;
    if let Some(earlier) = earlier.filter(|earlier| *earlier != table) {
        tracing::info!(mac = %eni.mac, earlier, table, "the ENI has another index; its rules follow");
        repoint(netlink, eni, &links, earlier, table)?;
    }
    tables.0.lock().insert(eni.mac, table);
    Ok(EniLink {
        index: link.index,
        table,
    })
}

/// Takes an ENI out of service, whether or not its device is still there.
pub(crate) fn remove(netlink: &mut Netlink, tables: &Tables, mac: Mac) -> NetworkResult<()> {
    let links = Link::read_all(netlink)?;
    let present = device(&links, mac);
    let mut gone: Vec<u32> = match (present, tables.0.lock().get(&mac)) {
        (Some(link), last) => [Some(table_of(link.index)), last.copied()]
            .into_iter()
            .flatten()
            .collect(),
        (None, Some(last)) => vec![*last],
        (None, None) => Vec::new(),
    };
    if gone.is_empty() {
        gone = orphans(netlink, tables, &links)?;
    }
    gone.dedup();
    let mut errors = Vec::new();
    for table in gone {
        if let Some(link) = present {
            errors.extend(remove_own_addresses(netlink, link, table).err());
        }
        errors.extend(clear(netlink, table).err());
    }
    all_of(&format!("remove ENI {mac}"), errors)?;
    tables.0.lock().remove(&mac);
    Ok(())
}

/// The device with that MAC. Devices made upon another may have borrowed it.
pub(crate) fn device(links: &[Link], mac: Mac) -> Option<&Link> {
    let borrowed = |link: &Link| {
        matches!(
            link.kind,
            Some(
                InfoKind::Vlan
                    | InfoKind::MacVlan
                    | InfoKind::MacVtap
                    | InfoKind::IpVlan
                    | InfoKind::IpVtap
                    | InfoKind::Bridge
                    | InfoKind::Bond
            )
        )
    };
    links.iter().find(|link| link.mac == Some(mac) && !borrowed(link))
}

fn set_up(netlink: &mut Netlink, eni: &EniSetup, link: &Link, table: u32) -> NetworkResult<()> {
    let family = Family::of(eni.primary);
    // With the last resort alone, traffic from the ENI's addresses stops; without, it leaves by eth0.
    let resorts = FAMILIES.map(|family| Route::last_resort(table, family));
    let connected = Route {
        protocol: BY_KERNEL,
        ..Route::new(MAIN, eni.cidr.trunc(), link.index)
    };
    let up = LinkChange {
        up: Some(true),
        rp_filter: Some(0),
        ..LinkChange::default()
    };
    let requests = [
        (Link::change(link.index, &up), &[][..]),
        (
            Address::alone(link.index, eni.primary).add(),
            &[Errno::EEXIST][..],
        ),
        // Left by a DHCP client it would lead the node's own traffic with the subnet out of this ENI.
        (connected.delete(), &[Errno::ESRCH][..]),
        (resorts[0].add(), &[Errno::EEXIST][..]),
        (
            resorts[1].add(),
            &[Errno::EEXIST, Errno::EAFNOSUPPORT, Errno::EOPNOTSUPP][..],
        ),
        (Rule::from(eni.primary, table).add(), &[Errno::EEXIST][..]),
    ];
    let (requests, tolerated): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
    for (outcome, errnos) in netlink.exchange(&requests)?.into_iter().zip(tolerated) {
        tolerate(outcome, errnos)?;
    }
    set_router(
        netlink,
        family,
        Route::default_via(table, eni.gateway, link.index),
    )
}

/// Deletes the rules by which an earlier plugin led the ENI's own address.
fn supersede(netlink: &mut Netlink, primary: IpAddr) -> NetworkResult<()> {
    for (rule, protocol) in Rule::read_every(netlink, Family::of(primary))? {
        if rule.address == primary && earlier::is_superseded(&rule, protocol) {
            tracing::info!(%rule, protocol, "a rule of an earlier plugin gives way");
            all_gone(netlink, &[rule.delete_of(protocol)])?;
        }
    }
    Ok(())
}

/// Puts the default route in place, over one of ours that differs, never over somebody else's.
fn set_router(netlink: &mut Netlink, family: Family, wanted: Route) -> NetworkResult<()> {
    let filter = RouteFilter {
        table: Some(wanted.table),
        ..RouteFilter::default()
    };
    let there = Route::read_all(netlink, family, filter)?
        .into_iter()
        .find(|route| {
            route.kind != Kind::Unreachable
                && route.destination == wanted.destination
                && route.metric == wanted.metric
        });
    match there {
        Some(there) if there == wanted => {}
        Some(there) if there.protocol != PROTOCOL => {
            return Err(NetworkError::Foreign {
                what: there.to_string(),
            });
        }
        Some(_) => drop(netlink.request(wanted.replace())?),
        None => drop(netlink.request(wanted.add())?),
    }
    Ok(())
}

/// The table that the rule for an ENI's own address leads to.
fn earlier_table(netlink: &mut Netlink, primary: IpAddr) -> NetworkResult<Option<u32>> {
    let rules = Rule::read_all(netlink, Family::of(primary))?;
    let own = rules
        .iter()
        .find(|rule| rule.address == primary && leads_to_eni(rule));
    Ok(own.map(|rule| rule.table))
}

fn leads_to_eni(rule: &Rule) -> bool {
    rule.side == Side::From && rule.priority == FROM_POD && rule.table > TABLE_BASE
}

/// Moves the rules of the earlier table to the present one, then removes that table. If its number
/// belongs to another device by now, only the ENI's own rule is known to be stale.
fn repoint(
    netlink: &mut Netlink,
    eni: &EniSetup,
    links: &[Link],
    earlier: u32,
    table: u32,
) -> NetworkResult<()> {
    let taken = links.iter().any(|link| table_of(link.index) == earlier);
    for family in FAMILIES {
        let rules = Rule::read_all(netlink, family)?;
        let stale = rules
            .iter()
            .filter(|rule| rule.table == earlier && leads_to_eni(rule));
        for rule in stale.filter(|rule| !taken || rule.address == eni.primary) {
            let requests = [Rule { table, ..*rule }.add(), rule.delete()];
            for outcome in netlink.exchange(&requests)? {
                tolerate(outcome, &[Errno::EEXIST, Errno::ENOENT])?;
            }
        }
    }
    if taken { Ok(()) } else { clear(netlink, earlier) }
}

/// Tables of ours whose device is gone, without those that another ENI is known to have had.
fn orphans(netlink: &mut Netlink, tables: &Tables, links: &[Link]) -> NetworkResult<Vec<u32>> {
    let mut found = Vec::new();
    for family in FAMILIES {
        let filter = RouteFilter {
            ours: true,
            ..RouteFilter::default()
        };
        found.extend(
            Route::read_all(netlink, family, filter)?
                .iter()
                .map(|route| route.table),
        );
        found.extend(Rule::read_all(netlink, family)?.iter().map(|rule| rule.table));
    }
    let known = tables.0.lock();
    let alive = |table: &u32| links.iter().any(|link| table_of(link.index) == *table);
    found.retain(|table| *table > TABLE_BASE && !alive(table) && !known.values().any(|other| other == table));
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Removes the addresses for which a rule of ours leads to the ENI's table: they were added by us.
fn remove_own_addresses(netlink: &mut Netlink, link: &Link, table: u32) -> NetworkResult<()> {
    for family in FAMILIES {
        let rules = Rule::read_all(netlink, family)?;
        let own = |address: &&Address| {
            let ip = address.address.addr();
            address.address == host(ip)
                && rules
                    .iter()
                    .any(|rule| rule.table == table && leads_to_eni(rule) && rule.address == ip)
        };
        let addresses = Address::read_all(netlink, family, Some(link.index))?;
        let requests: Vec<_> = addresses.iter().filter(own).map(Address::delete).collect();
        all_gone(netlink, &requests)?;
    }
    Ok(())
}

/// Removes what is ours of a table: the rules to it, then its routes.
pub(crate) fn clear(netlink: &mut Netlink, table: u32) -> NetworkResult<()> {
    for family in FAMILIES {
        let rules = Rule::read_all(netlink, family)?;
        let rules = rules.iter().filter(|rule| rule.table == table).map(Rule::delete);
        let filter = RouteFilter {
            table: Some(table),
            ours: true,
            ..RouteFilter::default()
        };
        let routes = Route::read_all(netlink, family, filter)?;
        let requests: Vec<_> = rules.chain(routes.iter().map(Route::delete)).collect();
        all_gone(netlink, &requests)?;
    }
    Ok(())
}

fn all_gone(netlink: &mut Netlink, requests: &[Request]) -> NetworkResult<()> {
    for outcome in netlink.exchange(requests)? {
        tolerate(
            outcome,
            &[Errno::ENOENT, Errno::ESRCH, Errno::EADDRNOTAVAIL, Errno::ENODEV],
        )?;
    }
    Ok(())
}
