//! ENIs: creation, attachment, detachment, deletion, attributes.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use eni_core::{
    cloud::{Cloud, CloudErrorKind, CreateEni},
    model::{Eni, EniId, EniKind, EniState, Instance, InstanceId, Limits},
    sim::Chosen,
};
use serde_json::json;

use super::{Answer, members, refusal};
use crate::simulator::{
    desk::{Desk, Notes},
    parameters::Parameters,
    refusal::{Refusal, Verdict, refuse},
};

/// How often the second half of a creation with attachment looks whether the first is over.
const LOOK: Duration = Duration::from_millis(20);

impl Desk {
    pub(super) async fn create(&self, p: &Parameters<'_>, request_id: &str) -> Answer {
        let eni = self.new_eni(p).await?;
        self.tasks.lock().begin(request_id, &self.cloud, &eni.id);
        members(json!({"NetworkInterface": self.render_new(&eni)}))
    }

    pub(super) async fn create_and_attach(&self, p: &Parameters<'_>, request_id: &str) -> Answer {
        let (instance, limits) = self.instance(p, "InstanceId")?;
        let subnet = self.subnet(p, "SubnetId")?;
        if subnet.zone != instance.zone {
            let codes = ["UnsupportedOperation.ZoneMismatch", "UnsupportedOperation"];
            return refuse!(
                p.action.code(&codes),
                "{} is in zone {}.",
                instance.id,
                instance.zone
            );
        }
        self.room(p, &instance, limits)?;
        let eni = self.new_eni(p).await?;
        self.tasks.lock().begin(request_id, &self.cloud, &eni.id);
        let (cloud, id) = (self.cloud.clone(), eni.id.clone());
        self.note_attachment(&id, &instance.id);
        tokio::spawn(async move {
            while cloud.under_way(&id).is_some() {
                tokio::time::sleep(LOOK).await;
            }
            if let Err(error) = cloud.attach_eni(&id, &instance.id).await {
                tracing::warn!(%error, "an ENI was created and could not be attached");
            }
        });
        members(json!({"NetworkInterface": self.render_new(&eni)}))
    }

    async fn new_eni(&self, p: &Parameters<'_>) -> Verdict<Eni> {
        self.vpc(p)?;
        let subnet = self.subnet(p, "SubnetId")?;
        let named = p.addresses("PrivateIpAddresses", "PrivateIpAddress")?;
        let named6 = p.addresses("Ipv6Addresses", "Address")?;
        if named.iter().filter(|address| address.primary).count() > 1 {
            return refuse!("InvalidParameterValue", "More than one address is primary.");
        }
        let secondary = p.number("SecondaryPrivateIpAddressCount").unwrap_or(0);
        let ipv6 = p.number("Ipv6AddressCount").unwrap_or(0);
        let (Ok(secondary), Ok(ipv6)) = (u32::try_from(secondary), u32::try_from(ipv6)) else {
            return refuse!(
                "InvalidParameterValue.Range",
                "A number of addresses is too large."
            );
        };
        let request = CreateEni {
            name: p.text("NetworkInterfaceName")?.to_owned(),
            subnet: subnet.id,
            secondary,
            security_groups: self.groups(p)?,
            tags: p.pairs("Tags", "Key", "Value"),
            // The server of the API answers a repetition itself.
            token: String::new(),
        };
        let secondaries = named.iter().filter(|address| !address.primary).chain(&named6);
        let chosen = Chosen {
            primary: named
                .iter()
                .find(|address| address.primary)
                .map(|address| address.ip),
            secondary: secondaries.map(|address| address.ip).collect(),
            ipv6,
        };
        let eni = self.cloud.create_eni_with(&request, &chosen).await;
        let eni = eni.map_err(|error| match error.kind {
            CloudErrorKind::Conflict => Refusal::new("ResourceInUse", error.message),
            CloudErrorKind::Quota => {
                Refusal::new("LimitExceeded.NetworkInterfaceLimitExceeded", error.message)
            }
            _ => refusal(p.action, error),
        })?;
        let described = |address: &crate::simulator::parameters::NamedAddress| {
            Some((address.ip, address.description.clone()?))
        };
        let addresses: BTreeMap<IpAddr, String> = named.iter().chain(&named6).filter_map(described).collect();
        let created = self.stamp();
        self.note(&eni.id, |notes| {
            *notes = Notes {
                description: p
                    .optional("NetworkInterfaceDescription")
                    .unwrap_or_default()
                    .to_owned(),
                created,
                trunking: p.optional("TrunkingFlag") == Some("Enable"),
                addresses,
                ..Notes::default()
            };
        });
        Ok(eni)
    }

