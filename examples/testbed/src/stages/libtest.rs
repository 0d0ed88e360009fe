//! Reads what test programs print: how many tests ran, and what the failed ones said.

use crate::stage::Counts;

/// The results of any number of test programs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// All tests so far.
    pub(super) counts: Counts,
    /// What the programs printed about the tests that failed.
    pub(super) failures: Vec<String>,
    in_failures: bool,
}

impl Tally {
    /// Reads the next line.
    pub(super) fn line(&mut self, line: &str) {
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.counts.passed += number(summary, "passed");
            self.counts.failed += number(summary, "failed");
            self.counts.skipped += number(summary, "ignored");
            self.in_failures = false;
        } else if line == "failures:" {
            self.in_failures = true;
        } else if self.in_failures && !line.trim().is_empty() {
            self.failures.push(line.to_owned());
        }
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; 1 ignored; …`.
fn number(summary: &str, word: &str) -> usize {
    summary
        .split([';', '.'])
        .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a ... ok
test b ... FAILED
test c ... ignored

failures:

---- b stdout ----
assertion failed: left == right

failures:
    b

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests x
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s
";

    #[test]
    fn the_results_of_all_programs_add_up() {
        let mut tally = Tally::default();
        OUTPUT.lines().for_each(|line| tally.line(line));
        let expected = Counts {
            passed: 13,
            failed: 1,
            skipped: 1,
        };
        assert_eq!(tally.counts, expected);
        assert_eq!(
            tally.failures,
            ["---- b stdout ----", "assertion failed: left == right", "    b"]
        );
    }
}
