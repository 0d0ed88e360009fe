//! Addresses by claim: which of a node's addresses are whose, which go, and which are to come.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Action, EniView, NodeView, Observed, ours};
use crate::model::{
    Claim, ClaimPhase, EniId, EniRecord, EniState, Intent, NodeConfig, NodeName, PoolEni, SubnetChoice,
    SubnetId, Uid,
};

/// What claims say of the addresses on a node's ENIs, and what they want there.
#[derive(Clone, Debug, Default)]
pub struct ClaimView {
    /// The claim of each address on the node's ENIs, and whether its pod lives.
    pub holders: BTreeMap<IpAddr, (Claim, bool)>,
    /// Addresses that are being given to a claim, without an answer yet.
    pub promised: BTreeSet<IpAddr>,
    /// What claims of the node lack.
    pub needs: Vec<ClaimNeed>,
    /// Addresses to be asked for by name in subnets where any address might be one that a claim has and that is on
    /// no ENI.
    pub spare: BTreeMap<SubnetId, Vec<IpAddr>>,
    /// An address that is wanted elsewhere is moved from there; else it is taken off here first.
    pub migrates: bool,
    /// Nothing was heard of the node for so long that its claims go on without it.
    pub lost: bool,
}

/// What a claim lacks on its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimNeed {
    /// Any address of such a subnet.
    Any(SubnetChoice),
    /// This one, which is on no ENI; its subnet, where that is known.
    This(IpAddr, Option<SubnetId>),
    /// This one, which is on this ENI of ours and can be moved.
    From(EniId, IpAddr),
}

/// What becomes of an address on a node's ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nobody's.
    Unclaimed,
    /// It is this pod's, here; whether the pod lives.
    Here(Uid, bool),
    /// It is kept where it is, for nobody or for who has not come yet.
    Stays,
    /// It is wanted elsewhere, or goes back to its subnet.
    Leaves,
}

impl ClaimView {
    pub(super) fn fate(&self, ip: IpAddr, node: &NodeName) -> Fate {
        let Some((claim, lives)) = self.holders.get(&ip) else {
            return if self.promised.contains(&ip) {
                Fate::Stays
            } else {
                Fate::Unclaimed
            };
        };
        let here = claim.node.as_ref() == Some(node);
        match claim.phase {
            ClaimPhase::Assigned if here => Fate::Here(claim.pod.clone(), *lives),
            ClaimPhase::Releasing => Fate::Leaves,
            ClaimPhase::Pending if !here && claim.node.is_some() && !self.migrates => Fate::Leaves,
            ClaimPhase::Assigned | ClaimPhase::Retained | ClaimPhase::Pending => Fate::Stays,
        }
    }

    /// Whether the agent has let go of a withdrawn address for good: its pod cannot come back for it.
    pub(super) fn lets_go(&self, ip: IpAddr, node: &NodeName) -> bool {
        !matches!(self.fate(ip, node), Fate::Here(_, true))
    }

    /// Whether an address that the agent has let go of is still to be told as such: it goes, or its claim has not
    /// taken note yet.
    pub(super) fn is_releasing(&self, ip: IpAddr, node: &NodeName) -> bool {
        matches!(
            self.fate(ip, node),
            Fate::Unclaimed | Fate::Leaves | Fate::Here(_, false)
        )
    }

    /// Whether an address is taken off its ENI once the agent cannot use it.
    pub(super) fn goes(&self, ip: IpAddr, node: &NodeName) -> bool {
        matches!(self.fate(ip, node), Fate::Unclaimed | Fate::Leaves)
    }

    /// Whether the agent is to be told of an address.
    pub(super) fn is_assigned(&self, ip: IpAddr, node: &NodeName) -> bool {
        matches!(self.fate(ip, node), Fate::Here(..))
    }

    /// The pod that an attached address is for alone.
    pub(super) fn reserved(&self, ip: IpAddr, node: &NodeName) -> Option<Uid> {
        match self.fate(ip, node) {
            Fate::Here(pod, true) => Some(pod),
            _ => None,
        }
    }

    /// Whether an address that stays is kept for a pod elsewhere, or for none that lives.
    fn is_for_others(&self, ip: IpAddr, node: &NodeName) -> bool {
        let holder = self.holders.get(&ip);
        holder.is_some_and(|(claim, _)| match claim.phase {
            ClaimPhase::Retained => true,
            ClaimPhase::Pending => claim.node.as_ref().is_some_and(|bound| bound != node),
            ClaimPhase::Assigned | ClaimPhase::Releasing => false,
        })
    }