    pub(super) async fn attach(&self, p: &Parameters<'_>, request_id: &str) -> Answer {
        let eni = self.eni(p, "NetworkInterfaceId")?;
        let (instance, limits) = self.instance(p, "InstanceId")?;
        match eni.state {
            EniState::InUse => {
                return refuse!(
                    "UnsupportedOperation.AttachmentAlreadyExists",
                    "`{}` is attached.",
                    eni.id
                );
            }
            EniState::Available => self.idle(p, &eni)?,
            _ => return busy(&eni),
        }
        if eni.zone != instance.zone {
            return refuse!(
                "UnsupportedOperation.ZoneMismatch",
                "`{}` is in zone {}.",
                eni.id,
                eni.zone
            );
        }
        self.room(p, &instance, limits)?;
        self.note_attachment(&eni.id, &instance.id);
        let attached = self.cloud.attach_eni(&eni.id, &instance.id).await;
        attached.map_err(|error| refusal(p.action, error))?;
        self.tasks.lock().begin(request_id, &self.cloud, &eni.id);
        members(json!({}))
    }

    pub(super) async fn detach(&self, p: &Parameters<'_>, request_id: &str) -> Answer {
        let eni = self.eni(p, "NetworkInterfaceId")?;
        self.secondary_on(&eni, p.text("InstanceId")?)?;
        match eni.state {
            EniState::InUse => self.idle(p, &eni)?,
            _ => return busy(&eni),
        }
        let detached = self.cloud.detach_eni(&eni.id).await;
        detached.map_err(|error| refusal(p.action, error))?;
        self.tasks.lock().begin(request_id, &self.cloud, &eni.id);
        members(json!({}))
    }

    pub(super) async fn migrate_eni(&self, p: &Parameters<'_>, request_id: &str) -> Answer {
        let eni = self.eni(p, "NetworkInterfaceId")?;
        if eni.instance.as_ref().map(InstanceId::as_str) != Some(p.text("SourceInstanceId")?) {
            return refuse!(
                "UnsupportedOperation.AttachmentNotFound",
                "`{}` is not on that instance.",
                eni.id
            );
        }
        self.secondary_on(&eni, p.text("SourceInstanceId")?)?;
        let (target, limits) = self.instance(p, "DestinationInstanceId")?;
        self.room(p, &target, limits)?;
        self.idle(p, &eni)?;
        self.note_attachment(&eni.id, &target.id);
        let moved = self.cloud.migrate_eni(&eni.id, &target.id).await;
        moved.map_err(|error| refusal(p.action, error))?;
        self.tasks.lock().begin(request_id, &self.cloud, &eni.id);
        members(json!({}))
    }

    pub(super) async fn delete(&self, p: &Parameters<'_>, request_id: &str) -> Answer {
        let eni = self.eni(p, "NetworkInterfaceId")?;
        if eni.kind == EniKind::Primary {
            return refuse!(
                "UnsupportedOperation",
                "`{}` is a primary network interface.",
                eni.id
            );
        }
        match eni.state {
            // One that is stuck in its creation can be deleted.
            EniState::Available | EniState::Pending => self.idle(p, &eni)?,
            EniState::InUse => return refuse!("ResourceInUse", "`{}` is attached.", eni.id),
            _ => return busy(&eni),
        }
        let deleted = self.cloud.delete_eni(&eni.id).await;
        deleted.map_err(|error| refusal(p.action, error))?;
        self.tasks.lock().begin(request_id, &self.cloud, &eni.id);
        members(json!({}))
    }

