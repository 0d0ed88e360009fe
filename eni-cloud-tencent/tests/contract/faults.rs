//! What the contract says of failures, and keys that expire, against the simulator.

use std::sync::Arc;

use eni_cloud_tencent::{
    CredentialSource, RenewedCredentials, Role, StaticCredentials, TencentCloud,
    simulator::{Fault, FaultPlan, FaultRule},
};
use eni_core::{
    cloud::{AssignAddresses, Cloud, CloudErrorKind, CloudResult, CreateEni, EniFilter},
    contract::cloud::CloudHarness,
    env::SystemEnvironment,
    model::{EniId, EniState, Family},
};

use super::{Simulated, keys, serve};

impl Simulated {
    /// One call of the action will meet the fault.
    fn strike(&self, action: &str, fault: Fault) {
        let rule = FaultRule {
            action: Some(action.to_owned()),
            skip: 0,
            count: 1,
            one_in: 1,
            fault,
        };
        self.simulator.plan_faults(FaultPlan {
            rules: [rule].into(),
            listing_lag_millis: 0,
        });
    }

    async fn until(&self, id: &EniId, state: EniState) {
        for _ in 0..200 {
            let listed = self.cloud.enis(&EniFilter::Ids(vec![id.clone()])).await.unwrap();
            if listed.first().is_some_and(|eni| eni.state == state) {
                return;
            }
            self.settle().await;
        }
        panic!("{id} is not {state:?}");
    }
}

fn creation() -> CreateEni {
    CreateEni {
        name: "ours".into(),
        subnet: "subnet-aaaaaaaa".into(),
        secondary: 2,
        security_groups: Vec::new(),
        tags: [("owner".to_owned(), "test".to_owned())].into(),
        token: "0123456789abcdef".into(),
    }
}

/// Faults after which nobody knows whether the call was carried out.
fn silences() -> [Fault; 4] {
    [
        Fault::LoseReply,
        Fault::Truncate,
        Fault::FailAfter {
            code: "InternalError".into(),
        },
        Fault::Status {
            status: 502,
            executed: true,
        },
    ]
}

fn unknown<T: std::fmt::Debug>(result: CloudResult<T>) {
    assert_eq!(result.unwrap_err().kind, CloudErrorKind::Unavailable);
}

#[tokio::test]
async fn a_creation_without_an_answer_is_answered_when_it_is_repeated() {
    for fault in silences() {
        let simulated = Simulated::start().await;
        simulated.strike("CreateNetworkInterface", fault);
        unknown(simulated.cloud.create_eni(&creation()).await);
        let eni = simulated.cloud.create_eni(&creation()).await.unwrap();
        let ours = simulated
            .cloud
            .enis(&EniFilter::Tags(creation().tags))
            .await
            .unwrap();
        assert_eq!(ours.iter().map(|eni| &eni.id).collect::<Vec<_>>(), [&eni.id]);
    }
}

#[tokio::test]
async fn an_order_without_an_answer_succeeds_when_it_is_repeated() {
    for fault in silences() {
        let simulated = Simulated::start().await;
        let (cloud, on) = (&simulated.cloud, simulated.instance());
        let eni = cloud.create_eni(&creation()).await.unwrap();
        let gone: Vec<_> = eni
            .secondary_addresses()
            .take(1)
            .map(|address| address.ip)
            .collect();
        simulated.until(&eni.id, EniState::Available).await;

        simulated.strike("AttachNetworkInterface", fault.clone());
        unknown(cloud.attach_eni(&eni.id, &on).await);
        cloud.attach_eni(&eni.id, &on).await.unwrap();
        simulated.until(&eni.id, EniState::InUse).await;

        simulated.strike("UnassignPrivateIpAddresses", fault.clone());
        unknown(cloud.unassign_addresses(&eni.id, &gone).await);
        cloud.unassign_addresses(&eni.id, &gone).await.unwrap();
        simulated.settled(&eni.id, 2).await;

        simulated.strike("DetachNetworkInterface", fault.clone());
        unknown(cloud.detach_eni(&eni.id).await);
        cloud.detach_eni(&eni.id).await.unwrap();
        simulated.until(&eni.id, EniState::Available).await;

        simulated.strike("DeleteNetworkInterface", fault.clone());
        unknown(cloud.delete_eni(&eni.id).await);
        cloud.delete_eni(&eni.id).await.unwrap();
    }
}

impl Simulated {
    /// Waits until the ENI has so many addresses, all delivered.
    async fn settled(&self, id: &EniId, count: usize) {
        for _ in 0..200 {
            let listed = self.cloud.enis(&EniFilter::Ids(vec![id.clone()])).await.unwrap();
            let addresses = &listed.first().expect("it exists").addresses;
            if addresses.len() == count && addresses.iter().all(|address| address.ready) {
                return;
            }
            self.settle().await;
        }
        panic!("{id} has not {count} addresses");
    }
}

#[tokio::test]
async fn a_listing_without_an_answer_is_an_error_and_never_empty() {
    for fault in silences() {
        let simulated = Simulated::start().await;
        simulated.cloud.create_eni(&creation()).await.unwrap();
        simulated.strike("DescribeNetworkInterfaces", fault);
        let filter = EniFilter::Tags(creation().tags);
        unknown(simulated.cloud.enis(&filter).await);
        assert_eq!(simulated.cloud.enis(&filter).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn throttling_does_nothing_and_says_so() {
    let simulated = Simulated::start().await;
    let eni = simulated.cloud.create_eni(&creation()).await.unwrap();
    simulated.settled(&eni.id, 3).await;
    simulated.strike("AssignPrivateIpAddresses", Fault::Throttle);
    let one = AssignAddresses::Count(Family::V4, 1);
    let error = simulated.cloud.assign_addresses(&eni.id, &one).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Throttled { retry_after: None });
    simulated.settled(&eni.id, 3).await;
}

/// Keys that expire do not show: the call is made again with new ones.
async fn outlives_its_keys(simulated: &Simulated, source: impl CredentialSource + 'static) {
    let cloud = TencentCloud::new(&simulated.config, Arc::new(source), SystemEnvironment::shared()).unwrap();
    for _ in 0..3 {
        cloud.limits(&simulated.instance()).await.unwrap();
        simulated.simulator.expire_tokens();
    }
    let counts = cloud.counts()["DescribeNetworkInterfaceLimit"];
    assert_eq!((counts.requests, counts.failures), (5, 2));
}

#[tokio::test]
async fn the_keys_of_an_assumed_role_are_renewed() {
    let simulated = Simulated::start().await;
    let own = Arc::new(StaticCredentials::new(keys()));
    let role = Role::new("qcs::cam::uin/100001:roleName/ipamd", "ipamd");
    let source = RenewedCredentials::assumed_role(&simulated.config, own, role, SystemEnvironment::shared());
    outlives_its_keys(&simulated, source.unwrap()).await;
}

#[tokio::test]
async fn the_keys_of_a_machine_are_renewed() {
    let mut simulated = Simulated::start().await;
    let metadata = simulated
        .simulator
        .metadata(simulated.instance(), Some("ipamd".into()));
    let gateway = serve(&mut simulated.servers, metadata).await;
    let source = RenewedCredentials::machine_role(Some(gateway), SystemEnvironment::shared());
    outlives_its_keys(&simulated, source.unwrap()).await;
}
