//! House rules that a machine can check.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::stage::{Failure, Outcome, Workspace};

/// Lines of a source file, its unit tests apart. Files of tests may be longer.
const LONGEST: usize = 500;

/// Every source file begins with what it is for, and is of a readable length.
pub(super) fn house(workspace: &Workspace) -> Result<Outcome, Failure> {
    let mut files = Vec::new();
    let read = sources(&workspace.root, &mut files).and_then(|()| {
        let read = |path: PathBuf| Ok((fs::read_to_string(&path)?, path));
        files.into_iter().map(read).collect::<io::Result<Vec<_>>>()
    });
    let files = read.map_err(|error| {
        let place = workspace.root.display();
        Failure::rule(
            format!("the sources under {place} cannot be read: {error}"),
            Vec::new(),
        )
    })?;
    println!("{} source files", files.len());
    let violations: Vec<String> = files
        .iter()
        .flat_map(|(text, path)| violations(path.strip_prefix(&workspace.root).unwrap_or(path), text))
        .collect();
    match violations.is_empty() {
        true => Ok(Outcome::default()),
        false => Err(Failure::rule(
            "house rules of CONTRIBUTING.md are broken",
            violations,
        )),
    }
}

fn violations(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let name = path.display();
    if !text.starts_with("//!") {
        found.push(format!("{name}: begin with `//!` and what the file is for"));
    }
    let is_test = path.components().any(|part| part.as_os_str() == "tests");
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    if lines > LONGEST && !is_test {
        found.push(format!(
            "{name}: {lines} lines; more than {LONGEST} are two files"
        ));
    }
    found
}

/// Collects the Rust files below a directory, without hidden directories and what cargo has built, which it
/// marks as a cache.
fn sources(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if hidden || path.join("CACHEDIR.TAG").is_file() {
            continue;
        }
        if entry.file_type()?.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        violations(Path::new(path), text).len()
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert_eq!(found("src/a.rs", "//! Adds.\nfn add() {}\n"), 0);
        assert_eq!(found("src/a.rs", "fn add() {}\n"), 1);
        assert_eq!(found("src/a.rs", ""), 1);
    }

    #[test]
    fn a_long_file_is_two_unless_it_is_long_by_tests() {
        let long = format!("//! Long.\n{}", "\n".repeat(LONGEST));
        let tested = format!("//! Tested.\n#[cfg(test)]\n{}", "\n".repeat(LONGEST));
        assert_eq!(found("src/a.rs", &long), 1);
        assert_eq!(found("tests/a.rs", &long), 0);
        assert_eq!(found("src/a.rs", &tested), 0);
    }
}
