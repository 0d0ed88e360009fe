//! The first process of a node: sets up its mounts, runs its programs, and buries the dead.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{errno::Errno, sys::wait::wait, unistd::sethostname};

use super::{
    mounts,
    spec::{NodeSpec, Program, Step},
};

/// How long a step that has to succeed may be tried.
const PATIENCE: Duration = Duration::from_secs(120);

/// The pause before a program is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause before a step is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Runs the node that a file describes. It ends when its standard input does; the kernel then ends all others.
pub(crate) fn run(file: &Path) -> io::Result<()> {
    let spec = NodeSpec::read(file)?;
    thread::Builder::new().name("leash".into()).spawn(|| {
        let ended = io::copy(&mut io::stdin().lock().take(u64::MAX), &mut io::sink());
        std::process::exit(i32::from(ended.is_err()));
    })?;
    sethostname(&spec.name)?;
    mounts::mount_all(&spec)?;
    let mut running = BTreeMap::new();
    for step in &spec.steps {
        match step {
            Step::Service(program) => {
                running.insert(start(program, &spec.directory)?.id(), program);
            }
            Step::Once(program) => finish(program, &spec.directory)?,
        }
    }
    loop {
        let ended = match wait() {
            Ok(status) => status.pid(),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        // Any other is an orphan, of which nobody wants to know.
        let service = ended.and_then(|pid| running.remove(&pid.as_raw().unsigned_abs()));
        if let Some(program) = service {
            println!("{} ended; it is started again", program.name);
            thread::sleep(PAUSE);
            running.insert(start(program, &spec.directory)?.id(), program);
        }
    }
}

/// Runs a program until it succeeds.
fn finish(program: &Program, directory: &Path) -> io::Result<()> {
    let begun = Instant::now();
    while !start(program, directory)?.wait()?.success() {
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{} does not succeed; its log tells", program.name),
            ));
        }
        thread::sleep(RETRY);
    }
    Ok(())
}

fn start(program: &Program, directory: &Path) -> io::Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join(format!("{}.log", program.name)))?;
    Command::new(&program.path)
        .args(&program.arguments)
        // Kubelet asks for a cloud's metadata for 10 s otherwise.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.path.display())))
}
