//! Mistakes that can be built in, to prove that the invariants find them.

/// A mistake. Each is made outside of the code that is simulated: a backend that lies to it, a plugin or an
/// ipamd that takes a short cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The agent forgets at its start which addresses rest.
    ForgetCooling,
    /// An ADD is acknowledged before the journal has it.
    SkipJournal,
    /// ipamd takes off what the agent offered back without writing first that it does.
    UnassignAtOnce,
    /// A creation is repeated with another token.
    NewTokenForEachTry,
    /// ipamd looks at addresses and not at their generations.
    IgnoreGeneration,
    /// ipamd takes a listing that failed for an empty one.
    FailedListingIsEmpty,
    /// A DEL gives back what the pod's name owns.
    DelByPodName,
    /// An ipamd that was replaced goes on: it is not told how long its lease lasts.
    DeafLeader,
    /// The plugin wires to a pod what another one owns.
    WireAnothers,
    /// The agent forgets at its start what it has offered back.
    ForgetWithdrawn,
    /// The plugin does not ask the agent again once the pod is wired.
    AskOnce,
    /// The collector sees no sandbox, neither in the kernel nor in the runtime: the pod alone decides.
    BlindToSandboxes,
    /// The collector takes pods that it does not know for gone: the sandbox alone decides.
    BlindToPods,
}

impl Bug {
    /// Every mistake.
    pub const ALL: [Self; 13] = [
        Self::ForgetCooling,
        Self::SkipJournal,
        Self::UnassignAtOnce,
        Self::NewTokenForEachTry,
        Self::IgnoreGeneration,
        Self::FailedListingIsEmpty,
        Self::DelByPodName,
        Self::DeafLeader,
        Self::WireAnothers,
        Self::ForgetWithdrawn,
        Self::AskOnce,
        Self::BlindToSandboxes,
        Self::BlindToPods,
    ];
}