    pub(super) fn modify_eni(&self, p: &Parameters<'_>) -> Answer {
        let eni = self.eni(p, "NetworkInterfaceId")?;
        if let Some(name) = p.optional("NetworkInterfaceName") {
            self.cloud.rename_eni(&eni.id, name);
        }
        let groups = self.groups(p)?;
        if !groups.is_empty() {
            self.cloud.set_security_groups(&eni.id, groups);
        }
        self.note(&eni.id, |notes| {
            if let Some(text) = p.optional("NetworkInterfaceDescription") {
                text.clone_into(&mut notes.description);
            }
            if let Some(flag) = p.optional("TrunkingFlag") {
                notes.trunking = flag == "Enable";
            }
        });
        members(json!({}))
    }

    /// Nothing is under way on the ENI.
    pub(super) fn idle(&self, p: &Parameters<'_>, eni: &Eni) -> Verdict<()> {
        let codes = [
            "UnsupportedOperation.MutexOperationTaskRunning",
            "UnsupportedOperation.InvalidState",
            "UnsupportedOperation",
        ];
        match self.cloud.under_way(&eni.id) {
            Some(_) => refuse!(
                p.action.code(&codes),
                "Another operation on `{}` is running.",
                eni.id
            ),
            None => Ok(()),
        }
    }

    /// The instance takes one more ENI of the type that is asked for. No instance here takes extended ones.
    fn room(&self, p: &Parameters<'_>, instance: &Instance, limits: Limits) -> Verdict<()> {
        let (held, limit) = match p.number("AttachType") {
            None | Some(0) => (self.cloud.enis_of(&instance.id).len(), limits.enis as usize),
            Some(1) => (0, 0),
            Some(other) => return refuse!("InvalidParameterValue", "There is no attach type {other}."),
        };
        match held < limit {
            true => Ok(()),
            false => refuse!(
                "LimitExceeded",
                "`{}` has {held} network interfaces, its limit.",
                instance.id
            ),
        }
    }

    fn secondary_on(&self, eni: &Eni, instance: &str) -> Verdict<()> {
        if eni.kind == EniKind::Primary {
            return refuse!(
                "UnsupportedOperation",
                "`{}` is a primary network interface.",
                eni.id
            );
        }
        match eni.instance.as_ref().map(InstanceId::as_str) == Some(instance) {
            true => Ok(()),
            false => refuse!(
                "ResourceNotFound",
                "`{}` is not attached to `{instance}`.",
                eni.id
            ),
        }
    }

    /// The ENI becomes the instance's next device.
    fn note_attachment(&self, eni: &EniId, instance: &InstanceId) {
        let stamp = self.stamp();
        let others: Vec<EniId> = self
            .cloud
            .enis_of(instance)
            .into_iter()
            .map(|eni| eni.id)
            .collect();
        let mut notes = self.notes.lock();
        let device = |id: &EniId| notes.get(id).map_or(0, |notes| notes.device);
        let taken: Vec<u64> = others.iter().filter(|other| *other != eni).map(device).collect();
        let free = (1..).find(|index| !taken.contains(index)).unwrap_or(1);
        let notes = notes.entry(eni.clone()).or_default();
        (notes.device, notes.attached) = (free, stamp);
    }
}

fn busy<T>(eni: &Eni) -> Verdict<T> {
    refuse!(
        "UnsupportedOperation.InvalidState",
        "`{}` is {:?}.",
        eni.id,
        eni.state
    )
}
