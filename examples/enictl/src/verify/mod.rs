//! The agent's view beside the kernel: read here, compared in [`compare()`].

mod compare;
mod socket;
#[cfg(test)]
mod tests;

use std::path::Path;

use agent::introspection::{EniView, Owner};
use eni_core::model::Family;
use eni_netlink::{
    NetlinkNetwork,
    kernel::{Link, Neighbour, Route, RouteFilter, Rule},
    socket::Netlink,
};
use serde::Serialize;

pub use compare::compare;

use crate::{error::Error, table::Row};

/// What the agent says.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Its ENIs.
    pub enis: Vec<EniView>,
    /// Interfaces and what they own.
    pub owners: Vec<Owner>,
}

/// What is in the kernel; of rules and routes what bears our mark.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// All devices.
    pub links: Vec<Link>,
    /// Rules of ours.
    pub rules: Vec<Rule>,
    /// Routes of ours.
    pub routes: Vec<Route>,
    /// Permanent neighbours.
    pub neighbours: Vec<Neighbour>,
    /// What serves nothing that is there, in words.
    pub leftovers: Vec<String>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// Whose it is: an ENI, an interface, or an address.
    pub subject: String,
    /// What is wrong.
    pub what: String,
}

impl Row for Difference {
    const TITLES: &'static [&'static str] = &["SUBJECT", "DIFFERENCE"];

    fn cells(&self) -> Vec<String> {
        vec![self.subject.clone(), self.what.clone()]
    }
}

/// Reads both and compares them. What changes in between would look like a difference, so that only what is found
/// twice is told.
///
/// # Errors
///
/// [`Error::Agent`], [`Error::Netlink`] and [`Error::Network`].
pub async fn verify(path: &Path) -> Result<Vec<Difference>, Error> {
    let first = once(path).await?;
    if first.is_empty() {
        return Ok(first);
    }
    let second = once(path).await?;
    Ok(first
        .into_iter()
        .filter(|difference| second.contains(difference))
        .collect())
}

async fn once(path: &Path) -> Result<Vec<Difference>, Error> {
    let view = View {
        enis: socket::get(path, "/v1/enis").await?,
        owners: socket::get(path, "/v1/owners").await?,
    };
    // This thread serves nobody else, so that it may wait for the kernel.
    Ok(compare(&view, &kernel()?))
}

fn kernel() -> Result<Kernel, Error> {
    let mut netlink = Netlink::open()?;
    let ours = RouteFilter {
        ours: true,
        ..RouteFilter::default()
    };
    let mut kernel = Kernel {
        links: Link::read_all(&mut netlink)?,
        leftovers: leftovers()?,
        ..Kernel::default()
    };
    for family in [Family::V4, Family::V6] {
        kernel.rules.extend(Rule::read_all(&mut netlink, family)?);
        kernel.routes.extend(Route::read_all(&mut netlink, family, ours)?);
        kernel
            .neighbours
            .extend(Neighbour::read_all(&mut netlink, family, None)?);
    }
    Ok(kernel)
}

fn leftovers() -> Result<Vec<String>, Error> {
    let survey = NetlinkNetwork::current()?.survey()?;
    Ok(survey
        .leftovers
        .iter()
        .map(|leftover| format!("{leftover:?}"))
        .collect())
}
