//! Rows as kubectl prints them, or as JSON.

use serde::Serialize;

use crate::{error::Error, options::Output};

/// A row of a table.
pub trait Row: Serialize {
    /// What its columns are called.
    const TITLES: &'static [&'static str];

    /// What is in them.
    fn cells(&self) -> Vec<String>;
}

/// Prints rows.
///
/// # Errors
///
/// [`Error::Json`].
pub fn print<R: Row>(rows: &[R], output: Output) -> Result<String, Error> {
    Ok(match output {
        Output::Json => serde_json::to_string_pretty(rows)?,
        Output::Table if rows.is_empty() => "nothing found".to_owned(),
        Output::Table => columns(R::TITLES, rows.iter().map(Row::cells).collect()),
    })
}

/// What is not there.
pub fn dash<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn columns(titles: &[&str], mut rows: Vec<Vec<String>>) -> String {
    rows.insert(0, titles.iter().map(|title| (*title).to_owned()).collect());
    let width = |column: usize| {
        rows.iter()
            .map(|row: &Vec<String>| row[column].len())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        line.join("   ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair(&'static str, u32);

    impl Row for Pair {
        const TITLES: &'static [&'static str] = &["NAME", "N"];

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_string()]
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [Pair("a", 1), Pair("a-long-one", 22)];
        let table = print(&rows, Output::Table).unwrap();
        assert_eq!(table, "NAME         N\na            1\na-long-one   22\n");
    }

    #[test]
    fn nothing_is_said_in_words_or_as_an_empty_list() {
        assert_eq!(print::<Pair>(&[], Output::Table).unwrap(), "nothing found");
        assert_eq!(print::<Pair>(&[], Output::Json).unwrap(), "[]");
    }
}
