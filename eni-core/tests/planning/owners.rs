//! Whatever a node looks like: what a pod may use is never taken away.

use proptest::prelude::*;

use super::*;

const STATES: [EniState; 6] = [
    EniState::Pending,
    EniState::Available,
    EniState::Attaching,
    EniState::InUse,
    EniState::Detaching,
    EniState::Deleting,
];

/// What is drawn of one ENI.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    state: usize,
    addresses: u8,
    /// How many of the published addresses the agent withdrew; of the rest any may have an owner.
    withdrawn: u8,
    releasing: u8,
    retired: bool,
    published: bool,
    settled: bool,
    /// Whose instance it is on: ours, another's, nobody's.
    on: u8,
    /// How a listing shows it: as it is, not read yet, gone, absent.
    shown: u8,
}

prop_compose! {
    fn drawn()(
        state in 0..STATES.len(),
        addresses in 0u8..6,
        withdrawn in 0u8..3,
        releasing in 0u8..3,
        flags in any::<[bool; 3]>(),
        on in 0u8..3,
        shown in 0u8..8,
    ) -> Drawn {
        let [retired, published, settled] = flags;
        Drawn { state, addresses, withdrawn, releasing, retired, published, settled, on, shown }
    }
}

fn view_of(enis: &[Drawn], demand: u32) -> NodeView {
    let mut view = view();
    view.demand = demand;
    let drawn = enis.iter().zip(["a", "b", "c"]).zip([10, 20, 30]);
    view.enis = drawn
        .clone()
        .map(|((drawn, name), base)| attached(name, base, drawn.addresses))
        .collect();
    settle(&mut view);
    let config = view.config.as_mut().unwrap();
    for ((drawn, name), _) in drawn.clone() {
        let Some(published) = config
            .pool
            .enis
            .iter_mut()
            .find(|eni| eni.id.as_str() == format!("eni-{name}"))
        else {
            continue;
        };
        let releasing = published.attached.len().min(drawn.releasing.into());
        published.releasing = published.attached.drain(..releasing).collect();
        let withdrawn = published.attached.iter().take(drawn.withdrawn.into());
        config.agent.withdrawn.extend(withdrawn);
    }
    config.pool.enis.retain(|eni| {
        let mut drawn = drawn.clone();
        drawn.any(|((drawn, name), _)| drawn.published && eni.id.as_str() == format!("eni-{name}"))
    });
    for (place, drawn) in enis.iter().enumerate() {
        let observed = known(&mut view, place);
        observed.settled = drawn.settled;
        observed.eni.state = STATES[drawn.state];
        observed.eni.instance = [Some(ME), Some("ins-2"), None][usize::from(drawn.on)].map(Into::into);
        let (record, shown) = &mut view.enis[place];
        if drawn.retired {
            record.intent = Intent::Deleted;
        }
        match drawn.shown {
            0 => *shown = EniView::Unknown,
            1 => *shown = EniView::Gone,
            2 => *shown = EniView::Absent,
            _ => {}
        }
    }
    view
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_taken_off_that_has_an_owner_its_enis_own_address_included(
        enis in prop::collection::vec(drawn(), 1..=3),
        demand in 0u32..30,
    ) {
        let view = view_of(&enis, demand);
        let config = view.config.as_ref().unwrap();
        let published = |id: &EniId| config.pool.enis.iter().find(|eni| eni.id == *id);
        for action in actions(&view) {
            match &action {
                // Not even an ENI that carries nothing, while the agent may still give its addresses out.
                Action::Detach(eni) | Action::Delete(eni) => {
                    prop_assert!(published(eni).is_none(), "{action:?}: {config:?}");
                }
                Action::Unassign { eni, addresses } => {
                    let releasing = published(eni).into_iter().flat_map(|eni| &eni.releasing);
                    let releasing: BTreeSet<_> = releasing.map(|entry| entry.ip).collect();
                    prop_assert!(addresses.iter().all(|ip| releasing.contains(ip)), "{action:?}: {config:?}");
                }
                Action::Retire(record) => {
                    let eni = published(record.id.as_ref().unwrap());
                    prop_assert!(eni.is_some_and(|eni| eni.attached.is_empty() && eni.releasing.is_empty()));
                }
                _ => {}
            }
        }
    }
}
