//! Each process's own handles of the backends. Every call passes here: it may be late, fail, or be the last
//! thing that its process does. Once a process is cut, none of its calls comes back; but what it had sent to
//! the cloud or the cluster arrives all the same.

mod cloud;
mod cluster;
mod journal;
mod network;
mod sandboxes;

pub(super) use cloud::SimCloud;
pub(super) use cluster::SimCluster;
pub(super) use journal::SimJournal;
pub(super) use network::SimNetwork;
pub(super) use sandboxes::SimSandboxes;

use std::{sync::Arc, time::Duration};

use futures::future::{pending, ready};
use tokio::time::sleep;

use super::{
    core::World,
    process::{Process, Who},
};

/// A process in the world.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
}

/// Which kind of backend a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    Cloud,
    Cluster,
    Journal,
    Kernel,
    Runtime,
}

/// A call that begins.
pub(super) struct Call {
    pub(super) backend: Backend,
    pub(super) action: &'static str,
    pub(super) resource: String,
    pub(super) writes: bool,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Throttled,
    Unavailable,
    Conflict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Normal,
    Before(Trouble),
    After(Trouble),
    CrashBefore,
    CrashAfter,
}

impl Handle {
    pub(super) fn new(world: &Arc<World>, who: Who) -> Self {
        Self {
            world: world.clone(),
            process: Arc::new(Process::new(who)),
        }
    }

    /// One call that is executed at once, where it arrives.
    pub(super) async fn call<T, E>(
        &self,
        call: Call,
        fail: impl FnOnce(Trouble) -> E,
        execute: impl FnOnce(&World, &Who) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let execute = |world: Arc<World>, process: Arc<Process>| ready(execute(&world, &process.who));
        self.travel(call, fail, execute).await
    }

    /// One call: its fate, its way there, its execution, its way back.
    pub(super) async fn travel<T, E, F>(
        &self,
        call: Call,
        fail: impl FnOnce(Trouble) -> E,
        execute: impl FnOnce(Arc<World>, Arc<Process>) -> F + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<T, E>> + Send,
    {
        self.while_alive().await;
        let (fate, there, back) = self.draw(&call);
        let Call {
            backend,
            action,
            resource,
            writes,
        } = call;
        match fate {
            Fate::CrashBefore => return self.crash(action, resource).await,
            Fate::Before(trouble) => {
                pause(there).await;
                self.while_alive().await;
                self.world.step(&self.process.who, action, resource, "refused");
                return Err(fail(trouble));
            }
            _ => {}
        }
        let (world, process, noted) = (self.world.clone(), self.process.clone(), resource.clone());
        let run = async move || {
            let result = execute(world.clone(), process.clone()).await;
            let outcome = if result.is_ok() { "ok" } else { "failed" };
            world.step(&process.who, action, noted, outcome);
            result
        };
        let remote = matches!(backend, Backend::Cloud | Backend::Cluster);
        let result = if there.is_zero() {
            run().await
        } else if remote && writes {
            let sent = tokio::spawn(async move {
                sleep(there).await;
                run().await
            });
            match sent.await {
                Ok(result) => result,
                Err(_) => return pending().await,
            }
        } else {
            sleep(there).await;
            self.while_alive().await;
            run().await
        };
        if fate == Fate::CrashAfter {
            return self.crash(action, resource).await;
        }
        pause(back).await;
        self.while_alive().await;
        match fate {
            Fate::After(trouble) if result.is_ok() => {
                self.world
                    .step(&self.process.who, action, resource, "answer lost");
                Err(fail(trouble))
            }
            _ => result,
        }
    }

    async fn while_alive(&self) {
        if self.process.is_cut() {
            pending::<()>().await;
        }
    }

    async fn crash<T>(&self, action: &'static str, resource: String) -> T {
        self.world.step(&self.process.who, action, resource, "crash");
        self.process.cut();
        pending().await
    }

    fn draw(&self, call: &Call) -> (Fate, Duration, Duration) {
        let (world, rates) = (&self.world, &self.world.setting.rates);
        let dice = &world.dice;
        let way = match call.backend {
            Backend::Cloud | Backend::Cluster => world.setting.way,
            Backend::Journal | Backend::Kernel | Backend::Runtime => world.setting.way / 40,
        };
        let mut there = dice.millis(0, way / 2);
        let mut back = dice.millis(0, way / 2);
        if world.is_calm() {
            return (Fate::Normal, there, back);
        }
        if dice.chance(rates.slow) {
            there += dice.millis(0, 20 * way);
        }
        if dice.chance(rates.slow) {
            back += dice.millis(0, 20 * way);
        }
        let crash = match self.process.who {
            Who::Agent(_) => rates.agent_crash,
            Who::Ipamd(_) => rates.ipamd_crash,
            _ => 0.0,
        };
        if dice.chance(crash) {
            let fate = if dice.chance(0.5) {
                Fate::CrashBefore
            } else {
                Fate::CrashAfter
            };
            return (fate, there, back);
        }
        let (before, after, trouble) = match call.backend {
            Backend::Cloud if world.is_out() => (1.0, 0.0, Trouble::Unavailable),
            Backend::Cloud if dice.chance(rates.throttled) => (1.0, 0.0, Trouble::Throttled),
            Backend::Cluster if call.writes && dice.chance(rates.conflict) => (1.0, 0.0, Trouble::Conflict),
            Backend::Cloud | Backend::Cluster => (rates.before, rates.after, Trouble::Unavailable),
            Backend::Journal => (rates.journal, rates.journal, Trouble::Unavailable),
            Backend::Kernel | Backend::Runtime => (rates.kernel, rates.kernel, Trouble::Unavailable),
        };
        let fate = if dice.chance(before) {
            Fate::Before(trouble)
        } else if call.writes && dice.chance(after) {
            Fate::After(trouble)
        } else {
            Fate::Normal
        };
        (fate, there, back)
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// The answer of a memory backend whose latency is zero.
fn at_once<T>(answer: impl Future<Output = T>) -> T {
    let answer = futures::FutureExt::now_or_never(answer);
    answer.expect("a memory backend without latency answers at once")
}
