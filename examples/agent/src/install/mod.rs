//! Puts the CNI plugins and their configuration on the node, and keeps them there.
//!
//! A node is ready for kubelet as soon as there is a network configuration. So ours is written when the agent would
//! serve an ADD, which it is asked as a plugin asks it; what it gives out then is not this part's business.

mod chain;
mod decide;
mod plugin;

use std::{env, fs, io, path::PathBuf, time::Duration};

use agent_api::{
    Endpoint,
    proto::{StatusRequest, agent_client::AgentClient},
    spoken,
};
use parking_lot::Mutex;
use tokio::{task::spawn_blocking, time::sleep};

use self::{
    chain::{ENI_IPAMC, ROUTE_ENI},
    decide::{CONFLIST, Step, View, decide, in_the_way},
};
use crate::{file, socket};

pub use self::chain::{Chain, CniVersion};

/// The pause between two looks whether the agent serves.
const SOON: Duration = Duration::from_millis(500);

/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// The pause between two looks when all is done: somebody may remove it.
const LATER: Duration = Duration::from_secs(60);

/// How long the agent may take to say how it stands.
const DEADLINE: Duration = Duration::from_secs(5);

/// Everybody reads it, its owner writes it.
const READABLE: u32 = 0o644;

/// What is put where.
#[derive(Clone, Debug)]
pub struct InstallConfig {
    /// Where the plugins are copied from; `None`: the directory of this program.
    pub source: Option<PathBuf>,
    /// Where the runtime looks for plugins.
    pub binaries: PathBuf,
    /// Where it looks for configurations.
    pub configurations: PathBuf,
    /// The newest version of CNI that the configuration may have.
    pub newest: CniVersion,
    /// What it says.
    pub chain: Chain,
}

/// Why the node lacks the plugins or their configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// A plugin is not where it is copied from.
    #[error("the plugin {} cannot be read: {source}; name the directory of the plugins by --cni-bin-source", path.display())]
    Source {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory of the node cannot be read or written.
    #[error(
        "{} cannot be written: {source}; {flag} must be a directory of the node that is there, and writable in the \
         agent's pod", path.display()
    )]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
        /// By which flag it was named.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A plugin cannot be used.
    #[error("the plugin {} does not say which versions of CNI it speaks: {why}; install it for this machine", path.display())]
    Plugin {
        /// Where it is.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The plugins cannot be chained.
    #[error(
        "there is no version of CNI up to {newest} that all of these plugins speak: {spoken}; install newer ones"
    )]
    NoVersion {
        /// The newest that was wanted.
        newest: CniVersion,
        /// What each of them speaks.
        spoken: String,
    },
}

/// How the installation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installation {
    /// The node has what it needs.
    Done,
    /// It has not yet, for this reason.
    Pending(String),
}

/// Keeps the plugins and their configuration on the node.
#[derive(Debug)]
pub struct Installer {
    config: InstallConfig,
    standing: Mutex<Installation>,
    /// The pause between two looks when all is done.
    later: Duration,
}

