//! What happens, one after the other.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Churn, Cost, Growth, Observer, Report, Restart, Scale, Steady, checks, fleet::Fleet, ipamd::Ipamd,
    pods::Pods, region::Region,
};

/// How often it is looked whether a phase is over.
const LOOK: Duration = Duration::from_secs(1);
/// How long there must be nothing to do until there is nothing to do: agents give addresses back every two
/// minutes at most, and report every half minute.
const REST: Duration = Duration::from_secs(240);
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// How often the cloud is audited.
const AUDIT: Duration = Duration::from_secs(600);
/// Instances in one reading.
const INSTANCES: u64 = 100;
const MINUTE: Duration = Duration::from_secs(60);

struct Run<'a> {
    scale: &'a Scale,
    observer: Arc<dyn Observer>,
    region: Region,
    fleet: Arc<Fleet>,
    pods: Arc<Pods>,
    begun: Instant,
}

pub(super) async fn run(scale: &Scale, observer: Arc<dyn Observer>) -> Report {
    let region = Region::new(scale);
    let fleet = Fleet::start(scale, &region).await;
    let pods = Pods::new(
        scale,
        region.cluster.clone(),
        region.environment.clone(),
        fleet.clone(),
    );
    let run = Run {
        scale,
        observer,
        region,
        fleet,
        pods,
        begun: Instant::now(),
    };
    let ipamd = Ipamd::start(scale, &run.region, run.observer.clone());
    let mut report = Report {
        nodes: scale.nodes,
        pods: scale.pods,
        calls_per_second: scale.calls_per_second,
        growth: run.growth(&ipamd).await,
        steady: run.steady(&ipamd).await,
        churn: run.churn(&ipamd).await,
        restart: run.restart(ipamd).await,
        broken: Vec::new(),
    };
    report.broken = checks::broken(scale, &report);
    report
}

impl Run<'_> {
    /// From nothing until every pod has an address and every node its warm ones.
    async fn growth(&self, ipamd: &Ipamd) -> Growth {
        for number in 0..self.scale.pods {
            self.pods.begin(number % self.scale.nodes);
        }
        let (mut idle, mut fullest) = (0, 0);
        while self.pods.served() < self.scale.pods as usize {
            self.look("growth").await;
            let (now, most) = self.fleet.addresses();
            (idle, fullest) = (idle.max(now), fullest.max(most));
        }
        self.settle("growth", ipamd).await;
        let (now, most) = self.fleet.addresses();
        let (waits, last) = self.pods.take_waits();
        Growth {
            needed: self.scale.needed_calls(),
            needed_seconds: self.scale.needed_seconds(),
            seconds: (last - self.begun).as_secs_f64(),
            calls: self.region.calls.lock().take(),
            waits,
            idle: now,
            most_idle: idle.max(now),
            fullest: fullest.max(most),
            cost: self.cost(ipamd),
        }
    }

    /// Nothing happens.
    async fn steady(&self, ipamd: &Ipamd) -> Steady {
        let end = Instant::now() + self.scale.steady;
        while Instant::now() < end {
            self.look("steady").await;
        }
        let audits = self.scale.steady.as_secs().div_ceil(AUDIT.as_secs());
        let instances = u64::from(self.scale.nodes).div_ceil(INSTANCES);
        let each = [("enis", 1), ("instances", instances), ("subnets", 1)];
        Steady {
            seconds: self.scale.steady.as_secs_f64(),
            audits: each.map(|(action, calls)| (action, calls * audits)).into(),
            calls: self.region.calls.lock().take(),
            cost: self.cost(ipamd),
        }
    }

    /// Pods are replaced, evenly over every minute.
    async fn churn(&self, ipamd: &Ipamd) -> Churn {
        let each = u64::from(self.scale.pods) * u64::from(self.scale.churn_per_mille) / 1000;
        let replaced = each * u64::from(self.scale.churn_minutes);
        let pause = MINUTE.div_f64((each as f64).max(1.0));
        for _ in 0..replaced {
            self.pods.replace();
            self.wait("churn", pause).await;
        }
        while self.pods.served() < replaced as usize {
            self.look("churn").await;
        }
        self.settle("churn", ipamd).await;
        Churn {
            replaced,
            calls: self.region.calls.lock().take(),
            waits: self.pods.take_waits().0,
            idle: self.fleet.addresses().0,
            cost: self.cost(ipamd),
        }
    }

    /// The controller ends, and another one takes over.
    async fn restart(&self, ipamd: Ipamd) -> Restart {
        ipamd.stop().await;
        self.region.calls.lock().take();
        let without = self.observer.allocated();
        let begun = Instant::now();
        let ipamd = Ipamd::start(self.scale, &self.region, self.observer.clone());
        while !ipamd.is_settled() {
            self.look("restart").await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        self.settle("restart", &ipamd).await;
        Restart {
            seconds,
            calls: self.region.calls.lock().take(),
            bytes: self.observer.allocated().saturating_sub(without),
            cost: self.cost(&ipamd),
        }
    }

    /// Until nothing was left to do for long enough.
    async fn settle(&self, phase: &'static str, ipamd: &Ipamd) {
        let mut rested = Instant::now();
        while rested.elapsed() < REST {
            self.look(phase).await;
            if !ipamd.is_settled() {
                rested = Instant::now();
            }
        }
    }

    async fn look(&self, phase: &'static str) {
        self.wait(phase, LOOK).await;
    }

    async fn wait(&self, phase: &'static str, pause: Duration) {
        sleep(pause).await;
        let elapsed = self.begun.elapsed();
        assert!(elapsed < PATIENCE, "the phase `{phase}` does not come to its end");
        self.observer.progress(phase, elapsed, self.pods.served());
    }

    fn cost(&self, ipamd: &Ipamd) -> Cost {
        Cost {
            controller_microseconds: u64::try_from(ipamd.take_computed().as_micros()).unwrap_or(u64::MAX),
            controller_writes: ipamd.take_writes(),
            agent_writes: self.fleet.take_writes(),
        }
    }
}
