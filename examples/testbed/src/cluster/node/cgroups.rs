//! The cgroups of a node: one below our own in every hierarchy, so that its limits are ours and nothing else
//! of the machine is touched.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::spec::Cgroup;

/// Where hierarchies are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// The controllers that kubelet wants, each with a hierarchy of its own (cgroup v1), and systemd's, where
/// container runtimes look for their own.
const HIERARCHIES: [&str; 9] = [
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd",
];

/// How long the kernel may take to let go of a cgroup whose processes have ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the cgroups called `name`.
pub(in crate::cluster) fn create(name: &str) -> io::Result<Vec<Cgroup>> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mut made = Vec::new();
    for hierarchy in HIERARCHIES {
        let Some((options, parent)) = place(&own, hierarchy) else {
            let why =
                format!("there is no hierarchy of cgroup v1 for `{hierarchy}`, which kubelet 1.20 needs");
            return Err(io::Error::new(ErrorKind::Unsupported, why));
        };
        let path = parent.join(name);
        fs::create_dir(&path)?;
        if hierarchy == "cpuset" {
            // Without processors and memory of its own a set takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(path.join(file), fs::read(parent.join(file))?)?;
            }
        }
        made.push(Cgroup {
            hierarchy: hierarchy.to_owned(),
            options,
            path,
        });
    }
    Ok(made)
}

/// Removes cgroups with all below them, which have no processes any more, or will not soon.
pub(in crate::cluster) fn remove(cgroups: &[Cgroup]) -> io::Result<()> {
    let begun = Instant::now();
    for cgroup in cgroups {
        while let Err(error) = remove_tree(&cgroup.path) {
            if begun.elapsed() > PATIENCE {
                let what = format!("removing {}: {error}", cgroup.path.display());
                return Err(io::Error::new(error.kind(), what));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// A hierarchy's mount options and our own directory in it, from `/proc/self/cgroup`.
fn place(own: &str, hierarchy: &str) -> Option<(String, PathBuf)> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let named = controllers.strip_prefix("name=");
        let has = match named {
            Some(name) => name == hierarchy,
            None => controllers.split(',').any(|controller| controller == hierarchy),
        };
        let options = match named {
            Some(_) => format!("none,{controllers}"),
            None => controllers.to_owned(),
        };
        let directory = Path::new(ROOT).join(hierarchy);
        has.then(|| (options, directory.join(path.trim_start_matches('/'))))
    })
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_place_is_found_in_every_kind_of_hierarchy() {
        let own = "9:name=systemd:/\n4:memory:/jobs/7\n2:cpu,cpuacct:/a\n0::/\n";
        let found =
            |hierarchy| place(own, hierarchy).map(|(options, path)| (options, path.display().to_string()));
        let expected = |options: &str, path: &str| Some((options.to_owned(), path.to_owned()));
        assert_eq!(
            found("memory"),
            expected("memory", "/sys/fs/cgroup/memory/jobs/7")
        );
        assert_eq!(
            found("cpuacct"),
            expected("cpu,cpuacct", "/sys/fs/cgroup/cpuacct/a")
        );
        assert_eq!(
            found("systemd"),
            expected("none,name=systemd", "/sys/fs/cgroup/systemd/")
        );
        assert_eq!(found("pids"), None);
    }
}
