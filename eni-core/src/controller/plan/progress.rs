//! The next step of one ENI.

use std::net::IpAddr;

use super::{Action, ClaimView, EniView, NodeView, Notice, Observed, claimed};
use crate::model::{EniRecord, EniState, Intent, NodeConfig, NodeName, PoolEni};

/// The next step of one ENI towards its record's intent.
pub(super) fn progress(
    view: &NodeView,
    config: &NodeConfig,
    record: &EniRecord,
    eni: &EniView,
) -> Option<Action> {
    let known = match eni {
        EniView::Absent if record.intent == Intent::Attached => return Some(Action::Create(record.clone())),
        EniView::Absent | EniView::Gone => return Some(Action::Forget(record.clone())),
        EniView::Unknown => return None,
        EniView::Known(known) if known.settled => known,
        EniView::Known(_) => return None,
    };
    let (observed, known) = (known, &known.eni);
    let published = config.pool.enis.iter().find(|eni| eni.id == known.id);
    match (record.intent, known.state) {
        (Intent::Attached, _) if record.id.is_none() => Some(Action::Adopt(record.clone(), known.id.clone())),
        (Intent::Attached, EniState::Available) => {
            // An ENI with more addresses than the instance takes on one cannot be attached.
            let excess = known.secondary_addresses().count() > view.limits.secondary_addresses() as usize;
            let leaving =
                Some(leaving(view, observed, published)).filter(|leaving| excess && !leaving.is_empty());
            Some(match leaving {
                Some(addresses) => Action::Unassign {
                    eni: known.id.clone(),
                    addresses,
                },
                None => Action::Attach(known.id.clone()),
            })
        }
        (Intent::Attached, EniState::InUse) if known.instance.as_ref() == Some(&config.spec.instance) => {
            let addresses = leaving(view, observed, published);
            (!addresses.is_empty()).then(|| Action::Unassign {
                eni: known.id.clone(),
                addresses,
            })
        }
        (Intent::Attached, EniState::InUse) => {
            tracing::warn!(node = %view.node.name, eni = %known.id, instance = ?known.instance,
                "our ENI is attached to another instance; it is left alone");
            None
        }
        // The agent must have let go of it first.
        (Intent::Deleted, EniState::InUse) if published.is_none() => Some(Action::Detach(known.id.clone())),
        (Intent::Deleted, EniState::Available) if published.is_none() => {
            Some(Action::Delete(known.id.clone()))
        }
        _ => None,
    }
}

/// What the agent has let go of and is still on its ENI.
fn leaving(view: &NodeView, observed: &Observed, published: Option<&PoolEni>) -> Vec<IpAddr> {
    let leaving = published.into_iter().flat_map(|eni| &eni.releasing);
    let leaving = leaving.map(|entry| entry.ip);
    let claims = view.claims.as_ref();
    let goes = |ip: IpAddr| claims.is_none_or(|claims| claims.goes(ip, &view.node.name));
    leaving.filter(|ip| observed.keeps(*ip) && goes(*ip)).collect()
}

/// The next step of an ENI whose instance is gone: nobody can use its addresses any more.
/// Those that claims keep stay on it, as on a parking place.
pub(super) fn leave(
    record: &EniRecord,
    eni: &EniView,
    claims: Option<&ClaimView>,
    node: &NodeName,
) -> Option<Action> {
    if let Some(kept) = claims.and_then(|claims| claimed::keeps(record, eni, claims, node)) {
        return kept;
    }
    let known = match eni {
        EniView::Absent | EniView::Gone => return Some(Action::Forget(record.clone())),
        _ if record.intent == Intent::Attached => return Some(Action::Retire(record.clone())),
        EniView::Known(known) if known.settled => &known.eni,
        EniView::Unknown | EniView::Known(_) => return None,
    };
    match known.state {
        EniState::Available => Some(Action::Delete(known.id.clone())),
        EniState::InUse if known.instance.as_ref() == Some(&record.instance) => {
            Some(Action::Detach(known.id.clone()))
        }
        // Somebody moved it to another instance, where it may be in use.
        _ => None,
    }
}

/// What to say about an ENI of another instance than the node's, while that may still be alive.
pub(super) fn stranded(view: &NodeView, record: &EniRecord) -> Notice {
    Notice::Stranded {
        eni: record.id.clone(),
        record: record.name.clone(),
        old: record.instance.clone(),
        new: view.node.instance.clone(),
    }
}
