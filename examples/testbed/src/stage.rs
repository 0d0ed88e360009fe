//! What a stage of the gate is given and what it answers.

use std::{io, path::PathBuf, process::ExitStatus};

use cargo_metadata::MetadataCommand;

/// One check of the gate.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Its name on the command line and in the table.
    pub(crate) name: &'static str,
    /// What it does, in one line.
    pub(crate) purpose: &'static str,
    /// It runs only when it is asked for.
    pub(crate) long: bool,
    /// The check. What it prints goes to the terminal at once.
    pub(crate) run: fn(&Workspace) -> Result<Outcome, Failure>,
}

/// Where the gate runs, and as whom.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The top of the source tree.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// It may install packages and make network namespaces.
    pub(crate) superuser: bool,
    /// Tests that need the kernel may not be skipped: always so for root, whom nothing excuses, and for
    /// others when `ENI_REQUIRE_KERNEL=1` says so.
    pub(crate) kernel_required: bool,
}

impl Workspace {
    /// The workspace of the current directory.
    pub(crate) fn find() -> Result<Self, cargo_metadata::Error> {
        let metadata = MetadataCommand::new().no_deps().exec()?;
        let superuser = nix::unistd::geteuid().is_root();
        Ok(Self {
            root: metadata.workspace_root.into(),
            target: metadata.target_directory.into(),
            superuser,
            kernel_required: superuser || std::env::var(REQUIRE_KERNEL).is_ok_and(|value| value == "1"),
        })
    }
}

/// The environment variable that forbids kernel tests to skip.
pub(crate) const REQUIRE_KERNEL: &str = "ENI_REQUIRE_KERNEL";

/// What a stage that passed has to say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The tests it ran; a stage without tests counts as one check.
    pub(crate) tests: Option<Counts>,
    /// What the reader must know although it passed, such as what could not be checked here.
    pub(crate) notes: Vec<String>,
}

impl Outcome {
    /// It passed, and this must be known.
    pub(crate) fn noted(note: impl Into<String>) -> Self {
        Self {
            notes: vec![note.into()],
            ..Self::default()
        }
    }
}

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// They ran and passed.
    pub(crate) passed: usize,
    /// They ran and failed.
    pub(crate) failed: usize,
    /// They did not run.
    pub(crate) skipped: usize,
}

/// Why a stage failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("`{command}` cannot be run: {source}; is it installed and on PATH?")]
    Start { command: String, source: io::Error },

    #[error("`{command}` failed ({status}); the end of its output follows")]
    Command {
        command: String,
        status: ExitStatus,
        tail: Vec<String>,
    },

    #[error("{} tests failed; their output follows", counts.failed)]
    Tests { counts: Counts, output: Vec<String> },

    #[error("{rule}")]
    Rule { rule: String, violations: Vec<String> },
}

impl Failure {
    /// A rule and where it is broken.
    pub(crate) fn rule(rule: impl Into<String>, violations: Vec<String>) -> Self {
        Self::Rule {
            rule: rule.into(),
            violations,
        }
    }

    /// What to show below the message.
    pub(crate) fn details(&self) -> &[String] {
        match self {
            Self::Start { .. } => &[],
            Self::Command { tail, .. } => tail,
            Self::Tests { output, .. } => output,
            Self::Rule { violations, .. } => violations,
        }
    }

    /// The tests that had run; a failure without a failed test counts as one.
    pub(crate) fn counts(&self) -> Counts {
        match self {
            Self::Tests { counts, .. } => Counts {
                failed: counts.failed.max(1),
                ..*counts
            },
            _ => Counts {
                failed: 1,
                ..Counts::default()
            },
        }
    }
}
