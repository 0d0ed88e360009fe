//! Cases about making and finding ENIs.

use std::collections::BTreeMap;

use super::{CloudHarness, available, kind, look, request, unknown_eni, until_addresses, until_state};
use crate::{
    cloud::{CloudErrorKind, CreateEni, EniFilter},
    contract::skip,
    model::{EniKind, EniState},
};

/// "Ids that do not exist are left out of the answer".
pub async fn enis_that_do_not_exist_are_left_out(harness: &dyn CloudHarness) {
    assert_eq!(look(harness, &unknown_eni()).await, None);
}

/// "The result shows in a later `enis`".
pub async fn a_created_eni_becomes_available_as_asked(harness: &dyn CloudHarness) {
    let request = request(harness, "made", 2);
    let answer = harness.cloud().create_eni(&request).await.expect("an ENI");
    assert!(
        matches!(answer.state, EniState::Pending | EniState::Available),
        "{:?}",
        answer.state
    );
    until_state(harness, &answer.id, EniState::Available).await;
    let eni = until_addresses(harness, &answer.id, 3).await;
    assert_eq!(
        (eni.name.as_str(), &eni.subnet, eni.kind),
        ("made", &request.subnet, EniKind::Secondary)
    );
    assert_eq!((&eni.instance, eni.mac), (&None, answer.mac));
    assert!(
        request
            .tags
            .iter()
            .all(|(key, value)| eni.tags.get(key) == Some(value)),
        "{:?}",
        eni.tags
    );
    assert_eq!(eni.addresses.iter().filter(|address| address.primary).count(), 1);
    assert!(!eni.security_groups.is_empty(), "empty means the cloud's default");
}

/// A creation in a subnet that does not exist is refused.
pub async fn a_creation_in_an_unknown_subnet_is_not_found(harness: &dyn CloudHarness) {
    let request = CreateEni {
        subnet: "subnet-00000000".into(),
        ..request(harness, "nowhere", 0)
    };
    assert_eq!(
        kind(harness.cloud().create_eni(&request).await),
        CloudErrorKind::NotFound
    );
}

/// "The subnet has no free address".
pub async fn a_creation_in_a_full_subnet_names_the_subnet(harness: &dyn CloudHarness) {
    let Some(subnet) = harness.full_subnet() else {
        return skip(
            "a_creation_in_a_full_subnet_names_the_subnet",
            "the harness has no full subnet",
        );
    };
    let request = CreateEni {
        subnet: subnet.clone(),
        ..request(harness, "full", 0)
    };
    assert_eq!(
        kind(harness.cloud().create_eni(&request).await),
        CloudErrorKind::Exhausted { subnet }
    );
}

/// "`create_eni` with a token that was used answers the ENI of the first call".
pub async fn a_repeated_token_answers_the_same_eni(harness: &dyn CloudHarness) {
    if !harness.cloud().capabilities().client_tokens {
        return skip(
            "a_repeated_token_answers_the_same_eni",
            "the cloud has no client tokens",
        );
    }
    let eni = available(harness, "twice", 1).await;
    let again = harness
        .cloud()
        .create_eni(&request(harness, "twice", 1))
        .await
        .expect("the same ENI");
    assert_eq!(again.id, eni.id);
    let listed = harness
        .cloud()
        .enis(&EniFilter::Tags(request(harness, "twice", 1).tags))
        .await
        .expect("a listing");
    assert_eq!(listed.len(), 1, "a second ENI was made");
}

/// A token names one request.
pub async fn a_token_of_another_request_is_invalid(harness: &dyn CloudHarness) {
    if !harness.cloud().capabilities().client_tokens {
        return skip(
            "a_token_of_another_request_is_invalid",
            "the cloud has no client tokens",
        );
    }
    available(harness, "first", 0).await;
    let other = CreateEni {
        token: request(harness, "first", 0).token,
        ..request(harness, "second", 0)
    };
    assert_eq!(
        kind(harness.cloud().create_eni(&other).await),
        CloudErrorKind::Invalid
    );
}

/// "Those that bear all of these tags".
pub async fn enis_are_found_by_all_of_their_tags(harness: &dyn CloudHarness) {
    let (one, two) = (
        available(harness, "one", 0).await,
        available(harness, "two", 0).await,
    );
    let list = async |tags: BTreeMap<String, String>| {
        let listed = harness
            .cloud()
            .enis(&EniFilter::Tags(tags))
            .await
            .expect("a listing");
        listed
            .into_iter()
            .map(|eni| eni.id)
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(
        list(request(harness, "one", 0).tags).await,
        [one.id.clone()].into()
    );
    let shared = BTreeMap::from([("suite".to_owned(), "contract".to_owned())]);
    assert_eq!(list(shared).await, [one.id, two.id].into());
    let mut tags = request(harness, "one", 0).tags;
    tags.insert("none".to_owned(), "of them".to_owned());
    assert!(list(tags).await.is_empty());
}
