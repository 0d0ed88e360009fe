//! Enumerates every order in which things can happen, and visits every state once.
//!
//! It remembers nothing of the system under test but the way that led to a state: to go another way it
//! begins anew and walks there. Time stands still but for a millisecond each step.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    fmt::Debug,
    hash::{Hash, Hasher},
    time::Duration,
};

use tokio::runtime::Builder;

/// A system under test with everything around it.
pub trait World {
    /// One thing that can happen next.
    type Step: Clone + Debug;

    /// Everything that can happen next, in a fixed order; nothing means that the end is reached.
    fn steps(&self) -> Vec<Self::Step>;

    /// Makes it happen, up to the point where everything waits for another step.
    async fn take(&mut self, step: &Self::Step);

    /// What the future depends on: worlds with equal marks go on alike.
    fn mark(&self) -> String;

    /// What must hold in every state.
    async fn check(&self) -> Result<(), String>;

    /// What must come true from an end on, without further choices.
    async fn heal(&mut self) -> Result<(), String>;
}

/// How much was visited.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visited {
    /// Different states.
    pub states: usize,
    /// Of them, ends.
    pub ends: usize,
}

/// Visits every state that can be reached from `build`.
///
/// # Panics
///
/// At the first state that is not as it must be, with the way there.
pub fn explore<W: World>(build: impl AsyncFn() -> W) -> Visited {
    let mut visited = Visited::default();
    let mut seen = HashSet::new();
    let mut ways: Vec<Vec<W::Step>> = vec![Vec::new()];
    while let Some(mut way) = ways.pop() {
        // A runtime of its own: what the last way left unfinished ends with it.
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(async {
            let mut world = build().await;
            for step in &way {
                world.take(step).await;
            }
            while seen.insert(hash(&world.mark())) {
                visited.states += 1;
                demand(world.check().await, &way, &world);
                let mut steps = world.steps();
                let Some(next) = steps.pop() else {
                    visited.ends += 1;
                    let healed = world.heal().await;
                    return demand(healed, &way, &world);
                };
                for other in steps {
                    ways.push(way.iter().cloned().chain([other]).collect());
                }
                world.take(&next).await;
                way.push(next);
            }
        });
    }
    visited
}

fn demand<W: World>(outcome: Result<(), String>, way: &[W::Step], world: &W) {
    if let Err(wrong) = outcome {
        panic!("{wrong}\nafter {way:?}\nin state {}", world.mark());
    }
}

fn hash(mark: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    mark.hash(&mut hasher);
    hasher.finish()
}

/// Until every task waits for something: the paused clock moves only then.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
