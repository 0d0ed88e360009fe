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
        let eni = &known.eni;
        let mut enis = view.config.iter().flat_map(|config| &config.pool.enis);
        let published = enis.find(|published| published.id == eni.id);
        let used = published.is_some_and(|eni| !eni.attached.is_empty() || !eni.releasing.is_empty());
        let Standing { moving, unready } = standing(&eni.id);
        let unready = unpublished(unready, published);
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
        } else if surplus > 0 && known.settled && eni.state == EniState::Available && !used {
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
        .filter(|(record, _)| record.intent == Intent::Attached);
    staying
        .count()
        .saturating_sub(view.limits.secondary_enis() as usize)
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
