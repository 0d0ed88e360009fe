//! StaticIPConfig.

use std::{sync::Arc, time::Duration};

use eni_core::model::{ClaimDefaults, DeletePolicy, SubnetId};
use serde::Deserialize;
use serde_json::Value;

use super::{name, part};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    namespaces: Vec<Arc<str>>,
    delete_policy: Option<DeletePolicy>,
    keep_seconds: Option<u32>,
    #[serde(default)]
    subnets: Vec<SubnetId>,
}

pub(crate) fn read(object: &Value) -> Result<ClaimDefaults, String> {
    let spec: Option<Spec> = part(object, "spec")?;
    let spec = spec.unwrap_or_default();
    Ok(ClaimDefaults {
        name: name(object)?.into(),
        namespaces: spec.namespaces,
        policy: spec.delete_policy,
        keep: spec
            .keep_seconds
            .map(|seconds| Duration::from_secs(seconds.into())),
        subnets: spec.subnets,
    })
}
