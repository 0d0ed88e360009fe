//! What the cloud has had in hand for too long, and how it is driven on. Pure.
//!
//! A state that should pass by itself, and an address that should become ready, are waited for; after
//! [`PATIENCE`] the order behind it counts as lost and is given again, or undone and given anew. Never on an
//! ENI that a pod may use: then people are told, and nothing is done.

use std::{net::IpAddr, time::Duration};

use super::{EniView, NodeView, inventory::Standing};
use crate::model::{Eni, EniId, EniRecord, EniState, Intent, PoolEni};

/// How long an ENI may stand in a transitional state, and an address not be ready: clouds need seconds, and
/// whatever takes minutes does not come (TKE re-creates "pending" ENIs and addresses, changelog v3.4.2).
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// What is done about something that is stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Its creation does not end, or the instance has no slot for it: delete it; the plan makes another if
    /// one is needed.
    Replace(EniRecord),
    /// Order its deletion, again.
    Delete(EniId),
    /// Order it off the instance, again; the plan attaches it again if it shall stay.
    Detach(EniId),
    /// Take addresses off that never became ready; the plan adds others.
    Unassign(EniId, Vec<IpAddr>),
    /// Pods may use it: only tell.
    Tell,
}

/// Something that is stuck, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    /// The ENI.
    pub(super) eni: EniId,
    /// What is wrong with it, as the rest of a sentence.
    pub(super) what: String,
    /// What is done about it.
    pub(super) remedy: Remedy,
}

/// What is stuck on a node. `standing` says how long an ENI has been in the hands of the cloud.
pub(super) fn stuck(view: &NodeView, standing: impl Fn(&EniId) -> Standing) -> Vec<Stuck> {
    let mut surplus = surplus(view);
    let mut found = Vec::new();
    for (record, eni) in &view.enis {
        let EniView::Known(known) = eni else { continue };
        // Those of an earlier instance that may still be alive are left alone.
        if !is_ours(view, record) && !view.gone.contains(&record.instance) {
            continue;
        }
        let eni = &known.eni;
        let mut enis = view.config.iter().flat_map(|config| &config.pool.enis);
        let published = enis.find(|published| published.id == eni.id);
        let used = published.is_some_and(|eni| !eni.attached.is_empty() || !eni.releasing.is_empty());
        let Standing { moving, unready } = standing(&eni.id);
        let unready = unpublished(unready, published);
        let excess = excess(view, eni);
        let excess = if known.settled && excess > 0 {
            let addresses = eni.secondary_addresses().map(|address| address.ip);
            let mut addresses = unpublished(addresses.collect(), published);
            addresses.truncate(excess);
            addresses
        } else {
            Vec::new()
        };
        let (what, remedy) = if moving.is_some_and(|age| age >= PATIENCE) {
            let what = format!("has been {:?} for over {PATIENCE:?}", eni.state);
            let remedy = if used {
                Remedy::Tell
            } else {
                moving_remedy(record, eni)
            };
            (what, remedy)
        } else if eni.state == EniState::InUse && !unready.is_empty() {
            let what = format!("has addresses that are not ready after {PATIENCE:?}: {unready:?}");
            (what, Remedy::Unassign(eni.id.clone(), unready))
        } else if !excess.is_empty() {
            let what = format!("has more addresses than its instance takes on one ENI: {excess:?}");
            (what, Remedy::Unassign(eni.id.clone(), excess))
        } else if surplus > 0
            && is_ours(view, record)
            && known.settled
            && eni.state == EniState::Available
            && !used
        {
            surplus -= 1;
            let what = "cannot be attached, as the instance has no slot left for it".to_owned();
            (what, Remedy::Replace(record.clone()))
        } else {
            continue;
        };
        found.push(Stuck {
            eni: eni.id.clone(),
            what,
            remedy,
        });
    }
    found
}

/// How many addresses an unattached ENI must lose before its instance takes it.
fn excess(view: &NodeView, eni: &Eni) -> usize {
    let most = view.limits.secondary_addresses() as usize;
    let on_it = eni.secondary_addresses().count();
    if eni.state == EniState::Available {
        on_it.saturating_sub(most)
    } else {
        0
    }
}

