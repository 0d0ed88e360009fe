//! Takes the process into namespaces of its own, so that nothing outside is touched and nothing is
//! left however it ends: with the last process, the kernel drops every mount, link and route.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use eni_netlink::socket::Netlink;
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

use crate::kernel::{self, LOOPBACK};

/// The namespaces that a process got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolated {
    /// Mounts and network; root needs no more.
    AsRoot,
    /// A user namespace as well.
    AsUser,
}

/// Enters new mount and network namespaces, the latter with its loopback up, and a user namespace unless root needs
/// none.
///
/// To be called while the process has one thread: the kernel gives a user namespace to no other.
pub fn enter() -> Result<Isolated, IsolationError> {
    let (uid, gid) = (geteuid(), getegid());
    let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    // Root of a container may lack the capabilities, but have the right to a user namespace.
    let by_root = uid.is_root() && unshare(own).is_ok();
    if !by_root {
        unshare(own | CloneFlags::CLONE_NEWUSER).map_err(|errno| IsolationError::Forbidden {
            who: if uid.is_root() {
                "this root".to_owned()
            } else {
                format!("user {uid}")
            },
            errno,
        })?;
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    }
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|errno| step("making the mounts private", errno))?;
    set_loopback_up().map_err(|source| IsolationError::Step {
        step: "setting the loopback up".to_owned(),
        source,
    })?;
    Ok(if by_root {
        Isolated::AsRoot
    } else {
        Isolated::AsUser
    })
}

/// A directory in memory that only this process and its children see; gone when dropped.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
}

/// Why the process cannot have namespaces of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IsolationError {
    /// The kernel forbids namespaces to this user.
    #[error(
        "this machine does not let {who} make network namespaces (unshare: {errno}).\n\
         Run it as root, or allow user namespaces: sysctl user.max_user_namespaces and user.max_net_namespaces must not be 0, \
         kernel.unprivileged_userns_clone (Debian) must be 1 and \
         kernel.apparmor_restrict_unprivileged_userns (Ubuntu) must be 0. \
         In a container, CAP_SYS_ADMIN and CAP_NET_ADMIN are needed (with docker: --privileged)."
    )]
    Forbidden {
        /// The user.
        who: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A step after that failed.
    #[error("{step}: {source}; the namespaces of this process cannot be set up")]
    Step {
        /// The step with its arguments.
        step: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl RunDirectory {
    /// Makes it below the directory for temporary files. [`enter`] must have been called.
    pub fn create() -> Result<Self, IsolationError> {
        let path = std::env::temp_dir().join(format!("eni-fabric-{}", std::process::id()));
        fs::create_dir(&path).map_err(|source| IsolationError::Step {
            step: format!("creating {}", path.display()),
            source,
        })?;
        let directory = Self { path };
        mount(
            Some("tmpfs"),
            &directory.path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=0700"),
        )
        .map_err(|errno| step(format!("mounting a tmpfs at {}", directory.path.display()), errno))?;
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if let Err(errno) = umount2(&self.path, MntFlags::MNT_DETACH) {
            tracing::warn!(path = %self.path.display(), %errno, "the run directory is not unmounted");
        }
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the run directory stays; remove it");
        }
    }
}

fn set_loopback_up() -> io::Result<()> {
    let mut netlink = Netlink::open().map_err(io::Error::other)?;
    kernel::run(&mut netlink, [kernel::set_up(LOOPBACK)]).map_err(io::Error::other)
}

fn write(path: &str, text: &str) -> Result<(), IsolationError> {
    fs::write(path, text).map_err(|source| IsolationError::Step {
        step: format!("writing `{text}` to {path}"),
        source,
    })
}

fn step(step: impl Into<String>, errno: Errno) -> IsolationError {
    IsolationError::Step {
        step: step.into(),
        source: errno.into(),
    }
}
