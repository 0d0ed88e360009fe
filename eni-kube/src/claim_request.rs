//! What a pod asks of its static address, by its annotations.

use std::{collections::BTreeMap, time::Duration};

use eni_core::model::{ClaimRequest, DeletePolicy, SubnetId, Workload};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// `Immediate`, the default, or `Never`.
const POLICY: &str = "tke.cloud.tencent.com/vpc-ip-claim-delete-policy";
/// The one address that will do.
const ADDRESS: &str = "tke.cloud.tencent.com/nominated-vpc-ip";
/// The only subnets that will do, with commas between them.
const SUBNETS: &str = "tke.cloud.tencent.com/nominated-eni-subnets";
/// For how long the address is kept without a pod, such as `1h` or `10m0s`.
const KEEP: &str = "tke.cloud.tencent.com/claim-expired-duration";

/// The least that an address may be kept, as TKE documents.
const LEAST_KEEP: Duration = Duration::from_secs(300);

/// What a pod asks of its static address; or which annotation says something else than it may.
pub(crate) fn claim_request(meta: &ObjectMeta) -> Result<ClaimRequest, String> {
    let none = BTreeMap::new();
    let annotations = meta.annotations.as_ref().unwrap_or(&none);
    let value = |name: &str| {
        annotations
            .get(name)
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
    };
    let policy = match value(POLICY) {
        None => None,
        Some("Immediate") => Some(DeletePolicy::Immediate),
        Some("Never") => Some(DeletePolicy::Never),
        Some(other) => return Err(format!("{POLICY}: `{other}` is neither `Immediate` nor `Never`")),
    };
    let address = value(ADDRESS).map(|text| {
        text.parse()
            .map_err(|_| format!("{ADDRESS}: `{text}` is no address"))
    });
    let subnets = value(SUBNETS).map(|text| text.split(',').map(str::trim).filter(|id| !id.is_empty()));
    let keep = value(KEEP).map(|text| keep(text).map_err(|why| format!("{KEEP}: `{text}` {why}")));
    Ok(ClaimRequest {
        policy,
        address: address.transpose()?,
        subnets: subnets
            .map(|ids| ids.map(SubnetId::from).collect())
            .unwrap_or_default(),
        keep: keep.transpose()?,
    })
}

fn keep(text: &str) -> Result<Duration, &'static str> {
    let keep: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "is no duration such as `1h` or `10m0s`")?;
    let keep = Duration::try_from(keep).map_err(|_| "is negative")?;
    if keep < LEAST_KEEP {
        return Err("is less than the 5m that an address is kept at least");
    }
    Ok(keep)
}

/// The workload that made a pod: its controller by the owner references.
pub(crate) fn workload(meta: &ObjectMeta) -> Option<Workload> {
    let owners = meta.owner_references.as_ref()?;
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    Some(Workload {
        api: owner.api_version.as_str().into(),
        kind: owner.kind.as_str().into(),
        name: owner.name.as_str().into(),
        uid: owner.uid.as_str().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(annotations: &[(&str, &str)]) -> Result<ClaimRequest, String> {
        let owned = annotations
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        claim_request(&ObjectMeta {
            annotations: Some(owned.collect()),
            ..ObjectMeta::default()
        })
    }

    #[test]
    fn a_pod_without_annotations_leaves_everything_open() {
        assert_eq!(claim_request(&ObjectMeta::default()), Ok(ClaimRequest::default()));
    }

    #[test]
    fn everything_that_can_be_asked_for_is_read() {
        let expected = ClaimRequest {
            policy: Some(DeletePolicy::Never),
            address: Some([10, 0, 0, 9].into()),
            subnets: vec!["subnet-a".into(), "subnet-b".into()],
            keep: Some(Duration::from_secs(600)),
        };
        let asked = [
            (POLICY, "Never"),
            (ADDRESS, "10.0.0.9"),
            (SUBNETS, "subnet-a, subnet-b"),
            (KEEP, "10m0s"),
        ];
        assert_eq!(request(&asked), Ok(expected));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (name, value, named) in [
            (POLICY, "never", "neither"),
            (ADDRESS, "10.0.0", "no address"),
            (KEEP, "soon", "no duration"),
            (KEEP, "4m", "less than the 5m"),
            (KEEP, "-1h", "negative"),
        ] {
            let error = request(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(name) && error.contains(named), "{error}");
        }
    }
}
