//! The nodes, and who reached whom, as text.

use std::collections::BTreeMap;

use crate::{
    ping::{Endpoint, Matrix},
    report::NodeReport,
};

/// Endpoints up to which every single pair is drawn.
const DRAWN: usize = 24;

/// The nodes as a table.
pub fn node_table(nodes: &[NodeReport]) -> String {
    let mut rows = vec![
        [
            "node", "zone", "address", "ENIs", "bound", "used", "idle", "ADD p50", "p99 ms",
        ]
        .map(str::to_owned),
    ];
    rows.extend(nodes.iter().map(|node| {
        [
            node.node.clone(),
            node.zone.clone(),
            node.address.clone(),
            node.enis.to_string(),
            node.bound.to_string(),
            node.used.to_string(),
            node.idle.to_string(),
            node.add_ms.p50.to_string(),
            node.add_ms.p99.to_string(),
        ]
    }));
    table(&rows)
}

/// Who reached whom: every pair while that fits a screen, else sums by node.
pub fn matrix_table(endpoints: &[Endpoint], matrix: &Matrix) -> String {
    let failed = |from: &Endpoint, to: &Endpoint| {
        matrix
            .failed
            .iter()
            .any(|(a, b)| (a, b) == (&from.name, &to.name))
    };
    if endpoints.len() <= DRAWN {
        let width = endpoints
            .iter()
            .map(|endpoint| endpoint.name.len())
            .max()
            .unwrap_or_default();
        let row = |from: &Endpoint| {
            let marks = endpoints.iter().map(|to| match (from == to, failed(from, to)) {
                (true, _) => " -",
                (false, false) => " .",
                (false, true) => " X",
            });
            format!("{:width$} {}\n", from.name, marks.collect::<String>())
        };
        let rows: String = endpoints.iter().map(row).collect();
        return format!("from each row to each column, in the same order; X got no answer\n{rows}");
    }
    let mut nodes: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let mut sums: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for from in endpoints {
        for to in endpoints.iter().filter(|to| *to != from) {
            sums.entry((from.node.as_str(), to.node.as_str())).or_default().1 += 1;
        }
    }
    for sum in sums.values_mut() {
        sum.0 = sum.1;
    }
    let node_of: BTreeMap<&str, &str> = endpoints
        .iter()
        .map(|endpoint| (endpoint.name.as_str(), endpoint.node.as_str()))
        .collect();
    for (from, to) in &matrix.failed {
        if let (Some(from), Some(to)) = (node_of.get(from.as_str()), node_of.get(to.as_str())) {
            sums.entry((from, to)).or_default().0 -= 1;
        }
    }
    let mut rows = vec![vec!["answered, from / to".to_owned()]];
    rows[0].extend(nodes.iter().map(|node| (*node).to_owned()));
    for from in &nodes {
        let mut row = vec![(*from).to_owned()];
        row.extend(nodes.iter().map(|to| {
            let (ok, all) = sums.get(&(*from, *to)).copied().unwrap_or_default();
            format!("{ok}/{all}")
        }));
        rows.push(row);
    }
    table(&rows)
}

fn table<R: AsRef<[String]>>(rows: &[R]) -> String {
    let columns = rows
        .iter()
        .map(|row| row.as_ref().len())
        .max()
        .unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.as_ref().get(column))
            .map(String::len)
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or_default())
        .collect();
    let line = |row: &R| {
        let cells = row
            .as_ref()
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(count: usize) -> Vec<Endpoint> {
        (0..count)
            .map(|number| Endpoint {
                name: format!("pod-{number}"),
                node: format!("node-{}", number % 2),
                netns: Default::default(),
                address: [10, 0, 0, number as u8].into(),
            })
            .collect()
    }

    #[test]
    fn a_small_matrix_shows_every_pair() {
        let matrix = Matrix {
            ok: 5,
            failed: vec![("pod-0".into(), "pod-2".into())],
        };
        let text = matrix_table(&endpoints(3), &matrix);
        assert!(
            text.contains("pod-0  - . X\npod-1  . - .\npod-2  . . -\n"),
            "{text}"
        );
    }

    #[test]
    fn a_big_matrix_sums_by_node() {
        let failed = vec![("pod-0".into(), "pod-1".into())];
        let text = matrix_table(&endpoints(30), &Matrix { ok: 869, failed });
        assert!(text.contains("node-0               210/210  224/225"), "{text}");
        assert!(text.contains("node-1               225/225  210/210"), "{text}");
    }
}
