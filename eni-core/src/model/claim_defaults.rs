//! What pods ask of their static addresses where they themselves say nothing.

use std::{sync::Arc, time::Duration};

use super::{ClaimRequest, DeletePolicy, SubnetId};

/// What the pods of some namespaces ask of their static addresses where they say nothing (the kind `StaticIPConfig`).
///
/// It holds for claims that are made, or get another pod, while it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimDefaults {
    /// Its name.
    pub name: Arc<str>,
    /// The namespaces that it is for; empty: all.
    pub namespaces: Vec<Arc<str>>,
    /// Whether an address goes with its pod.
    pub policy: Option<DeletePolicy>,
    /// For how long an address is kept without a pod.
    pub keep: Option<Duration>,
    /// The only subnets that will do, best first; empty: it says nothing of them.
    pub subnets: Vec<SubnetId>,
}

impl ClaimDefaults {
    /// Fills in what a pod of a namespace leaves open. What names the namespace goes before what is for all, and of
    /// those alike the first by name; each of them gives what the ones before it leave open.
    pub fn fill<'a>(
        mut request: ClaimRequest,
        namespace: &str,
        all: impl IntoIterator<Item = &'a Self>,
    ) -> ClaimRequest {
        let names = |one: &Self| one.namespaces.iter().any(|name| **name == *namespace);
        let mut fitting: Vec<&Self> = all.into_iter().collect();
        fitting.retain(|one| one.namespaces.is_empty() || names(one));
        fitting.sort_by_key(|one| (!names(one), one.name.clone()));
        for one in fitting {
            request.policy = request.policy.or(one.policy);
            request.keep = request.keep.or(one.keep);
            // Who asks for one address has chosen its subnet.
            if request.subnets.is_empty() && request.address.is_none() {
                request.subnets.clone_from(&one.subnets);
            }
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults(name: &str, namespaces: &[&str]) -> ClaimDefaults {
        ClaimDefaults {
            name: name.into(),
            namespaces: namespaces.iter().map(|name| (*name).into()).collect(),
            policy: None,
            keep: None,
            subnets: Vec::new(),
        }
    }

    fn minutes(count: u64) -> Option<Duration> {
        Some(Duration::from_secs(count * 60))
    }

    #[test]
    fn a_namespaces_own_defaults_go_first_and_others_fill_what_they_leave_open() {
        let all = [
            ClaimDefaults {
                policy: Some(DeletePolicy::Never),
                keep: minutes(10),
                ..defaults("a-for-all", &[])
            },
            ClaimDefaults {
                keep: minutes(60),
                ..defaults("z-shop", &["shop"])
            },
            ClaimDefaults {
                keep: minutes(5),
                subnets: vec!["subnet-bank".into()],
                ..defaults("bank", &["bank"])
            },
        ];
        let filled = |namespace| ClaimDefaults::fill(ClaimRequest::default(), namespace, &all);
        let expected = |keep, subnets: &[&str]| ClaimRequest {
            policy: Some(DeletePolicy::Never),
            keep: minutes(keep),
            subnets: subnets.iter().map(|id| SubnetId::from(*id)).collect(),
            address: None,
        };
        assert_eq!(filled("shop"), expected(60, &[]));
        assert_eq!(filled("bank"), expected(5, &["subnet-bank"]));
        assert_eq!(filled("elsewhere"), expected(10, &[]));
    }

    #[test]
    fn what_a_pod_says_itself_stays() {
        let all = [ClaimDefaults {
            policy: Some(DeletePolicy::Never),
            keep: minutes(10),
            subnets: vec!["subnet-a".into()],
            ..defaults("all", &[])
        }];
        let own = ClaimRequest {
            policy: Some(DeletePolicy::Immediate),
            keep: minutes(5),
            subnets: vec!["subnet-b".into()],
            address: None,
        };
        assert_eq!(ClaimDefaults::fill(own.clone(), "shop", &all), own);
        let nominated = ClaimRequest {
            address: Some([10, 0, 0, 9].into()),
            ..ClaimRequest::default()
        };
        let filled = ClaimDefaults::fill(nominated, "shop", &all);
        assert_eq!(filled.subnets, [], "the address may be of another subnet");
    }
}
