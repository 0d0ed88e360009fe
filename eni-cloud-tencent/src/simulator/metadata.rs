//! The metadata service of an instance: plain text by path, and the keys of its role.
//!
//! Source: Tencent Cloud's documentation, "CVM: Querying Instance Metadata".

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
};
use eni_core::model::{Eni, EniKind, InstanceId, Mac, Subnet};
use jiff::SignedDuration;
use serde_json::json;

use super::{
    catalogue,
    desk::{Desk, OWNER},
};

/// How long the keys of a role are good.
const LIFE: SignedDuration = SignedDuration::from_hours(6);

struct Metadata {
    desk: Arc<Desk>,
    instance: InstanceId,
    role: Option<String>,
}

pub(super) fn router(desk: Arc<Desk>, instance: InstanceId, role: Option<String>) -> Router {
    let metadata = Metadata { desk, instance, role };
    Router::new().fallback(answer).with_state(Arc::new(metadata))
}

async fn answer(State(metadata): State<Arc<Metadata>>, request: Request) -> (StatusCode, String) {
    let path = request.uri().path().strip_prefix("/latest/meta-data/");
    match path.and_then(|path| metadata.look_up(path)) {
        Some(text) => (StatusCode::OK, text),
        None => (StatusCode::NOT_FOUND, "Not Found".to_owned()),
    }
}

impl Metadata {
    fn look_up(&self, path: &str) -> Option<String> {
        let (instance, limits) = self.desk.cloud.instance(&self.instance)?;
        let enis = self.desk.cloud.enis_of(&self.instance);
        let primary = enis.iter().find(|eni| eni.kind == EniKind::Primary)?;
        if let Some(rest) = path.strip_prefix("network/interfaces/macs/") {
            return self.interfaces(&enis, rest);
        }
        if let Some(rest) = path.strip_prefix("cam/security-credentials/") {
            return self.role(rest);
        }
        Some(match path {
            "instance-id" | "instance-name" => instance.id.to_string(),
            "local-ipv4" => primary.primary_address()?.to_string(),
            "mac" => upper(primary.mac),
            "placement/region" => self.desk.settings.region.clone(),
            "placement/zone" => instance.zone.to_string(),
            "instance/instance-type" => catalogue::fitting(limits).name.to_owned(),
            "instance/security-group" => primary.security_groups.first()?.to_string(),
            "app-id" => OWNER.to_owned(),
            _ => return None,
        })
    }

    /// The part below `network/interfaces/macs/`. Paths have the MAC in upper case.
    fn interfaces(&self, enis: &[Eni], path: &str) -> Option<String> {
        if path.is_empty() {
            return Some(lines(enis.iter().map(|eni| format!("{}/", upper(eni.mac)))));
        }
        let (mac, rest) = path.split_once('/')?;
        let eni = enis.iter().find(|eni| upper(eni.mac) == mac)?;
        let v4: Vec<IpAddr> = eni
            .addresses
            .iter()
            .map(|address| address.ip)
            .filter(IpAddr::is_ipv4)
            .collect();
        if let Some(rest) = rest.strip_prefix("local-ipv4s/") {
            return match rest.split_once('/') {
                None if rest.is_empty() => Some(lines(v4.iter().map(|ip| format!("{ip}/")))),
                None => None,
                Some((ip, what)) => {
                    self.address(eni, *v4.iter().find(|known| known.to_string() == ip)?, what)
                }
            };
        }
        Some(match rest {
            "mac" => upper(eni.mac),
            "primary-local-ipv4" => eni.primary_address()?.to_string(),
            "vpc-id" => self.desk.cloud.vpc().to_string(),
            "subnet-id" => eni.subnet.to_string(),
            "owner-id" => OWNER.to_owned(),
            _ => return None,
        })
    }

    fn address(&self, eni: &Eni, ip: IpAddr, what: &str) -> Option<String> {
        let subnets: Vec<Subnet> = self
            .desk
            .cloud
            .all_subnets()
            .into_iter()
            .map(|(subnet, _)| subnet)
            .collect();
        let subnet = subnets.iter().find(|subnet| subnet.id == eni.subnet)?;
        Some(match what {
            "local-ipv4" => ip.to_string(),
            "gateway" => subnet.gateway.to_string(),
            "subnet-mask" => subnet.cidr.netmask().to_string(),
            _ => return None,
        })
    }

    fn role(&self, name: &str) -> Option<String> {
        let role = self.role.as_deref()?;
        if name.is_empty() {
            return Some(role.to_owned());
        }
        if name != role {
            return None;
        }
        let mut keys = self.desk.temporary_keys(LIFE);
        keys["Code"] = json!("Success");
        Some(keys.to_string())
    }
}

fn upper(mac: Mac) -> String {
    mac.to_string().to_uppercase()
}

fn lines(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join("\n")
}
