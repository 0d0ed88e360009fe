//! What was measured: a table, all figures, a picture, and whether everything worked.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    drive::{Measured, Phase},
    peers::OURS,
    rounds::Series,
};

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    rounds: u32,
    /// Links for pods on our node two seconds after the last DEL.
    links_left: usize,
    lines: Vec<Line>,
}

/// A peer at a concurrency.
#[derive(Debug, Serialize)]
struct Line {
    peer: String,
    concurrency: u32,
    add: Figures,
    check: Figures,
    del: Figures,
    failures: Vec<String>,
}

/// One command.
#[derive(Debug, Serialize)]
struct Figures {
    p50_ms: f64,
    p99_ms: f64,
    per_second: f64,
    cpu_ms: f64,
}

impl Report {
    pub(crate) fn new(results: Vec<Series>, rounds: u32, links_left: usize) -> Self {
        Self {
            rounds,
            links_left,
            lines: results.iter().map(line).collect(),
        }
    }

    /// A failure of anybody, or a link that stayed.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let failed = self
            .lines
            .iter()
            .find_map(|line| Some((&line.peer, line.failures.first()?)));
        match failed {
            Some((peer, said)) => Err(format!("{peer} failed: {said}")),
            None if self.links_left > 0 => Err(format!("{} links of pods are left", self.links_left)),
            None => Ok(()),
        }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(
            "| at once | network | ADD p50 | p99 | per second | CPU | CHECK p50 | DEL p50 | p99 | per second | CPU |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for line in &self.lines {
            let ours = self.ours(line.concurrency);
            let cell = |value: f64, own: f64, unit: &str| match line.peer == OURS || own == 0.0 {
                true => format!("{value:.1}{unit}"),
                false => format!("{value:.1}{unit} ({:.1} x)", value / own),
            };
            let Some(own) = ours else { continue };
            let cells = [
                line.concurrency.to_string(),
                line.peer.clone(),
                cell(line.add.p50_ms, own.add.p50_ms, " ms"),
                cell(line.add.p99_ms, own.add.p99_ms, " ms"),
                cell(line.add.per_second, own.add.per_second, ""),
                cell(line.add.cpu_ms, own.add.cpu_ms, " ms"),
                cell(line.check.p50_ms, own.check.p50_ms, " ms"),
                cell(line.del.p50_ms, own.del.p50_ms, " ms"),
                cell(line.del.p99_ms, own.del.p99_ms, " ms"),
                cell(line.del.per_second, own.del.per_second, ""),
                cell(line.del.cpu_ms, own.del.cpu_ms, " ms"),
            ];
            let written = writeln!(text, "| {} |", cells.join(" | "));
            written.expect("a string takes everything");
        }
        text
    }

    /// Bars of ADD and DEL at the lowest concurrency.
    pub(crate) fn svg(&self) -> String {
        let lowest = self.lines.iter().map(|line| line.concurrency).min();
        let lines: Vec<&Line> = self
            .lines
            .iter()
            .filter(|line| Some(line.concurrency) == lowest)
            .collect();
        let longest = lines
            .iter()
            .map(|line| line.add.p50_ms.max(line.del.p50_ms))
            .fold(1.0, f64::max);
        let (row, width) = (44, 420.0);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{}\" font-family=\"sans-serif\" font-size=\"13\">\n",
            lines.len() * row + 30
        );
        for (number, line) in lines.iter().enumerate() {
            let top = number * row + 10;
            let mut bar = |offset: usize, label: &str, value: f64, colour: &str| {
                let (y, length) = (top + offset, (value / longest * width).max(1.0));
                let written = writeln!(
                    text,
                    "<rect x=\"190\" y=\"{y}\" width=\"{length:.0}\" height=\"14\" fill=\"{colour}\"/>\
                     <text x=\"{:.0}\" y=\"{}\">{label} {value:.1} ms</text>",
                    198.0 + length,
                    y + 12
                );
                written.expect("a string takes everything");
            };
            bar(0, "ADD", line.add.p50_ms, "#2b6cb0");
            bar(17, "DEL", line.del.p50_ms, "#90a4b8");
            let written = writeln!(text, "<text x=\"4\" y=\"{}\">{}</text>", top + 20, line.peer);
            written.expect("a string takes everything");
        }
        text.push_str("</svg>\n");
        text
    }

    fn ours(&self, concurrency: u32) -> Option<&Line> {
        self.lines
            .iter()
            .find(|line| line.peer == OURS && line.concurrency == concurrency)
    }
}

fn line(result: &Series) -> Line {
    let all = |phase: fn(&Measured) -> &Phase| figures(result.rounds.iter().map(phase));
    let failures = result.rounds.iter().flat_map(|round| {
        [&round.add, &round.check, &round.del]
            .into_iter()
            .flat_map(|phase| phase.failures.clone())
    });
    Line {
        peer: result.peer.clone(),
        concurrency: result.concurrency,
        add: all(|round| &round.add),
        check: all(|round| &round.check),
        del: all(|round| &round.del),
        failures: failures.collect(),
    }
}

/// Percentiles by the nearest rank over all rounds; the rate is the median round's.
fn figures<'a>(phases: impl Iterator<Item = &'a Phase> + Clone) -> Figures {
    let mut micros: Vec<u64> = phases
        .clone()
        .flat_map(|phase| phase.micros.iter().copied())
        .collect();
    micros.sort_unstable();
    let rank = |percent: usize| {
        micros
            .get((micros.len() * percent).div_ceil(100).saturating_sub(1))
            .copied()
            .unwrap_or_default()
    };
    let mut rates: Vec<f64> = phases
        .clone()
        .map(|phase| phase.micros.len() as f64 * 1e6 / phase.wall_micros.max(1) as f64)
        .collect();
    rates.sort_unstable_by(f64::total_cmp);
    let cpu: u64 = phases.map(|phase| phase.cpu_micros).sum();
    Figures {
        p50_ms: rank(50) as f64 / 1e3,
        p99_ms: rank(99) as f64 / 1e3,
        per_second: rates.get(rates.len() / 2).copied().unwrap_or_default(),
        cpu_ms: cpu as f64 / 1e3 / micros.len().max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(peer: &str, millis: u64, failures: &[&str]) -> Series {
        let phase = Phase {
            micros: vec![millis * 1_000; 4],
            wall_micros: millis * 4_000,
            cpu_micros: millis * 2_000,
            failures: failures.iter().map(|said| (*said).to_owned()).collect(),
        };
        let measured = Measured {
            add: phase.clone(),
            check: phase.clone(),
            del: phase,
        };
        Series {
            peer: peer.to_owned(),
            concurrency: 1,
            rounds: vec![measured],
        }
    }

    #[test]
    fn peers_are_shown_as_multiples_of_ours() {
        let report = Report::new(vec![result(OURS, 2, &[]), result("ptp", 12, &[])], 1, 0);
        let table = report.markdown();
        assert!(
            table.contains("| 1 | tke-route-eni | 2.0 ms | 2.0 ms | 500.0 |"),
            "{table}"
        );
        assert!(table.contains("| 1 | ptp | 12.0 ms (6.0 x) |"), "{table}");
        assert!(report.svg().contains("ptp"));
        report.verdict().unwrap();
    }

    #[test]
    fn a_failure_and_a_link_that_stays_are_told() {
        let failed = Report::new(vec![result(OURS, 2, &["no address"])], 1, 0).verdict();
        assert_eq!(failed.unwrap_err(), "tke-route-eni failed: no address");
        assert!(Report::new(vec![result(OURS, 2, &[])], 1, 3).verdict().is_err());
    }
}
