//! Network namespaces with a name, and work inside them from asynchronous code.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use eni_netlink::{
    namespace::{Namespace, NamespaceError},
    socket::{Netlink, NetlinkError},
};
use tokio::task::spawn_blocking;

/// A network namespace mounted at a path, as a container runtime does it; removed when dropped.
#[derive(Debug)]
pub struct NamedNamespace {
    namespace: Namespace,
    path: PathBuf,
}

impl NamedNamespace {
    /// Makes a namespace with its loopback down. Nothing may be at `path`.
    pub fn create(path: PathBuf) -> Result<Self, NamespaceError> {
        let namespace = Namespace::create(&path)?;
        Ok(Self { namespace, path })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The namespace itself.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Sets kernel settings, named by their path below `/proc/sys`.
    pub fn set(&self, settings: &[(&str, &str)]) -> io::Result<()> {
        self.namespace
            .run_in(|| settings.iter().try_for_each(|(name, value)| write(name, value)))
            .map_err(io::Error::other)?
    }

    /// A socket to the kernel in it.
    pub fn netlink(&self) -> Result<Netlink, NetlinkError> {
        Netlink::open_in(&self.namespace)
    }
}

impl Drop for NamedNamespace {
    fn drop(&mut self) {
        if let Err(error) = Namespace::remove(&self.path) {
            tracing::warn!(%error, "a network namespace stays until this process ends");
        }
    }
}

/// Runs `work`, which may block, inside the namespace at `path`.
pub async fn inside<T, F>(path: &Path, work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let path = path.to_owned();
    let blocking = spawn_blocking(move || {
        let namespace = Namespace::open(&path).map_err(io::Error::other)?;
        namespace.run_in(work).map_err(io::Error::other)?
    });
    blocking.await.map_err(io::Error::other)?
}

fn write(name: &str, value: &str) -> io::Result<()> {
    let file = Path::new("/proc/sys").join(name);
    fs::write(&file, value).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("setting {} to {value}: {error}", file.display()),
        )
    })
}
