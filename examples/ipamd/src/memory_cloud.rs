//! A cloud in memory, as a file describes it.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use eni_core::{
    model::{InstanceId, Limits, SubnetId, Zone},
    sim::MemoryCloud,
};
use ipnet::Ipv4Net;
use serde::Deserialize;

/// Why there is no cloud.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The file cannot be read.
    #[error("{}: {source}; --memory-cloud wants a file that describes the VPC", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what was asked for.
    #[error("{}: {source}; see --help for its form", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong.
        source: serde_json::Error,
    },
    /// A subnet is named and not described.
    #[error("{named} names the subnet {subnet}, which the memory cloud does not have; add it to its file")]
    NoSubnet {
        /// Who names it.
        named: String,
        /// The subnet.
        subnet: SubnetId,
    },
    /// The instances' own ENIs do not fit.
    #[error("{subnet} has no room for the primary addresses of its instances; give it a larger range")]
    Full {
        /// The subnet.
        subnet: SubnetId,
    },
}

/// The VPC.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    subnets: Vec<SubnetPlan>,
    instances: Vec<InstancePlan>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubnetPlan {
    id: SubnetId,
    zone: Zone,
    cidr: Ipv4Net,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InstancePlan {
    id: InstanceId,
    subnet: SubnetId,
    enis: u32,
    addresses_per_eni: u32,
}

/// The cloud that a file describes, in which ENIs shall be created in `subnets`.
pub fn load(path: PathBuf, subnets: &[SubnetId]) -> Result<MemoryCloud, PlanError> {
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(PlanError::Unreadable { path, source }),
    };
    let plan: Plan = match serde_json::from_str(&text) {
        Ok(plan) => plan,
        Err(source) => return Err(PlanError::Malformed { path, source }),
    };
    plan.check(subnets)?;
    Ok(plan.build())
}

impl Plan {
    fn check(&self, wanted: &[SubnetId]) -> Result<(), PlanError> {
        let mut instances: BTreeMap<_, usize> = self.subnets.iter().map(|subnet| (&subnet.id, 0)).collect();
        let missing = |named: String, subnet: &SubnetId| PlanError::NoSubnet {
            named,
            subnet: subnet.clone(),
        };
        for InstancePlan { id, subnet, .. } in &self.instances {
            let count = instances.get_mut(subnet);
            *count.ok_or_else(|| missing(format!("the instance {id}"), subnet))? += 1;
        }
        if let Some(subnet) = wanted.iter().find(|subnet| !instances.contains_key(subnet)) {
            return Err(missing("--subnets".to_owned(), subnet));
        }
        for SubnetPlan { id, cidr, .. } in &self.subnets {
            let taken = instances.get(id).copied().unwrap_or_default();
            // The first one is the gateway's.
            if cidr.hosts().skip(1).take(taken).count() < taken {
                return Err(PlanError::Full { subnet: id.clone() });
            }
        }
        Ok(())
    }

    fn build(self) -> MemoryCloud {
        let mut builder = MemoryCloud::builder();
        for SubnetPlan { id, zone, cidr } in self.subnets {
            builder = builder.subnet(id, zone, cidr.into());
        }
        for instance in self.instances {
            let limits = Limits {
                enis: instance.enis,
                addresses_per_eni: instance.addresses_per_eni,
            };
            builder = builder.instance(instance.id, instance.subnet, limits);
        }
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(plan: Value, wanted: &str) -> Result<(), PlanError> {
        let plan: Plan = serde_json::from_value(plan).unwrap();
        plan.check(&[SubnetId::from(wanted)]).map(|()| drop(plan.build()))
    }

    fn plan(cidr: &str, instances: usize) -> Value {
        let instance =
            |n| json!({"id": format!("ins-{n}"), "subnet": "subnet-a", "enis": 2, "addressesPerEni": 6});
        json!({
            "subnets": [{"id": "subnet-a", "zone": "zone-1", "cidr": cidr}],
            "instances": (0..instances).map(instance).collect::<Vec<_>>(),
        })
    }

    #[test]
    fn a_plan_that_the_cloud_takes_passes() {
        check(plan("10.0.0.0/29", 5), "subnet-a").unwrap();
    }

    #[test]
    fn a_plan_that_it_would_not_take_says_what_is_wrong() {
        let full = check(plan("10.0.0.0/29", 6), "subnet-a").unwrap_err();
        assert!(matches!(full, PlanError::Full { .. }), "{full}");
        let missing = check(plan("10.0.0.0/29", 1), "subnet-b").unwrap_err();
        assert!(
            missing
                .to_string()
                .contains("--subnets names the subnet subnet-b"),
            "{missing}"
        );
        let mut other = plan("10.0.0.0/29", 1);
        other["instances"][0]["subnet"] = json!("subnet-c");
        let missing = check(other, "subnet-a").unwrap_err();
        assert!(missing.to_string().contains("instance ins-0"), "{missing}");
    }
}
