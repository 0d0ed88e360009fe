//! Runs the playground.

use std::{alloc::System, io, path::PathBuf, process::ExitCode};

use cap::Cap;
use fabric::isolate::{self, Isolated, IsolationError, RunDirectory};
use playground::{
    options::{Cli, Command, Options},
    play::Play,
    plugins,
    progress::Progress,
    scale, simulate,
    tables::{matrix_table, node_table},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The system's, which also tells how much is allocated.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Exit statuses besides 0, 1 and the 2 of a wrong option: 77 is what test tools say of what cannot run
/// here, 130 what shells say of an interrupted program.
const NOT_ALLOWED: u8 = 77;
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let Cli { command, options } = Cli::read();
    // A simulation injects thousands of failures; what is logged of them is asked for or left out.
    let usual = if command.is_some() { "off" } else { "error" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    if let Some(command) = command {
        let right = match command {
            Command::Simulate(wanted) => simulate::run(&wanted),
            Command::Scale(wanted) => scale::run(&wanted, &ALLOCATOR),
        };
        return if right {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let mut progress = Progress::new();

    // As the user who called, in the namespaces of the machine: cargo writes files and may fetch some.
    progress.begin("plugins");
    let plugins = match plugins::locate(options.plugins.as_deref()) {
        Ok(plugins) => plugins,
        Err(error) => return fail(&error, ExitCode::FAILURE),
    };
    progress.end(&plugins.display().to_string());
    let isolated = match isolate::enter() {
        Ok(isolated) => isolated,
        Err(error @ IsolationError::Forbidden { .. }) => return fail(&error, ExitCode::from(NOT_ALLOWED)),
        Err(error) => return fail(&error, ExitCode::FAILURE),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, ExitCode::FAILURE),
    };
    runtime.block_on(play(options, plugins, isolated, progress))
}

/// One run, which an interrupt ends at any time: what was begun ends with its namespaces.
async fn play(options: Options, plugins: PathBuf, isolated: Isolated, mut progress: Progress) -> ExitCode {
    let (mut interrupt, mut terminate) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            (Err(error), _) | (_, Err(error)) => return fail(&error, ExitCode::FAILURE),
        };
    let run = match RunDirectory::create() {
        Ok(run) => run,
        Err(error) => return fail(&error, ExitCode::FAILURE),
    };
    let (json, keep) = (options.json, options.keep);
    let checks = async {
        let mut play = Play::begin(options, run.path(), plugins, &mut progress).await?;
        play.check(&mut progress).await;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((play, progress))
    };
    let (play, mut progress) = tokio::select! {
        biased;
        () = either(&mut interrupt, &mut terminate) => return interrupted(),
        checked = checks => match checked {
            Ok(checked) => checked,
            Err(error) => return fail(error.as_ref(), ExitCode::FAILURE),
        },
    };
    if !json {
        let (endpoints, matrix) = play.pinged();
        println!(
            "{}\n{}",
            node_table(play.per_node()),
            matrix_table(endpoints, matrix)
        );
    }
    if keep {
        progress.say(&play.visitors_guide(isolated));
        either(&mut interrupt, &mut terminate).await;
    }
    let report = tokio::select! {
        biased;
        // Whoever kept it up has interrupted already; a second time changes nothing.
        () = either(&mut interrupt, &mut terminate), if !keep => return interrupted(),
        report = play.finish(&mut progress) => report,
    };
    match (json, serde_json::to_string(&report)) {
        (false, _) => println!("{report}"),
        (true, Ok(text)) => println!("{text}"),
        (true, Err(error)) => return fail(&error, ExitCode::FAILURE),
    }
    if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn interrupted() -> ExitCode {
    eprintln!("\ninterrupted; everything is taken down");
    ExitCode::from(INTERRUPTED)
}

fn fail(error: &(dyn std::error::Error + 'static), status: ExitCode) -> ExitCode {
    eprintln!("\nerror: {error}");
    status
}
