//! An agent's handle of its node's container runtime.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Backend, Call, Handle, Trouble, at_once};
use crate::{
    sandbox::{Sandbox, SandboxError, Sandboxes},
    sim::{MemorySandboxes, world::Bug},
};

/// An agent's handle of its node's container runtime.
pub(in crate::sim::world) struct SimSandboxes {
    pub(in crate::sim::world) handle: Handle,
    pub(in crate::sim::world) runtime: Arc<MemorySandboxes>,
}

#[async_trait]
impl Sandboxes for SimSandboxes {
    async fn list(&self) -> Result<Vec<Sandbox>, SandboxError> {
        let call = Call {
            backend: Backend::Runtime,
            action: "sandboxes",
            resource: String::new(),
            writes: false,
        };
        let fail = |_: Trouble| SandboxError("the simulation wants it so".to_owned());
        let runtime = self.runtime.clone();
        self.handle
            .call(call, fail, move |world, _| {
                let mut all = at_once(runtime.list())?;
                all.retain(|_| !world.has(Bug::BlindToSandboxes));
                Ok(all)
            })
            .await
    }
}
