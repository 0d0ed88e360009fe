//! Every test of the workspace.

use std::process::Command;

use super::{libtest::Tally, sdk::REQUIRE_SDK};
use crate::{
    kubernetes::REQUIRE_KUBERNETES,
    run::{cargo, succeeded, watch},
    stage::{Failure, Outcome, REQUIRE_KERNEL, Workspace},
};

/// Every test, with every feature. Where the kernel is required no test may skip.
pub(super) fn test(workspace: &Workspace) -> Result<Outcome, Failure> {
    let mut command = cargo(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    if workspace.kernel_required {
        for required in [REQUIRE_KERNEL, REQUIRE_KUBERNETES, REQUIRE_SDK] {
            command.env(required, "1");
        }
    }
    count([command])
}

/// Runs programs that test, and adds up what they say.
pub(super) fn count(commands: impl IntoIterator<Item = Command>) -> Result<Outcome, Failure> {
    let mut tally = Tally::default();
    let mut broken = None;
    for mut command in commands {
        let before = tally.counts.failed;
        let (status, tail) = watch(&mut command, |line| tally.line(line))?;
        // A program that fails without a failed test did not build, or crashed.
        if tally.counts.failed == before && broken.is_none() {
            broken = succeeded(&command, status, tail).err();
        }
    }
    let counts = tally.counts;
    match broken {
        _ if counts.failed > 0 => Err(Failure::Tests {
            counts,
            output: tally.failures,
        }),
        Some(failure) => Err(failure),
        None if counts.passed + counts.skipped == 0 => {
            Err(Failure::rule("there was no test to run", Vec::new()))
        }
        None => Ok(Outcome {
            tests: Some(counts),
            notes: match counts.skipped {
                0 => Vec::new(),
                skipped => vec![format!("{skipped} tests were skipped; each said why above")],
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Counts;

    fn program(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn tests_are_counted_over_programs() {
        let ok = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured'";
        let outcome = count([program(ok), program(ok)]).unwrap();
        let expected = Counts {
            passed: 4,
            failed: 0,
            skipped: 2,
        };
        assert_eq!(outcome.tests, Some(expected));
        assert_eq!(outcome.notes.len(), 1);
    }

    #[test]
    fn a_failed_test_a_crash_and_no_test_at_all_are_failures() {
        let failed = "echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101";
        let failure = count([program(failed)]).unwrap_err();
        assert_eq!(failure.counts().failed, 2);
        let crash = "echo 'running 3 tests'; kill -SEGV $$";
        assert!(matches!(count([program(crash)]), Err(Failure::Command { .. })));
        assert!(matches!(count([program("true")]), Err(Failure::Rule { .. })));
    }
}
