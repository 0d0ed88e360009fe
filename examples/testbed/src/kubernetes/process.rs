//! A server that never outlives who started it.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Unavailable;

/// Runs the program and ends it once standard input ends, which is when we are gone, by whatever end. The
/// program's id is recorded while it runs, so that it alone is ended, and nothing that gets its id later.
const LEASH: &str = r#"
exec 3<&0
record=$1; shift
"$@" </dev/null 3<&- &
program=$!
echo "$program" > "$record"
{ read -r _ <&3; kill -TERM "$program"; } 2>/dev/null &
watcher=$!
wait "$program"
status=$?
kill -KILL "$watcher" 2>/dev/null
rm -f "$record"
exit "$status"
"#;

/// How long a program may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// Lines of a log that an error shows.
const TAIL: usize = 20;

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    program: &'static str,
    shell: Child,
    leash: Option<ChildStdin>,
    record: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts `program` of `path`; its log and its id are in `directory`.
    pub(crate) fn start(
        program: &'static str,
        path: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
        directory: &Path,
    ) -> Result<Self, Unavailable> {
        let refused = |error| Unavailable::machine(format!("{program} cannot be started"))(error);
        let (log, record) = (
            directory.join(format!("{program}.log")),
            directory.join(format!("{program}.pid")),
        );
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(refused)?;
        let errors = output.try_clone().map_err(refused)?;
        match fs::remove_file(&record) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(refused(error)),
            _ => {}
        }
        let mut shell = Command::new("sh")
            .args(["-c", LEASH, program])
            .arg(&record)
            .arg(path)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(refused)?;
        Ok(Self {
            program,
            leash: shell.stdin.take(),
            shell,
            record,
            log,
        })
    }

    /// Waits until `ready` says so.
    pub(crate) fn wait_until(
        &mut self,
        patience: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<(), Unavailable> {
        let begun = Instant::now();
        while !ready() {
            let ended = self.shell.try_wait().is_ok_and(|status| status.is_some());
            if ended || begun.elapsed() > patience {
                return Err(Unavailable::NotReady {
                    program: self.program,
                    seconds: begun.elapsed().as_secs(),
                    log: self.tail(),
                });
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends it, and returns when it has ended.
    pub(crate) fn stop(&mut self) {
        if self.leash.take().is_none() {
            return;
        }
        let begun = Instant::now();
        while matches!(self.shell.try_wait(), Ok(None)) {
            if begun.elapsed() > GRACE {
                self.kill();
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        if let Err(error) = self.shell.wait() {
            self.complain("its shell cannot be waited for", &error);
        }
    }

    /// Ends it as a crash does; nothing if it has ended.
    pub(crate) fn kill(&mut self) {
        let recorded = match fs::read_to_string(&self.record) {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            recorded => recorded,
        };
        let pid = recorded.and_then(|text| {
            text.trim()
                .parse()
                .map_err(|_| io::Error::from(ErrorKind::InvalidData))
        });
        match pid.and_then(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(io::Error::from)) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {}
            Err(error) => self.complain("it cannot be killed", &error),
        }
    }

    fn complain(&self, what: &str, error: &io::Error) {
        eprintln!("{}: {what}: {error}", self.program);
    }

    fn tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(process: &Process) -> Pid {
        let text = fs::read_to_string(&process.record).unwrap();
        Pid::from_raw(text.trim().parse().unwrap())
    }

    fn alive(pid: Pid) -> bool {
        kill(pid, None).is_ok()
    }

    fn sleeper(directory: &Path) -> Process {
        let arguments = ["600".to_owned()];
        let mut process =
            Process::start("sleep", Path::new("/bin/sleep"), &arguments, &[], directory).unwrap();
        let record = process.record.clone();
        process
            .wait_until(GRACE, || {
                fs::read_to_string(&record).is_ok_and(|text| text.ends_with('\n'))
            })
            .unwrap();
        process
    }

    #[test]
    fn a_program_ends_with_its_handle_and_its_id_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let process = sleeper(directory.path());
        let (pid, record) = (pid(&process), process.record.clone());
        assert!(alive(pid));
        drop(process);
        assert!(!alive(pid) && !record.exists());
    }

    #[test]
    fn a_program_that_was_killed_has_ended_and_is_not_killed_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = sleeper(directory.path());
        let pid = pid(&process);
        process.kill();
        process.stop();
        assert!(!alive(pid) && !process.record.exists());
        process.kill();
    }

    #[test]
    fn a_program_that_ends_at_once_shows_what_it_said() {
        let directory = tempfile::tempdir().unwrap();
        let arguments = ["-c".to_owned(), "echo no such flag; exit 2".to_owned()];
        let mut process =
            Process::start("server", Path::new("/bin/sh"), &arguments, &[], directory.path()).unwrap();
        let error = process.wait_until(GRACE, || false).unwrap_err();
        assert!(error.to_string().ends_with("no such flag"), "{error}");
    }
}