impl Installer {
    /// One that has done nothing yet.
    pub fn new(config: InstallConfig) -> Self {
        Self {
            config,
            standing: Mutex::new(Installation::Pending(
                "the plugins are not installed yet".to_owned(),
            )),
            later: LATER,
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Installation {
        self.standing.lock().clone()
    }

    /// Runs until it is dropped. What fails is told once, and tried again: pods that run need the agent, whether
    /// new ones can be had or not.
    pub async fn run(&self) {
        loop {
            match self.prepare().await {
                Ok(wanted) => {
                    while !self.note(self.configure(&wanted).await) {
                        sleep(SOON).await;
                    }
                    sleep(self.later).await;
                }
                Err(error) => {
                    self.note(Err(error));
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Remembers how it stands, and tells what is new about it; whether all is done.
    fn note(&self, outcome: Result<Installation, InstallError>) -> bool {
        let now = outcome.unwrap_or_else(|error| Installation::Pending(error.to_string()));
        let before = std::mem::replace(&mut *self.standing.lock(), now.clone());
        match &now {
            _ if now == before => {}
            Installation::Pending(why) => tracing::warn!(why, "the node has no network for new pods yet"),
            Installation::Done => {
                let directory = self.config.configurations.display();
                tracing::info!(%directory, file = CONFLIST, "the node has a network for pods");
            }
        }
        now == Installation::Done
    }

    /// Installs the plugins; the configuration that they shall have.
    async fn prepare(&self) -> Result<String, InstallError> {
        let config = self.config.clone();
        let copied = blocking(move || plugin::copy(&source(&config)?, &config)).await?;
        let InstallConfig {
            chain,
            binaries,
            newest,
            ..
        } = &self.config;
        if !copied.is_empty() {
            tracing::info!(plugins = ?copied, directory = %binaries.display(), "plugins installed");
        }
        let spoken = plugin::versions(chain, binaries).await?;
        let common = CniVersion::common(*newest, spoken.values());
        let version = common.ok_or_else(|| InstallError::NoVersion {
            newest: *newest,
            spoken: format!("{spoken:?}"),
        })?;
        Ok(chain.conflist(version))
    }

    /// Writes the configuration if that is due.
    async fn configure(&self, wanted: &str) -> Result<Installation, InstallError> {
        let serves = self.serves().await;
        let (config, wanted, ready) = (self.config.clone(), wanted.to_owned(), serves.is_ok());
        let step = blocking(move || configure(&config, wanted.as_bytes(), ready)).await?;
        Ok(match (step, serves) {
            (Step::Wait, Err(why)) => Installation::Pending(why),
            _ => Installation::Done,
        })
    }

    /// Whether the agent would serve an ADD, as a plugin sees it; else why not.
    async fn serves(&self) -> Result<(), String> {
        let endpoint = &self.config.chain.backend;
        let uri = match endpoint {
            Endpoint::Unix(path) => format!("unix:{}", path.display()),
            Endpoint::Loopback(address) => format!("http://{address}"),
        };
        let asked = socket::call_at(uri, endpoint.to_string(), DEADLINE, async |channel| {
            let request = StatusRequest {
                versions: Some(spoken()),
            };
            let reply = AgentClient::new(channel).status(request).await?;
            Ok(reply.into_inner())
        });
        match asked.await {
            Ok(reply) if reply.ready => Ok(()),
            Ok(reply) => Err(reply.reason),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Writes the configuration if that is due.
fn configure(config: &InstallConfig, wanted: &[u8], serves: bool) -> Result<Step, InstallError> {
    let directory = &config.configurations;
    let path = directory.join(CONFLIST);
    let failed = |source| InstallError::NotWritable {
        path: path.clone(),
        flag: "--cni-conf-dir",
        source,
    };
    let names = fs::read_dir(directory).and_then(|files| {
        let names = files.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
        names.collect::<io::Result<Vec<_>>>()
    });
    let names = names.map_err(failed)?;
    let ours = match fs::read(&path) {
        Ok(contents) => Some(contents),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let view = View {
        names: &names,
        ours: ours.as_deref(),
        wanted,
        serves,
    };
    let step = decide(view);
    if step == Step::Write {
        if let Some(other) = in_the_way(view) {
            tracing::warn!(other, ours = CONFLIST, directory = %directory.display(),
                "the runtime takes another network configuration in place of ours; remove it if its network shall end");
        }
        file::replace(&path, wanted, READABLE).map_err(failed)?;
    }
    Ok(step)
}

fn source(config: &InstallConfig) -> Result<PathBuf, InstallError> {
    if let Some(source) = &config.source {
        return Ok(source.clone());
    }
    let own = env::current_exe().map_err(|source| InstallError::Source {
        path: "/proc/self/exe".into(),
        source,
    })?;
    Ok(own.parent().map_or_else(PathBuf::new, PathBuf::from))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InstallError> + Send + 'static,
) -> Result<T, InstallError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
