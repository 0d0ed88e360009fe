//! Runs programs whose output is seen while they run, and kept for the report.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io::{self, BufRead, BufReader, Read},
    process::{Command, ExitStatus, Stdio},
};

use crate::stage::Failure;

/// Lines of a failed program's output that the report repeats.
const TAIL: usize = 60;

/// What cargo's lines of progress begin with; the report leaves them out.
const PROGRESS: [&str; 4] = ["Checking ", "Compiling ", "Documenting ", "Downloaded "];

/// Cargo, the one that runs us.
pub(crate) fn cargo<I>(arguments: I) -> Command
where
    I: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
{
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(arguments);
    command
}

/// Runs a program that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let (status, tail) = watch(command, |_| {})?;
    succeeded(command, status, tail)
}

/// Runs a program, shows both its output streams as one, and hands each line to `each`. Returns how it
/// ended and its last lines.
pub(crate) fn watch(
    command: &mut Command,
    mut each: impl FnMut(&str),
) -> Result<(ExitStatus, Vec<String>), Failure> {
    let line = describe(command);
    println!("$ {line}");
    let start = |source| Failure::Start {
        command: line,
        source,
    };
    let mut tail = VecDeque::new();
    let status = stream(command, |text| {
        println!("{text}");
        each(text);
        if PROGRESS.iter().any(|word| text.trim_start().starts_with(word)) {
            return;
        }
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(text.to_owned());
    });
    Ok((status.map_err(start)?, tail.into()))
}

/// Runs a program, shows what it reports on stderr, and returns what it prints on stdout.
pub(crate) fn capture(command: &mut Command) -> Result<(ExitStatus, String), Failure> {
    let line = describe(command);
    println!("$ {line}");
    let start = |source| Failure::Start {
        command: line,
        source,
    };
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(start)?;
    Ok((
        output.status,
        String::from_utf8_lossy(&output.stdout).into_owned(),
    ))
}

/// Whether a program succeeds, with nothing shown; one that does not exist does not.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// An error unless the program succeeded.
pub(crate) fn succeeded(command: &Command, status: ExitStatus, tail: Vec<String>) -> Result<(), Failure> {
    if status.success() {
        return Ok(());
    }
    let command = describe(command);
    Err(Failure::Command {
        command,
        status,
        tail,
    })
}

/// The command as one would type it.
fn describe(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let set = command.get_envs().filter_map(|(name, value)| {
        let (name, value) = (name.to_string_lossy(), value?.to_string_lossy());
        Some(format!("{name}={}", quoted(&value)))
    });
    let arguments = command
        .get_args()
        .map(|argument| quoted(&argument.to_string_lossy()));
    set.chain([program])
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Text as one word of a command, on one line.
fn quoted(text: &str) -> String {
    if !text.contains(char::is_whitespace) {
        return text.to_owned();
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    format!("'{}'", lines.join("; "))
}

fn stream(command: &mut Command, each: impl FnMut(&str)) -> io::Result<ExitStatus> {
    let (reader, writer) = io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn()?;
    // Ours of the write ends must go, or the pipe never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    lines(reader, each)?;
    child.wait()
}

fn lines(reader: impl Read, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_arrive_in_order() {
        let mut seen = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; printf three; exit 3"]);
        let (status, tail) = watch(&mut command, |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["one", "two", "three"]);
        assert_eq!((status.code(), tail), (Some(3), seen));
    }

    #[test]
    fn a_failure_names_the_command_as_it_would_be_typed() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 3"]).env("FLAGS", "-D warnings");
        let failure = run(&mut command).unwrap_err().to_string();
        assert!(
            failure.starts_with("`FLAGS='-D warnings' sh -c 'exit 3'` failed"),
            "{failure}"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = run(&mut Command::new("/nowhere/no-such-program")).unwrap_err();
        assert!(
            failure.to_string().starts_with("`no-such-program` cannot be run"),
            "{failure}"
        );
    }

    #[test]
    fn only_the_end_of_long_output_is_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "seq 100; echo '   Compiling x v0.1.0'"]);
        let (_, tail) = watch(&mut command, |_| {}).unwrap();
        assert_eq!(tail.len(), TAIL);
        assert_eq!(tail.last().map(String::as_str), Some("100"));
    }
}
