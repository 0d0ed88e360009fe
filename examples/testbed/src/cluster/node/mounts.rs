//! What a node sees of the file system: the machine's programs, and of all else its own.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use nix::mount::{MsFlags, mount};

use super::spec::NodeSpec;

/// Mounts everything. The process has to be alone in its mount namespace, and in new ones of the other kinds.
pub(super) fn mount_all(spec: &NodeSpec) -> io::Result<()> {
    set("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    fresh("proc", Path::new("/proc"), "")?;
    fresh("sysfs", Path::new("/sys"), "")?;
    let cgroups = Path::new("/sys/fs/cgroup");
    fresh("tmpfs", cgroups, "mode=755")?;
    for cgroup in &spec.cgroups {
        let place = cgroups.join(&cgroup.hierarchy);
        fs::create_dir(&place)?;
        fresh("cgroup", &place, &cgroup.options)?;
    }
    // Held open, because a layer may come to lie over it.
    let (state, directory) = (File::open(&spec.state)?, File::open(&spec.directory)?);
    for layer in &spec.layers {
        overlay(layer, &spec.directory)?;
    }
    if spec.layers.iter().any(|layer| spec.state.starts_with(layer)) {
        bind(&behind(&state), &spec.state)?;
    }
    for (source, place) in &spec.binds {
        fs::create_dir_all(place)?;
        bind(&behind(&directory).join(source), place)?;
    }
    for setting in &spec.settings {
        let place = Path::new("/proc/sys").join(setting);
        let own = behind(&directory)
            .join("settings")
            .join(setting.replace('/', "."));
        fs::write(&own, fs::read(&place)?)?;
        bind(&own, &place)?;
    }
    // Volumes and sandboxes that kubelet and containerd mount must reach those who were started before.
    set("/", MsFlags::MS_REC | MsFlags::MS_SHARED)
}

/// A file by its handle, whatever is mounted over its path.
fn behind(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Puts a layer of the node's own over a directory of the machine.
fn overlay(place: &Path, directory: &Path) -> io::Result<()> {
    let name = place.as_os_str().as_bytes();
    let name = String::from_utf8_lossy(name).replace('/', "-");
    let own = directory.join(format!("layer{name}"));
    let (upper, work) = (own.join("upper"), own.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        place.display(),
        upper.display(),
        work.display()
    );
    fresh("overlay", place, &options)
}

fn fresh(kind: &str, place: &Path, options: &str) -> io::Result<()> {
    mount(Some(kind), place, Some(kind), MsFlags::empty(), Some(options))
        .map_err(|errno| at(kind, place, errno))
}

fn bind(source: &Path, place: &Path) -> io::Result<()> {
    let none: Option<&str> = None;
    mount(Some(source), place, none, MsFlags::MS_BIND, none).map_err(|errno| at("bind", place, errno))
}

fn set(place: &str, flags: MsFlags) -> io::Result<()> {
    let none: Option<&str> = None;
    mount(none, place, none, flags, none).map_err(|errno| at("propagation", Path::new(place), errno))
}

fn at(kind: &str, place: &Path, errno: nix::Error) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(
        error.kind(),
        format!("mounting {kind} at {}: {error}", place.display()),
    )
}
