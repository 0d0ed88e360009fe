//! The contract of [`Cloud`]: the harness, and what the cases share.

mod addresses;
mod attaching;
mod enis;
mod places;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use async_trait::async_trait;

pub use {addresses::*, attaching::*, enis::*, places::*};

use crate::{
    cloud::{Cloud, CloudErrorKind, CloudResult, CreateEni, EniFilter},
    model::{Eni, EniId, EniState, InstanceId, SubnetId},
};

/// How often a case looks for the end of an order before it gives up.
const LOOKS: usize = 200;

/// A fresh cloud for one case.
#[async_trait]
pub trait CloudHarness: Send + Sync {
    /// The cloud.
    fn cloud(&self) -> Arc<dyn Cloud>;

    /// A running instance that has its primary ENI alone, and room for one more with two secondary
    /// addresses at least.
    fn instance(&self) -> InstanceId;

    /// A subnet of the instance's zone, with enough free addresses to fill one ENI of the instance and
    /// four more.
    fn subnet(&self) -> SubnetId;

    /// A subnet without a free address; without one, the cases that need it are skipped.
    fn full_subnet(&self) -> Option<SubnetId> {
        None
    }

    /// A subnet of another zone; without one, the cases that need it are skipped.
    fn foreign_subnet(&self) -> Option<SubnetId> {
        None
    }

    /// Lets the cloud work for a while; a case looks again up to 200 times.
    async fn settle(&self);
}

fn request(harness: &dyn CloudHarness, name: &str, secondary: u32) -> CreateEni {
    CreateEni {
        name: name.to_owned(),
        subnet: harness.subnet(),
        secondary,
        security_groups: Vec::new(),
        tags: BTreeMap::from([
            ("suite".to_owned(), "contract".to_owned()),
            ("case".to_owned(), name.to_owned()),
        ]),
        token: format!("token-{name}"),
    }
}

fn unknown_eni() -> EniId {
    EniId::from("eni-00000000")
}

fn kind<T: std::fmt::Debug>(result: CloudResult<T>) -> CloudErrorKind {
    result.expect_err("the cloud must refuse").kind
}

async fn look(harness: &dyn CloudHarness, id: &EniId) -> Option<Eni> {
    let listed = harness
        .cloud()
        .enis(&EniFilter::Ids(vec![id.clone()]))
        .await
        .expect("a listing");
    assert!(listed.len() <= 1, "one id, {} ENIs", listed.len());
    listed.into_iter().next()
}

/// Waits until the ENI (or its absence) is as wanted.
async fn until(harness: &dyn CloudHarness, id: &EniId, wanted: impl Fn(Option<&Eni>) -> bool) -> Option<Eni> {
    let mut eni = None;
    for _ in 0..LOOKS {
        eni = look(harness, id).await;
        if wanted(eni.as_ref()) {
            return eni;
        }
        harness.settle().await;
    }
    panic!("{id} did not come to the wanted state; it is {eni:?}");
}

async fn until_state(harness: &dyn CloudHarness, id: &EniId, state: EniState) -> Eni {
    let found = until(harness, id, |eni| eni.is_some_and(|eni| eni.state == state)).await;
    found.expect("an ENI in a state exists")
}

async fn available(harness: &dyn CloudHarness, name: &str, secondary: u32) -> Eni {
    let eni = harness
        .cloud()
        .create_eni(&request(harness, name, secondary))
        .await
        .expect("an ENI");
    until_state(harness, &eni.id, EniState::Available).await
}

async fn in_use(harness: &dyn CloudHarness, name: &str, secondary: u32) -> Eni {
    let eni = available(harness, name, secondary).await;
    harness
        .cloud()
        .attach_eni(&eni.id, &harness.instance())
        .await
        .expect("attaching");
    until_state(harness, &eni.id, EniState::InUse).await
}

async fn until_addresses(harness: &dyn CloudHarness, id: &EniId, count: usize) -> Eni {
    let whole = |eni: &Eni| eni.addresses.len() == count && eni.addresses.iter().all(|address| address.ready);
    until(harness, id, |eni| eni.is_some_and(whole))
        .await
        .expect("an ENI with addresses exists")
}

fn secondary(eni: &Eni) -> Vec<IpAddr> {
    eni.secondary_addresses().map(|address| address.ip).collect()
}
