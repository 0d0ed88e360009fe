//! Which instance the node is: what its Node object says, remembered for a start without the API server.
//!
//! Before the API server has answered once, no NodeENIConfig has been read either, so there is nothing yet that the
//! remembered instance could be wrong about.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use eni_core::{
    cluster::{Cluster, ClusterError},
    model::{InstanceId, NodeName},
};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::file;

/// How long the API server may take before what is remembered counts.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pause between two looks, of a node of which nothing is remembered.
const PAUSE: Duration = Duration::from_secs(2);

/// The instance cannot be remembered.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {source}; --state-dir must be a directory that this process can write")]
pub struct RememberError {
    file: String,
    source: io::Error,
}

/// What is known of the instance.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// The Node object says it.
    Told(InstanceId),
    /// It was so when the agent ran last.
    Remembered(InstanceId),
    /// Nothing, for this reason.
    Nothing(String),
}

/// The instance of a node; waits for it when it was never known.
pub(crate) async fn find(
    cluster: &dyn Cluster,
    node: &NodeName,
    file: PathBuf,
) -> Result<InstanceId, RememberError> {
    let path = file.clone();
    let failed = |source| RememberError {
        file: path.display().to_string(),
        source,
    };
    let place = file.clone();
    let remembered = blocking(move || recall(&place)).await.map_err(failed)?;
    loop {
        match know(ask(cluster, node).await, remembered.clone()) {
            Known::Told(instance) => {
                if remembered.as_ref() != Some(&instance) {
                    let known = instance.clone();
                    blocking(move || remember(&file, &known)).await.map_err(failed)?;
                }
                return Ok(instance);
            }
            Known::Remembered(instance) => {
                tracing::warn!(%node, %instance, "the Node object does not tell the instance now; it was this one");
                return Ok(instance);
            }
            Known::Nothing(why) => {
                tracing::warn!(%node, why, "the instance is not known yet; --instance-id can name it");
                sleep(PAUSE).await;
            }
        }
    }
}

/// What the Node object says.
async fn ask(cluster: &dyn Cluster, node: &NodeName) -> Result<Option<InstanceId>, ClusterError> {
    let nodes = cluster.nodes();
    let asked = timeout(PATIENCE, nodes.get(node.as_str())).await;
    let silent = |_| ClusterError::Unavailable {
        message: format!("no answer within {PATIENCE:?}"),
    };
    Ok(asked.map_err(silent)??.object.instance)
}

fn know(told: Result<Option<InstanceId>, ClusterError>, remembered: Option<InstanceId>) -> Known {
    let why = match told {
        Ok(Some(instance)) => return Known::Told(instance),
        Ok(None) => "the Node has no providerID yet".to_owned(),
        Err(error) => error.to_string(),
    };
    remembered.map_or(Known::Nothing(why), Known::Remembered)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(error.into()))
}

fn recall(file: &Path) -> io::Result<Option<InstanceId>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim())
            .filter(|text| !text.is_empty())
            .map(InstanceId::from)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remember(file: &Path, instance: &InstanceId) -> io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(Path::new("/")))?;
    file::replace(file, format!("{instance}\n").as_bytes(), 0o600).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Result<Option<InstanceId>, ClusterError> {
        Err(ClusterError::Unavailable {
            message: "connection refused".to_owned(),
        })
    }

    #[test]
    fn what_the_node_says_counts_more_than_what_was() {
        let (told, remembered) = (InstanceId::from("ins-2"), InstanceId::from("ins-1"));
        assert_eq!(know(Ok(Some(told.clone())), Some(remembered)), Known::Told(told));
    }

    #[test]
    fn what_was_counts_while_nobody_says() {
        let remembered = InstanceId::from("ins-1");
        for told in [silent(), Ok(None)] {
            assert_eq!(
                know(told, Some(remembered.clone())),
                Known::Remembered(remembered.clone())
            );
        }
        let Known::Nothing(why) = know(silent(), None) else {
            panic!("something is known of a node that was never seen")
        };
        assert!(why.contains("connection refused"), "{why}");
    }

    #[test]
    fn what_was_told_is_known_again_and_an_empty_file_tells_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state/instance");
        assert_eq!(recall(&file).unwrap(), None);
        remember(&file, &InstanceId::from("ins-1")).unwrap();
        assert_eq!(recall(&file).unwrap(), Some(InstanceId::from("ins-1")));
        fs::write(&file, "").unwrap();
        assert_eq!(recall(&file).unwrap(), None);
    }
}
