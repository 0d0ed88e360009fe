//! What every CNI plugin does: read the environment and standard input, dispatch, answer on standard output.

use std::{
    env,
    io::{self, Read, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use agent_api::boot;
use eni_core::model::SandboxKey;
use serde_json::{Value, json};

use crate::{
    command::Command,
    conf::{Conf, Document},
    error::{Code, Error},
    invocation::Invocation,
    ipamc::EniIpamc,
    result::CniResult,
    route_eni::RouteEni,
    version::SpecVersion,
};

/// One call of the runtime.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) conf: Conf,
    pub(crate) env: Invocation,
    /// When this process started, by the boot clock.
    pub(crate) started: Duration,
    /// When it gives up.
    pub(crate) deadline: Instant,
}

impl Call {
    /// The interface that the call is about; not of STATUS and GC.
    pub(crate) fn key(&self) -> SandboxKey {
        SandboxKey::new(&self.conf.network, &self.env.container, &self.env.interface)
    }
}

/// What a plugin does.
pub(crate) trait Plugin {
    fn add(&self, call: &Call) -> Result<CniResult, Error>;
    fn del(&self, call: &Call) -> Result<(), Error>;
    fn check(&self, call: &Call) -> Result<(), Error>;
    fn status(&self, call: &Call) -> Result<(), Error>;
    fn gc(&self, call: &Call) -> Result<(), Error>;
}

/// Runs this process as the plugin `tke-route-eni`.
pub fn tke_route_eni() -> ExitCode {
    main(RouteEni)
}

/// Runs this process as the IPAM plugin `tke-eni-ipamc`.
pub fn tke_eni_ipamc() -> ExitCode {
    main(EniIpamc)
}

fn main(plugin: impl Plugin) -> ExitCode {
    // An error that comes before the configuration's version is known is told in the newest.
    let mut version = SpecVersion::NEWEST;
    let (answer, code) = match run(plugin, &mut version) {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{error}");
            (Some(error.to_json(version)), ExitCode::FAILURE)
        }
    };
    let written = answer.map_or(Ok(()), |answer| writeln!(io::stdout(), "{answer}"));
    match written {
        Ok(()) => code,
        Err(error) => {
            eprintln!("cannot write the answer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(plugin: impl Plugin, version: &mut SpecVersion) -> Result<Option<Value>, Error> {
    let (started, begun) = (boot::now(), Instant::now());
    let (command, env) = Invocation::read(|name| env::var_os(name))?;
    let mut text = Vec::new();
    io::stdin()
        .read_to_end(&mut text)
        .map_err(|error| Error::new(Code::Io, format!("cannot read standard input: {error}")))?;
    if command == Command::Version {
        return versions(text).map(Some);
    }
    let document = Document::read(text)?;
    *version = document.version()?;
    let conf = Conf::read(document, *version)?;
    if conf.version < command.since() {
        return Err(Error::new(
            Code::IncompatibleVersion,
            format!(
                "{command} came with version {} of CNI, and the configuration has cniVersion {}",
                command.since(),
                conf.version
            ),
        ));
    }
    let deadline = begun + conf.timeout;
    let call = Call {
        conf,
        env,
        started,
        deadline,
    };
    match command {
        Command::Add => Ok(Some(plugin.add(&call)?.to_json(call.conf.version))),
        Command::Del => plugin.del(&call).map(|()| None),
        Command::Check => plugin.check(&call).map(|()| None),
        Command::Status => plugin.status(&call).map(|()| None),
        Command::Gc => plugin.gc(&call).map(|()| None),
        Command::Version => unreachable!("answered above"),
    }
}

/// The answer to VERSION, which may come without a configuration.
fn versions(text: Vec<u8>) -> Result<Value, Error> {
    let said = match text.trim_ascii() {
        [] => None,
        _ => Document::read(text)?.said_version()?,
    };
    Ok(json!({
        "cniVersion": said.unwrap_or_else(|| SpecVersion::NEWEST.to_string()),
        "supportedVersions": SpecVersion::ALL.map(|version| version.to_string()),
    }))
}
