//! Orders about whole ENIs. Creations carry the caller's token. The others have none that would help, and are
//! idempotent by the ENI's state, which is read again when the API refuses.

use eni_core::{
    cloud::{CloudError, CloudErrorKind, CloudResult, CreateEni},
    model::{Eni, EniId, InstanceId, Zone},
};
use sha2::{Digest, Sha256};

use super::{TencentCloud, senseless};
use crate::{
    api::{
        Action, AttachNetworkInterface, CreateNetworkInterface, DeleteNetworkInterface,
        DetachNetworkInterface, NetworkInterface, Tag,
    },
    client::Failure,
    convert,
    error::Class,
};

/// Bytes of a client token.
const LONGEST_TOKEN: usize = 64;

impl TencentCloud {
    pub(super) async fn create(&self, request: &CreateEni) -> CloudResult<Eni> {
        let subnet = self.place(&request.subnet).await?;
        let order = CreateNetworkInterface {
            vpc_id: subnet.vpc.to_string(),
            subnet_id: request.subnet.to_string(),
            network_interface_name: request.name.clone(),
            security_group_ids: request.security_groups.iter().map(|id| id.to_string()).collect(),
            secondary_private_ip_address_count: Some(request.secondary).filter(|count| *count > 0),
            tags: request
                .tags
                .iter()
                .map(|(key, value)| Tag {
                    key: key.clone(),
                    value: value.clone(),
                })
                .collect(),
            client_token: Some(request.token.as_str())
                .filter(|token| !token.is_empty())
                .map(token),
        };
        let answer = self.send(&order, &request.name).await;
        let created = answer.map_err(|failure| {
            // Only the subnet can be missing: a later call reads again where it is.
            if failure.class() == Some(Class::Gone) {
                self.places.lock().remove(&request.subnet);
            }
            failure.about(&request.name, Some(&request.subnet))
        })?;
        let mut eni = convert::eni(created.network_interface)
            .map_err(|error| senseless(CreateNetworkInterface::NAME, &request.name, error))?;
        // The answer to a creation leaves this out.
        if eni.zone == Zone::from("") {
            eni.zone = subnet.zone;
        }
        Ok(eni)
    }

    pub(super) async fn attach(&self, id: &EniId, instance: &InstanceId) -> CloudResult<()> {
        let _eni = self.turns.take(id.as_str()).await;
        let _instance = self.turns.take(instance.as_str()).await;
        let order = AttachNetworkInterface {
            network_interface_id: id.to_string(),
            instance_id: instance.to_string(),
        };
        let resource = format!("{id} to {instance}");
        let Err(failure) = self.send(&order, &resource).await else {
            return Ok(());
        };
        let there =
            |eni: &NetworkInterface| eni.instance() == Some(instance.as_str()) && eni.state != "DETACHING";
        match self.refused_but(id, &failure).await {
            Some(Some(eni)) if there(&eni) => Ok(()),
            _ => Err(failure.about(&resource, None)),
        }
    }

    pub(super) async fn detach(&self, id: &EniId) -> CloudResult<()> {
        let _eni = self.turns.take(id.as_str()).await;
        let Some(eni) = self.look(id).await? else {
            let message = "there is no such ENI in this region and account";
            let action = DetachNetworkInterface::NAME;
            return Err(CloudError::new(CloudErrorKind::NotFound, action, id, message));
        };
        let Some(instance) = eni.instance().filter(|_| eni.state != "DETACHING") else {
            return Ok(());
        };
        if eni.primary {
            let message = format!("it is the primary ENI of {instance}");
            let action = DetachNetworkInterface::NAME;
            return Err(CloudError::new(CloudErrorKind::Invalid, action, id, message));
        }
        let _instance = self.turns.take(instance).await;
        let order = DetachNetworkInterface {
            network_interface_id: id.to_string(),
            instance_id: instance.to_owned(),
        };
        let Err(failure) = self.send(&order, id.as_str()).await else {
            return Ok(());
        };
        if failure.class() == Some(Class::Gone) {
            return Ok(());
        }
        let leaving = |eni: &NetworkInterface| eni.instance().is_none() || eni.state == "DETACHING";
        match self.refused_but(id, &failure).await {
            Some(Some(eni)) if leaving(&eni) => Ok(()),
            _ => Err(failure.about(id.as_str(), None)),
        }
    }

    pub(super) async fn delete(&self, id: &EniId) -> CloudResult<()> {
        let _eni = self.turns.take(id.as_str()).await;
        let order = DeleteNetworkInterface {
            network_interface_id: id.to_string(),
        };
        let Err(failure) = self.send(&order, id.as_str()).await else {
            return Ok(());
        };
        if failure.class() == Some(Class::Gone) {
            return Ok(());
        }
        match self.refused_but(id, &failure).await {
            Some(Some(eni)) if eni.state == "DELETING" => Ok(()),
            Some(Some(eni)) => Err(why_not_deleted(failure.about(id.as_str(), None), &eni)),
            _ => Err(failure.about(id.as_str(), None)),
        }
    }

    /// The ENI after an order that was refused because of how things are: it may be as ordered already. `None` if
    /// the refusal has nothing to do with it, or if it cannot be read.
    pub(super) async fn refused_but(
        &self,
        id: &EniId,
        failure: &Failure,
    ) -> Option<Option<NetworkInterface>> {
        let about_state = matches!(
            failure.class(),
            Some(
                Class::AlreadySo
                    | Class::Busy
                    | Class::State
                    | Class::Misuse
                    | Class::Gone
                    | Class::AddressTaken
            )
        );
        if !about_state {
            return None;
        }
        match self.look(id).await {
            Ok(eni) => Some(eni),
            Err(error) => {
                tracing::debug!(%id, %error, "after a refusal the ENI could not be read");
                None
            }
        }
    }
}

/// An attached ENI is refused for its state, by whichever code.
fn why_not_deleted(error: CloudError, eni: &NetworkInterface) -> CloudError {
    match eni.instance() {
        Some(instance) => CloudError {
            kind: CloudErrorKind::Conflict,
            message: format!("{} (it is on {instance})", error.message),
            ..error
        },
        None => error,
    }
}

/// A token as the API takes it: 64 characters of ASCII at most.
fn token(text: &str) -> String {
    match text.is_ascii() && text.len() <= LONGEST_TOKEN {
        true => text.to_owned(),
        false => base16ct::lower::encode_string(&Sha256::digest(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_and_stays_the_same() {
        assert_eq!(token("0123456789abcdef"), "0123456789abcdef");
        for long in ["x".repeat(65), "ü".to_owned()] {
            assert!(token(&long).is_ascii() && token(&long).len() == LONGEST_TOKEN);
            assert_eq!(token(&long), token(&long));
        }
        assert_ne!(token(&"x".repeat(65)), token(&"x".repeat(66)));
    }
}