    /// Whether some address of the subnet is wanted by who has none.
    fn wants(&self, subnet: &SubnetId) -> bool {
        self.needs.iter().any(|need| match need {
            ClaimNeed::Any(choice) => choice.allows(subnet),
            ClaimNeed::This(..) | ClaimNeed::From(..) => false,
        })
    }
}

/// What is to be taken off an ENI in service that the agent was never told of: what is wanted elsewhere or nowhere,
/// and so many that are kept here for others as `pressed` says, which is what living pods lack room for. Those go
/// back to their claims' pods by name, as long as nobody else in the subnet takes them.
///
/// It is published before it is ordered, so that nobody gives it to a claim meanwhile, whoever leads by then.
pub(super) fn evicting(
    known: &Observed,
    before: Option<&PoolEni>,
    claims: &ClaimView,
    node: &NodeName,
    pressed: &mut u32,
) -> Vec<IpAddr> {
    let begun = before.map(|eni| &eni.evicting[..]).unwrap_or_default();
    let begun = begun.iter().filter(|ip| !known.vanished.contains(ip)).copied();
    let mut evicting: BTreeSet<_> = begun.collect();
    evicting.extend(unwanted(known, before, claims, node, pressed));
    evicting.into_iter().collect()
}

/// Takes off ENIs in service what is published as such.
pub(super) fn evict(view: &NodeView, config: &NodeConfig, busy: &BTreeSet<EniId>) -> Vec<Action> {
    let enis = ours(view, config).filter_map(|(_, eni)| settled(eni));
    let free = enis.filter(|known| !busy.contains(&known.eni.id));
    let evicted = free.filter_map(|known| {
        let published = config.pool.enis.iter().find(|eni| eni.id == known.eni.id)?;
        let addresses = published.evicting.iter().copied();
        let addresses = addresses.filter(|ip| known.keeps(*ip) && !known.unassigning.contains(ip));
        order(known, addresses.collect())
    });
    evicted.collect()
}

fn order(known: &Observed, addresses: Vec<IpAddr>) -> Option<Action> {
    (!addresses.is_empty()).then(|| Action::Evict {
        eni: known.eni.id.clone(),
        addresses,
    })
}

fn unwanted(
    known: &Observed,
    published: Option<&PoolEni>,
    claims: &ClaimView,
    node: &NodeName,
    pressed: &mut u32,
) -> Vec<IpAddr> {
    let told = |ip: IpAddr| published.is_some_and(|eni| eni.names(ip));
    // Off its instance an ENI serves nobody.
    let wanted = known.eni.state == EniState::InUse && claims.wants(&known.eni.subnet);
    let mut goes = |ip: &IpAddr| match claims.fate(*ip, node) {
        Fate::Leaves => true,
        Fate::Unclaimed => !wanted,
        Fate::Stays if *pressed > 0 && claims.is_for_others(*ip, node) => {
            *pressed -= 1;
            true
        }
        Fate::Here(..) | Fate::Stays => false,
    };
    let ready = known.eni.secondary_addresses().filter(|address| address.ready);
    let addresses = ready.map(|address| address.ip);
    let addresses = addresses.filter(|ip| !told(*ip) && !known.unassigning.contains(ip));
    addresses.filter(|ip| goes(ip)).collect()
}

fn settled(eni: &EniView) -> Option<&Observed> {
    match eni {
        EniView::Known(known) if known.settled => Some(known),
        _ => None,
    }
}

/// What an ENI of an earlier instance does before it goes: addresses that are kept keep it, detached; `None` if
/// nothing keeps it.
pub(super) fn keeps(
    record: &EniRecord,
    eni: &EniView,
    claims: &ClaimView,
    node: &NodeName,
) -> Option<Option<Action>> {
    let EniView::Known(known) = eni else { return None };
    let mut addresses = known.eni.secondary_addresses().map(|address| address.ip);
    let kept = addresses.any(|ip| matches!(claims.fate(ip, node), Fate::Stays | Fate::Here(..)));
    // It is detached first, and recorded as one that goes once it is empty.
    let parked = record.intent == Intent::Deleted && known.eni.state == EniState::Available;
    (kept && parked).then(|| {
        let unwanted = unwanted(known, None, claims, node, &mut 0);
        order(known, unwanted).filter(|_| known.settled)
    })
}
