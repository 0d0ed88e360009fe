//! Runs the stages one after the other and reports.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use crate::{
    ahead::Ahead,
    stage::{Counts, Failure, Outcome, Stage, Workspace},
    stages,
};

/// The chosen stages, in order.
#[derive(Debug)]
pub(crate) struct Gate {
    stages: Vec<&'static Stage>,
}

impl Gate {
    /// The stages that are wanted.
    pub(crate) fn new(wanted: impl Fn(&Stage) -> bool) -> Self {
        Self {
            stages: stages::ALL.iter().filter(|stage| wanted(stage)).collect(),
        }
    }

    /// Prints what would run.
    pub(crate) fn list(&self) {
        for Stage { name, purpose, .. } in &self.stages {
            println!("{name:<14}{purpose}");
        }
    }

    /// Runs every stage, also after one has failed: one run shows all that is wrong.
    pub(crate) fn run(&self, workspace: &Workspace) -> Report {
        let run = |stage: &&'static Stage| {
            println!("\n== {}: {}", stage.name, stage.purpose);
            let begin = Instant::now();
            let result = (stage.run)(workspace);
            let time = begin.elapsed();
            let ended = if result.is_ok() { "passed" } else { "FAILED" };
            println!("== {} {ended} after {:.1} s", stage.name, time.as_secs_f64());
            Ended {
                name: stage.name,
                time,
                result,
            }
        };
        let plays = self.stages.iter().any(|stage| stage.name == "play");
        let _ahead = plays.then(Ahead::start);
        Report {
            stages: self.stages.iter().map(run).collect(),
        }
    }
}

/// A stage that ran.
#[derive(Debug)]
struct Ended {
    name: &'static str,
    time: Duration,
    result: Result<Outcome, Failure>,
}

impl Ended {
    /// Its tests; a stage without tests is one.
    fn counts(&self) -> Counts {
        match &self.result {
            Ok(outcome) => outcome.tests.unwrap_or(Counts {
                passed: 1,
                ..Counts::default()
            }),
            Err(failure) => failure.counts(),
        }
    }
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Report {
    stages: Vec<Ended>,
}

impl Report {
    /// Whether everything that ran passed, and anything ran.
    pub(crate) fn passed(&self) -> bool {
        !self.stages.is_empty() && self.stages.iter().all(|stage| stage.result.is_ok())
    }

    /// Prints what failed, what must be known, a table of the stages, and the totals on the last line.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for stage in &self.stages {
            match &stage.result {
                Ok(outcome) => {
                    for note in &outcome.notes {
                        writeln!(out, "\nNOTE {}: {note}", stage.name)?;
                    }
                }
                Err(failure) => {
                    writeln!(out, "\nFAILED {}: {failure}", stage.name)?;
                    for line in failure.details() {
                        writeln!(out, "  {line}")?;
                    }
                }
            }
        }
        writeln!(out, "\nstage         result       time  passed  failed  skipped")?;
        let mut total = Counts::default();
        for stage in &self.stages {
            let result = if stage.result.is_ok() { "passed" } else { "FAILED" };
            let Counts {
                passed,
                failed,
                skipped,
            } = stage.counts();
            let (name, seconds) = (stage.name, stage.time.as_secs_f64());
            writeln!(
                out,
                "{name:<14}{result}  {seconds:>7.1} s  {passed:>6}  {failed:>6}  {skipped:>7}"
            )?;
            total.passed += passed;
            total.failed += failed;
        }
        writeln!(out, "{} passed, {} failed", total.passed, total.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(name: &'static str, result: Result<Outcome, Failure>) -> Ended {
        let time = Duration::from_millis(1500);
        Ended { name, time, result }
    }

    fn printed(report: &Report) -> String {
        let mut out = Vec::new();
        report.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_totals_stand_alone_on_the_last_line() {
        let tests = Counts {
            passed: 40,
            failed: 2,
            skipped: 1,
        };
        let report = Report {
            stages: vec![
                ended("fmt", Ok(Outcome::default())),
                ended(
                    "test",
                    Err(Failure::Tests {
                        counts: tests,
                        output: vec!["it broke here".into()],
                    }),
                ),
                ended("house", Err(Failure::rule("too long", vec!["a.rs".into()]))),
            ],
        };
        let text = printed(&report);
        assert_eq!(text.lines().last(), Some("41 passed, 3 failed"), "{text}");
        assert!(text.contains("FAILED test: 2 tests failed"), "{text}");
        assert!(text.contains("  it broke here"), "{text}");
        assert!(!report.passed());
    }

    #[test]
    fn a_note_is_shown_and_does_not_fail() {
        let report = Report {
            stages: vec![ended("install", Ok(Outcome::noted("`ip` is missing")))],
        };
        assert!(printed(&report).contains("NOTE install: `ip` is missing"));
        assert!(report.passed());
    }

    #[test]
    fn nothing_run_is_not_a_success() {
        assert!(!Report { stages: Vec::new() }.passed());
    }
}