fn moving_remedy(record: &EniRecord, eni: &Eni) -> Remedy {
    match (eni.state, record.intent) {
        (EniState::Pending, Intent::Attached) => Remedy::Replace(record.clone()),
        (EniState::Pending | EniState::Deleting, _) => Remedy::Delete(eni.id.clone()),
        _ => Remedy::Detach(eni.id.clone()),
    }
}

/// ENIs of ours beyond the slots of the instance.
fn surplus(view: &NodeView) -> usize {
    let staying = view
        .enis
        .iter()
        .filter(|(record, _)| record.intent == Intent::Attached && is_ours(view, record));
    staying
        .count()
        .saturating_sub(view.limits.secondary_enis() as usize)
}

/// Whether an ENI is for the instance that the node has now.
fn is_ours(view: &NodeView, record: &EniRecord) -> bool {
    view.node.instance.as_ref() == Some(&record.instance)
}

/// Those that the agent was never told of.
fn unpublished(mut addresses: Vec<IpAddr>, published: Option<&PoolEni>) -> Vec<IpAddr> {
    if let Some(eni) = published {
        let told = |ip: &IpAddr| {
            eni.attached
                .iter()
                .chain(&eni.releasing)
                .any(|entry| entry.ip == *ip)
        };
        addresses.retain(|ip| !told(ip));
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::Observed,
        model::{EniKind, InstanceId, Limits, Mac, Node, WarmRange},
    };

    /// A node with one ENI that was made for `instance` and is detached for ever.
    fn view(instance: &str) -> NodeView {
        let eni = Eni {
            id: "eni-a".into(),
            name: "a".into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            kind: EniKind::Secondary,
            state: EniState::Detaching,
            subnet: "subnet-a".into(),
            zone: "zone-1".into(),
            instance: Some(instance.into()),
            addresses: vec![],
            security_groups: vec![],
            tags: Default::default(),
        };
        let record = EniRecord {
            name: "a".into(),
            token: String::new(),
            node: "node-1".into(),
            instance: instance.into(),
            subnet: "subnet-a".into(),
            secondary: 0,
            intent: Intent::Deleted,
            id: Some("eni-a".into()),
        };
        let observed = Observed {
            eni,
            unassigning: Default::default(),
            vanished: Default::default(),
            settled: false,
            confirmed: true,
        };
        NodeView {
            node: Node {
                name: "node-1".into(),
                uid: "uid-1".into(),
                instance: Some("ins-1".into()),
                zone: Some("zone-1".into()),
                max_pods: None,
                silent: None,
            },
            config: None,
            demand: 0,
            enis: vec![(record, EniView::Known(Box::new(observed)))],
            limits: Limits {
                enis: 4,
                addresses_per_eni: 10,
            },
            subnets: vec![],
            warm: WarmRange::default(),
            gone: Default::default(),
            granted: None,
            claims: None,
        }
    }

    fn remedies(view: &NodeView, age: Duration) -> Vec<Remedy> {
        let standing = |_: &EniId| Standing {
            moving: Some(age),
            unready: vec![],
        };
        let found = stuck(view, standing).into_iter();
        found.map(|stuck| stuck.remedy).collect()
    }

    #[test]
    fn a_detachment_is_ordered_again_after_the_patience_and_not_before() {
        let detach = Remedy::Detach("eni-a".into());
        assert_eq!(remedies(&view("ins-1"), PATIENCE / 2), []);
        assert_eq!(remedies(&view("ins-1"), PATIENCE), [detach]);
    }

    #[test]
    fn an_eni_of_a_former_instance_is_driven_on_only_once_that_is_gone() {
        let mut view = view("ins-0");
        assert_eq!(remedies(&view, PATIENCE), [], "it may still be alive");
        view.gone.insert(InstanceId::from("ins-0"));
        assert_eq!(remedies(&view, PATIENCE), [Remedy::Detach("eni-a".into())]);
    }
}
