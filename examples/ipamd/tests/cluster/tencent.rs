//! Tencent's API, as the simulator has it, on a port of this machine.

use std::{fs, time::Duration};

use eni_cloud_tencent::{
    Credentials,
    simulator::{Settings, Simulator},
};
use eni_core::{
    cloud::{Cloud, EniFilter},
    env::SystemEnvironment,
    model::{Eni, EniKind, Limits},
    sim::{Latency, MemoryCloud},
};
use tokio::{net::TcpListener, task::JoinSet};

use crate::bed::Bed;

/// A region with the subnet `subnet-aaaaaaaa`. It outlives every ipamd.
pub struct Tencent {
    memory: MemoryCloud,
    flags: Vec<String>,
    /// It ends with this.
    _server: JoinSet<std::io::Result<()>>,
}

impl Tencent {
    /// One with the instance `ins-aaaaaaaa`.
    pub async fn start(bed: &Bed) -> Self {
        let limits = Limits {
            enis: 4,
            addresses_per_eni: 10,
        };
        let range = "10.1.0.0/24".parse().expect("a range");
        let memory = MemoryCloud::builder()
            .subnet("subnet-aaaaaaaa", "zone-1", range)
            .instance("ins-aaaaaaaa", "subnet-aaaaaaaa", limits)
            .latency(Latency::orders(Duration::from_millis(300)))
            .build();
        Self::over(bed, memory).await
    }

    /// One with what a cloud in memory has.
    pub async fn over(bed: &Bed, memory: MemoryCloud) -> Self {
        let simulator = Simulator::new(memory.clone(), SystemEnvironment::shared(), Settings::default());
        simulator.add_credentials(Credentials::new("AKIDipamd", "hush"), None);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut server = JoinSet::new();
        server.spawn(async move { simulator.serve(listener).await });
        let keys = bed.directory.path().join("credentials");
        fs::write(&keys, "[default]\nsecret_id = AKIDipamd\nsecret_key = hush\n").expect("a file");
        let flags = [
            "--cloud=tencent".to_owned(),
            "--subnets=subnet-aaaaaaaa".to_owned(),
            "--region=ap-guangzhou".to_owned(),
            format!("--cloud-endpoint=http://{address}"),
            "--credentials=file".to_owned(),
            format!("--credentials-file={}", keys.display()),
        ];
        Self {
            memory,
            flags: flags.into(),
            _server: server,
        }
    }

    /// What makes ipamd use it.
    pub fn flags(&self) -> Vec<&str> {
        self.flags.iter().map(String::as_str).collect()
    }

    /// How many addresses for pods all instances have together.
    pub fn bound(&self) -> usize {
        let enis = self.memory.all_enis();
        let bound = enis
            .iter()
            .filter(|eni| eni.instance.is_some() && eni.kind == EniKind::Secondary);
        bound.map(|eni| eni.secondary_addresses().count()).sum()
    }

    /// The ENIs that were attached to the instance.
    pub async fn attached(&self) -> Vec<Eni> {
        let filter = EniFilter::Instance("ins-aaaaaaaa".into());
        let mut enis = self.memory.enis(&filter).await.expect("a listing");
        enis.retain(|eni| eni.kind == EniKind::Secondary);
        enis
    }
}
