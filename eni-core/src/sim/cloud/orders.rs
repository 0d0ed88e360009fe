//! How the cloud judges an order about an ENI: what it refuses, and what it begins.

use tokio::time::Instant;

use super::{
    Chosen,
    state::{EniEntry, Order, State},
};
use crate::{
    cloud::{CloudErrorKind, CreateEni},
    model::{Eni, EniAddress, EniId, EniKind, EniState, InstanceId, InstanceState, SecurityGroupId},
};

/// Why an order is not taken.
pub(super) struct Refusal {
    pub(super) kind: CloudErrorKind,
    pub(super) message: String,
}

pub(super) type Verdict<T> = Result<T, Refusal>;

pub(super) fn refuse<T>(kind: CloudErrorKind, message: impl Into<String>) -> Verdict<T> {
    Err(Refusal {
        kind,
        message: message.into(),
    })
}

impl State {
    pub(super) fn create(&mut self, now: Instant, request: &CreateEni, chosen: &Chosen) -> Verdict<Eni> {
        let token = Some(&request.token).filter(|token| self.capabilities.client_tokens && !token.is_empty());
        if let Some((first, answer)) = token.and_then(|token| self.tokens.get(token)) {
            if first != request {
                return refuse(
                    CloudErrorKind::Invalid,
                    "the client token was used for another request",
                );
            }
            return Ok(self
                .enis
                .get(&answer.id)
                .map_or(answer, |entry| &entry.eni)
                .clone());
        }
        if self
            .eni_quota
            .is_some_and(|quota| self.enis.len() >= quota as usize)
        {
            return refuse(CloudErrorKind::Quota, "the VPC has as many ENIs as it may have");
        }
        let Some(subnet) = self.subnets.get_mut(&request.subnet) else {
            return refuse(
                CloudErrorKind::NotFound,
                format!("there is no subnet {}", request.subnet),
            );
        };
        let zone = subnet.zone.clone();
        let mut addresses = chosen
            .take(subnet, &request.subnet, request.secondary)?
            .into_iter();
        let primary = addresses
            .next()
            .expect("the primary address is the first of them");
        let mut eni = self.new_eni(
            request.name.clone(),
            EniKind::Secondary,
            &request.subnet,
            zone,
            primary,
        );
        eni.addresses.extend(addresses.map(|ip| EniAddress {
            ip,
            primary: false,
            ready: false,
        }));
        eni.tags = request.tags.clone();
        eni.security_groups = request.security_groups.clone();
        if eni.security_groups.is_empty() {
            eni.security_groups.push(SecurityGroupId::from("sg-default"));
        }
        if let Some(token) = token {
            self.tokens.insert(token.clone(), (request.clone(), eni.clone()));
        }
        self.enis.insert(
            eni.id.clone(),
            EniEntry {
                eni: eni.clone(),
                order: None,
            },
        );
        self.begin(now, &eni.id, Order::Create, self.latency.create);
        Ok(eni)
    }

    pub(super) fn attach(&mut self, now: Instant, id: &EniId, target: &InstanceId) -> Verdict<()> {
        let eni = &self.known(id)?.eni;
        if eni.instance.as_ref() == Some(target) && eni.state != EniState::Detaching {
            return Ok(());
        }
        let eni = self.idle(id)?;
        if let Some(other) = &eni.instance {
            return refuse(CloudErrorKind::Conflict, format!("{id} is on {other}"));
        }
        self.fits(eni, target)?;
        if let Some(entry) = self.enis.get_mut(id) {
            entry.eni.state = EniState::Attaching;
            entry.eni.instance = Some(target.clone());
        }
        if let Some(on) = self.instances.get_mut(target) {
            on.enis.insert(id.clone());
        }
        self.begin(now, id, Order::Attach, self.latency.attach);
        Ok(())
    }

    /// Whether an ENI can go to an instance.
    pub(super) fn fits(&self, eni: &Eni, target: &InstanceId) -> Verdict<()> {
        let Some(on) = self.instances.get(target) else {
            return refuse(CloudErrorKind::NotFound, format!("there is no instance {target}"));
        };
        if on.instance.state == InstanceState::Terminated {
            return refuse(
                CloudErrorKind::NotFound,
                format!("instance {target} is terminated"),
            );
        }
        if on.instance.zone != eni.zone {
            let zones = format!(
                "{} is in zone {}, {target} in {}",
                eni.id, eni.zone, on.instance.zone
            );
            return refuse(CloudErrorKind::Invalid, zones);
        }
        if on.enis.len() >= on.limits.enis as usize {
            return refuse(
                CloudErrorKind::Quota,
                format!("{target} has {} ENIs, its limit", on.enis.len()),
            );
        }
        let v4 = eni
            .addresses
            .iter()
            .filter(|address| address.ip.is_ipv4())
            .count();
        if v4 > on.limits.addresses_per_eni as usize {
            let limit = on.limits.addresses_per_eni;
            return refuse(
                CloudErrorKind::Quota,
                format!("{target} takes {limit} addresses per ENI"),
            );
        }
        Ok(())
    }

    pub(super) fn detach(&mut self, now: Instant, id: &EniId) -> Verdict<()> {
        let eni = &self.known(id)?.eni;
        if eni.instance.is_none() || eni.state == EniState::Detaching {
            return Ok(());
        }
        if eni.kind == EniKind::Primary {
            return refuse(CloudErrorKind::Invalid, format!("{id} is a primary ENI"));
        }
        self.idle(id)?;
        if let Some(entry) = self.enis.get_mut(id) {
            entry.eni.state = EniState::Detaching;
        }
        self.begin(now, id, Order::Detach, self.latency.detach);
        Ok(())
    }

    pub(super) fn delete(&mut self, now: Instant, id: &EniId) -> Verdict<()> {
        let Some(EniEntry { eni, .. }) = self.enis.get(id) else {
            return Ok(());
        };
        if eni.state == EniState::Deleting {
            return Ok(());
        }
        if eni.kind == EniKind::Primary {
            return refuse(CloudErrorKind::Invalid, format!("{id} is a primary ENI"));
        }
        let eni = self.idle(id)?;
        if let Some(instance) = &eni.instance {
            return refuse(CloudErrorKind::Conflict, format!("{id} is on {instance}"));
        }
        if let Some(entry) = self.enis.get_mut(id) {
            entry.eni.state = EniState::Deleting;
        }
        self.begin(now, id, Order::Delete, self.latency.delete);
        Ok(())
    }

    pub(super) fn known(&self, id: &EniId) -> Verdict<&EniEntry> {
        match self.enis.get(id) {
            Some(entry) => Ok(entry),
            None => refuse(CloudErrorKind::NotFound, format!("there is no ENI {id}")),
        }
    }

    /// The ENI, if nothing is under way on it.
    pub(super) fn idle(&self, id: &EniId) -> Verdict<&Eni> {
        let entry = self.known(id)?;
        match &entry.order {
            Some(_) => refuse(
                CloudErrorKind::Conflict,
                format!("an operation on {id} is under way"),
            ),
            None => Ok(&entry.eni),
        }
    }
}
