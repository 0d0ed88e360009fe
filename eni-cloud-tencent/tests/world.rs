//! The core's simulation with Tencent's API in between: ipamd's calls are signed HTTP to the simulator, and the wire
//! loses, cuts, delays and garbles what it carries.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use async_trait::async_trait;
use eni_cloud_tencent::{
    ApiConfig, Credentials, Endpoint, RenewedCredentials, Role, StaticCredentials, TencentCloud,
    simulator::{Fault, FaultPlan, FaultRule, Rates, Settings, Simulator},
};
use eni_core::{
    cloud::{AssignAddresses, Capabilities, Cloud, CloudResult, CreateEni, EniFilter},
    model::{Eni, EniId, Instance, InstanceId, Limits, Subnet, SubnetId},
    sim::{
        MemoryCloud, SimEnvironment,
        world::{Scenario, Wire, simulate_over},
    },
};
use tokio::{net::TcpListener, time::sleep};

/// How many clusters.
const SEEDS: u64 = 12;

/// One in so many calls meets a fault of the wire, one kind after the other.
const ONE_IN: u32 = 8;

/// How often each kind strikes at most.
const ROUNDS: usize = 50;

/// Sockets take real time, in which the paused clock must not leap to whatever comes next, such as a time-out.
const TICK: Duration = Duration::from_millis(1);

/// A client and a server of the API.
struct Api {
    simulator: Simulator,
    client: Arc<Ticking>,
}

impl Api {
    fn connect(memory: &MemoryCloud, environment: Arc<SimEnvironment>) -> Self {
        let listen = || -> io::Result<_> {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, TcpListener::from_std(listener)?))
        };
        let (address, listener) = listen().expect("a port");
        let settings = Settings {
            rates: Rates::Each(50),
            ..Settings::default()
        };
        let config = ApiConfig {
            endpoint: Endpoint::At(format!("http://{address}").parse().expect("a gateway")),
            ..ApiConfig::new(settings.region.clone())
        };
        let keys = Credentials::new("AKIDworld", "key");
        let simulator = Simulator::new(memory.clone(), environment.clone(), settings);
        simulator.add_credentials(keys.clone(), None);
        simulator.plan_faults(wire_faults());
        let server = simulator.clone();
        tokio::spawn(async move { server.serve(listener).await });
        // Keys that expire; they are handed out by the same gateway.
        let own = Arc::new(StaticCredentials::new(keys));
        let role = Role::new("qcs::cam::uin/100000000001:roleName/world", "world");
        let keys = RenewedCredentials::assumed_role(&config, own, role, environment.clone());
        let client = TencentCloud::new(&config, Arc::new(keys.expect("a source of keys")), environment);
        Self {
            simulator,
            client: Arc::new(Ticking(client.expect("a client"))),
        }
    }
}

/// What goes wrong between the client and the cloud.
fn wire_faults() -> FaultPlan {
    let faults = [
        Fault::LoseReply,
        Fault::Truncate,
        Fault::Slow { millis: 4_000 },
        Fault::Status {
            status: 502,
            executed: true,
        },
        Fault::Status {
            status: 503,
            executed: false,
        },
        Fault::ExpireTokens,
        Fault::Throttle,
        Fault::FailAfter {
            code: "InternalError".to_owned(),
        },
    ];
    let rule = |fault| FaultRule {
        action: None,
        skip: 0,
        count: 1,
        one_in: ONE_IN,
        fault,
    };
    FaultPlan {
        rules: faults
            .iter()
            .cycle()
            .take(faults.len() * ROUNDS)
            .cloned()
            .map(rule)
            .collect(),
        listing_lag_millis: 0,
    }
}

impl Wire for Api {
    fn cloud(&self) -> Arc<dyn Cloud> {
        self.client.clone()
    }

    fn calm_down(&self) {
        self.simulator.plan_faults(FaultPlan::default());
    }
}

/// A client during whose calls the clock goes in small steps.
struct Ticking(TencentCloud);

async fn ticking<T>(call: impl Future<Output = T>) -> T {
    let ticks = async {
        loop {
            sleep(TICK).await;
        }
    };
    tokio::select! {
        biased;
        answer = call => answer,
        never = ticks => never,
    }
}

#[async_trait]
impl Cloud for Ticking {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>> {
        ticking(self.0.instances(ids)).await
    }

    async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits> {
        ticking(self.0.limits(instance)).await
    }

    async fn subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>> {
        ticking(self.0.subnets(ids)).await
    }

    async fn enis(&self, filter: &EniFilter) -> CloudResult<Vec<Eni>> {
        ticking(self.0.enis(filter)).await
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<Eni> {
        ticking(self.0.create_eni(request)).await
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        ticking(self.0.attach_eni(eni, instance)).await
    }

    async fn detach_eni(&self, eni: &EniId) -> CloudResult<()> {
        ticking(self.0.detach_eni(eni)).await
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        ticking(self.0.delete_eni(eni)).await
    }

    async fn assign_addresses(
        &self,
        eni: &EniId,
        request: &AssignAddresses,
    ) -> CloudResult<Vec<std::net::IpAddr>> {
        ticking(self.0.assign_addresses(eni, request)).await
    }

    async fn unassign_addresses(&self, eni: &EniId, addresses: &[std::net::IpAddr]) -> CloudResult<()> {
        ticking(self.0.unassign_addresses(eni, addresses)).await
    }

    async fn migrate_address(&self, from: &EniId, to: &EniId, address: std::net::IpAddr) -> CloudResult<()> {
        ticking(self.0.migrate_address(from, to, address)).await
    }
}

#[test]
fn the_invariants_hold_with_the_api_and_its_faults_in_between() {
    let scenario = Scenario::default();
    let (mut requests, mut failures) = (0, 0);
    for seed in 0..SEEDS {
        let mut api = None;
        let outcome = simulate_over(seed, &scenario, |memory, environment| {
            api.insert(Arc::new(Api::connect(memory, environment))).clone()
        });
        println!("{outcome}");
        assert!(outcome.violation.is_none(), "{outcome}");
        for counts in api.expect("it was connected").client.0.counts().into_values() {
            requests += counts.requests;
            failures += counts.failures;
        }
    }
    println!("{requests} requests, {failures} of them failed");
    assert!(
        requests > 60 * SEEDS && failures > requests / 20,
        "{requests} requests, {failures} failed"
    );
}
