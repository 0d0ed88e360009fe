//! One run: build, start, check, drain, judge.

use std::{
    error::Error,
    fs,
    future::Future,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use eni_core::{model::WarmRange, sim::Latency};
use fabric::{isolate::Isolated, topology::Topology, vpc::Vpc};
use tokio::time::{sleep, timeout};

use crate::{
    clouds,
    leaks::Baseline,
    options::Options,
    ping::{Endpoint, Matrix, every_pair},
    pods::{Pods, Runtime},
    progress::Progress,
    report::{NodeReport, Report},
    stats::Percentiles,
    survey,
    system::{System, endpoint},
};

/// How long the memory cloud takes for its orders, in the order of magnitude of a real one.
const LATENCY: Latency = Latency {
    call: Duration::from_millis(50),
    create: Duration::from_millis(500),
    attach: Duration::from_millis(1500),
    detach: Duration::from_millis(1000),
    delete: Duration::from_millis(200),
    assign: Duration::from_millis(500),
    unassign: Duration::from_millis(500),
};

/// Limits of the stages. They are far above what a run takes; what exceeds them hangs.
const POOLS: Duration = Duration::from_secs(120);
const PODS: Duration = Duration::from_secs(600);
const PINGS: Duration = Duration::from_secs(600);
const DELETION: Duration = Duration::from_secs(600);
const DRAIN: Duration = Duration::from_secs(180);
/// How long a churn may go on after its time: the calls that are under way.
const CHURN_TAIL: Duration = Duration::from_secs(420);

/// How often a condition is looked at that nothing tells of.
const LOOK: Duration = Duration::from_millis(100);

/// A run that is up.
#[derive(Debug)]
pub struct Play {
    options: Options,
    vpc: Vpc,
    system: System,
    pods: Pods,
    baseline: Baseline,
    report: Report,
    endpoints: Vec<Endpoint>,
    matrix: Matrix,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Play {
    /// Builds the VPC and starts the system in it.
    pub async fn begin(
        options: Options,
        run: &Path,
        plugins: PathBuf,
        progress: &mut Progress,
    ) -> Result<Self, Failure> {
        let seed = options
            .seed
            .unwrap_or_else(|| fastrand::u64(..u64::from(u32::MAX)));
        progress.begin("vpc");
        let topology = Topology::new(options.nodes);
        let subnets = topology.subnets.len();
        let vpc = Vpc::build(run, topology, LATENCY).await?;
        progress.end(&format!(
            "{subnets} subnets in 2 zones, {} nodes, seed {seed}",
            options.nodes
        ));

        let baseline = Baseline::take(&vpc.nodes)?;
        let cloud = clouds::connect(options.cloud, &vpc).await?;
        let system = System::start(&vpc, cloud)?;
        let namespaces = run.join("pods");
        fs::create_dir(&namespaces)?;
        let mut hosts = Vec::new();
        for node in &vpc.nodes {
            let runtime = Runtime {
                plugins: plugins.clone(),
                netns: node.netns().to_owned(),
                agent: endpoint(node)?.to_string(),
            };
            hosts.push((node.plan.name.clone(), runtime));
        }
        let pods = Pods::new(system.cluster.clone(), namespaces, hosts, seed);
        let report = Report {
            seed,
            nodes: options.nodes,
            pods_requested: options.pods,
            ..Report::default()
        };
        Ok(Self {
            options,
            vpc,
            system,
            pods,
            baseline,
            report,
            endpoints: Vec::new(),
            matrix: Matrix::default(),
        })
    }

    /// Fills the nodes with pods and checks everything. What goes wrong is noted; the run goes on.
    pub async fn check(&mut self, progress: &mut Progress) {
        progress.begin("warm pools");
        let filled = within("the warm pools fill", POOLS, self.pools_settled()).await;
        progress.end(self.note(filled, "filled"));

        progress.begin("pods");
        let count = self.options.pods;
        let start = self
            .pods
            .create(count, |ready| progress.count(ready, count as usize));
        let started = within("the pods start", PODS, start).await;
        let outcome = format!("{} of {count} ready", self.pods.ready());
        progress.end(self.note(started, &outcome));

        if self.options.churn > 0 {
            progress.begin("churn");
            let time = Duration::from_secs(self.options.churn);
            let churn = self.pods.churn(Instant::now() + time, |replaced| {
                progress.update(&format!("{replaced} replaced"))
            });
            let churned = within("the churn ends", time + CHURN_TAIL, churn).await;
            self.report.pods_replaced = *churned.as_ref().unwrap_or(&0);
            let outcome = format!("{} pods replaced", self.report.pods_replaced);
            progress.end(self.note(churned.map(|_| ()), &outcome));
        }
        self.report.pods_ready = self.pods.ready();
        progress.begin("pools");
        let settled = within(
            "the pools have pods + warm addresses",
            POOLS,
            self.pools_settled(),
        )
        .await;
        progress.end(self.note(settled, "settled"));
        self.report.per_node = survey::nodes(&self.vpc, &self.system, &self.pods).await;
        let duplicates = survey::duplicates(&self.vpc, &self.pods);
        self.report.duplicate_addresses = duplicates.len();
        self.report.errors.extend(duplicates);

        progress.begin("ping");
        self.endpoints = survey::endpoints(&self.vpc, &self.pods);
        let total = self.endpoints.len();
        let pings = every_pair(&self.endpoints, |sources| progress.count(sources, total));
        let pinged = within("the pings end", PINGS, pings)
            .await
            .and_then(|result| result.map_err(|error| error.to_string()));
        self.matrix = pinged.as_ref().cloned().unwrap_or_default();
        self.report.pings_ok = self.matrix.ok;
        self.report.pings_failed = self.matrix.failed.len();
        self.report.failed_pairs = self.matrix.failed.clone();
        let outcome = format!("{} ok, {} failed", self.matrix.ok, self.matrix.failed.len());
        progress.end(self.note(pinged.map(|_| ()), &outcome));
    }

    /// Deletes everything, proves that nothing is left, and judges.
    pub async fn finish(mut self, progress: &mut Progress) -> Report {
        progress.begin("deletion");
        let count = self.pods.ready();
        let deletion = self.pods.delete_all(|gone| progress.count(gone, count));
        let deleted = within("the pods go", DELETION, deletion).await;
        progress.end(self.note(deleted, &format!("{count} pods deleted")));

        progress.begin("drain");
        if let Err(error) = self.system.shrink(&self.vpc.nodes).await {
            self.report.errors.push(error.to_string());
        }
        self.report.leaks = self.drained(progress).await;
        self.report.leaks_after_drain = self.report.leaks.len();
        progress.end(&match self.report.leaks.len() {
            0 => "nothing is left".to_owned(),
            left => format!("{left} things are left over"),
        });

        let Self {
            vpc,
            system,
            pods,
            mut report,
            ..
        } = self;
        let measured = pods.measured();
        report.add_ms = Percentiles::of(measured.adds.iter().map(|(_, took)| *took));
        report.del_ms = Percentiles::of(measured.dels);
        report.cni_failures = measured.failures.len();
        report.failures = measured.failures;
        report.cloud_calls = system.cloud_calls();
        match vpc.fabric.spoofed_drops().await {
            Ok(drops) => report.spoofed_drops = drops,
            Err(error) => report.errors.push(error.to_string()),
        }
        report.errors.extend(system.stop().await);
        report.errors.extend(vpc.fabric.errors());
        report.seconds = progress.seconds();
        report.judge();
        report
    }

    /// The nodes as they were when the checks began.
    pub fn per_node(&self) -> &[NodeReport] {
        &self.report.per_node
    }

    /// Who was pinged, and what came of it.
    pub fn pinged(&self) -> (&[Endpoint], &Matrix) {
        (&self.endpoints, &self.matrix)
    }

    /// How to look around while it is up.
    pub fn visitors_guide(&self, isolated: Isolated) -> String {
        survey::guide(&self.vpc, &self.pods, isolated)
    }

    fn note<'a>(&mut self, result: Result<(), String>, outcome: &'a str) -> &'a str {
        if let Err(error) = result {
            self.report.errors.push(error);
        }
        outcome
    }

    /// Waits until every node has an address for each of its pods and the warm ones, or all it can carry.
    async fn pools_settled(&self) {
        let warm = WarmRange::default();
        loop {
            let nodes = survey::nodes(&self.vpc, &self.system, &self.pods).await;
            let settled = |node: &NodeReport| {
                let needed = (node.used + warm.min as usize).min(node.capacity);
                node.capacity > 0 && node.bound >= needed
            };
            if nodes.iter().all(settled) {
                break;
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until nothing is left, for a bounded time; what is left then.
    async fn drained(&self, progress: &mut Progress) -> Vec<String> {
        let deadline = Instant::now() + DRAIN;
        loop {
            let leaks = self.baseline.leaks(&self.vpc, &self.system).await;
            if leaks.is_empty() || Instant::now() > deadline {
                return leaks;
            }
            progress.update(&format!("{} things left", leaks.len()));
            sleep(LOOK).await;
        }
    }
}

async fn within<T>(what: &str, limit: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    timeout(limit, work)
        .await
        .map_err(|_| format!("{what}: not within {limit:?}"))
}
