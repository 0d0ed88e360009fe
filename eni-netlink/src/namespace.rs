//! Network namespaces: open, make, enter.
//!
//! A namespace is entered on a thread that ends right after, so that no thread of the caller can be left in the
//! wrong one; or by a process of one thread that comes back before it does anything else.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use nix::sys::statfs::{FsType, fstatfs};

/// The calling thread's own namespace. `/proc/self` would be the main thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// The magic number of the file system that namespaces live on (`linux/magic.h`, `NSFS_MAGIC`).
const NSFS: FsType = FsType(0x6e73_6673);

/// A network namespace, kept alive for as long as this is held.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
}

/// A namespace that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// Nothing is at the path, or a plain file from which the namespace was unmounted.
    #[error("no network namespace at {}; what made it is gone", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The kernel refused. Entering and making namespaces needs CAP_SYS_ADMIN.
    #[error("cannot {operation} network namespace {}: {source}; check CAP_SYS_ADMIN", path.display())]
    Refused {
        /// What was attempted.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Namespace {
    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, NamespaceError> {
        Self::open(OWN)
    }

    /// The namespace at `path`, such as `/run/netns/pod` or `/proc/1234/ns/net`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NamespaceError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => NamespaceError::Missing { path: path.into() },
            _ => refused("open", path)(source),
        })?;
        // A bind mount that is gone leaves a plain file behind, which opens without complaint.
        let kind = fstatfs(&file)
            .map_err(|errno| refused("examine", path)(errno.into()))?
            .filesystem_type();
        if kind != NSFS {
            return Err(NamespaceError::Missing { path: path.into() });
        }
        Ok(Self {
            file,
            path: path.into(),
        })
    }

    /// A new namespace without a name; it ends with the last handle, process and socket in it.
    pub fn anonymous() -> Result<Self, NamespaceError> {
        let path = Path::new(OWN);
        on_throwaway_thread(path, || {
            unshare(path)?;
            Self::open(path)
        })?
    }

    /// A new namespace, mounted at `path`: the way `ip netns add` and container runtimes do it.
    ///
    /// The file is created; its directory must exist. [`Namespace::remove`] undoes it.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, NamespaceError> {
        let path = path.as_ref();
        File::create_new(path).map_err(refused("create", path))?;
        let made = on_throwaway_thread(path, || {
            unshare(path)?;
            nix::mount::mount(Some(OWN), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|errno| refused("mount", path)(errno.into()))?;
            Self::open(path)
        });
        made.and_then(|made| made).inspect_err(|_| {
            if let Err(error) = Self::remove(path) {
                tracing::warn!(%error, "the failed namespace's file stays behind");
            }
        })
    }

    /// Unmounts the namespace at `path` and deletes its file. One that is gone already is no error.
    pub fn remove(path: impl AsRef<Path>) -> Result<(), NamespaceError> {
        let path = path.as_ref();
        match nix::mount::umount2(path, MntFlags::MNT_DETACH) {
            // EINVAL: there is a file, but nothing is mounted on it.
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(errno) => return Err(refused("unmount", path)(errno.into())),
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused("delete", path)(error)),
            _ => Ok(()),
        }
    }

    /// The path it was opened at; for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path by which any process that may look into this one can open it, for as long as this lives.
    pub fn shared_path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs `work` inside the namespace, on a thread of its own, and waits for it.
    ///
    /// Sockets made and processes started inside stay inside; `/proc/sys/net` shows the namespace's own
    /// settings.
    ///
    /// # Panics
    ///
    /// If `work` does.
    pub fn run_in<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        on_throwaway_thread(&self.path, || {
            nix::sched::setns(&self.file, CloneFlags::CLONE_NEWNET)
                .map_err(|errno| refused("enter", &self.path)(errno.into()))?;
            Ok(work())
        })?
    }
}

impl Namespace {
    /// Runs `work` inside the namespace on the calling thread, and comes back to `own`, where it is. A thread costs
    /// more than all that a plugin does inside a pod.
    ///
    /// # Panics
    ///
    /// If the way back is barred: whatever came after would happen in the wrong namespace.
    pub(crate) fn visit<T>(&self, own: &Self, work: impl FnOnce() -> T) -> Result<T, NamespaceError> {
        let enter = |namespace: &Self| nix::sched::setns(&namespace.file, CloneFlags::CLONE_NEWNET);
        let back = Back(|| enter(own).expect("a namespace that is held can be entered again"));
        enter(self).map_err(|errno| refused("enter", &self.path)(errno.into()))?;
        let done = work();
        drop(back);
        Ok(done)
    }
}

/// What is done however a scope is left.
struct Back<F: FnMut()>(F);

impl<F: FnMut()> Drop for Back<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn unshare(path: &Path) -> Result<(), NamespaceError> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| refused("make", path)(errno.into()))
}

fn on_throwaway_thread<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, work);
        match thread.map_err(refused("start a thread for", path))?.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn refused(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> NamespaceError {
    move |source| NamespaceError::Refused {
        operation,
        path: path.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_file_is_missing() {
        let error = Namespace::open("/proc/self/ns/none").unwrap_err();
        assert!(matches!(error, NamespaceError::Missing { .. }), "{error}");
    }

    #[test]
    fn a_plain_file_is_missing_too() {
        let error = Namespace::open("/proc/self/status").unwrap_err();
        assert!(matches!(error, NamespaceError::Missing { .. }), "{error}");
    }

    #[test]
    fn the_own_namespace_opens() {
        Namespace::current().unwrap();
    }
}
