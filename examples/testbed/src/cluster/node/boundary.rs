//! The last process outside a node: it joins the node's cgroups and network, makes its other namespaces, and
//! starts the first process inside. When it ends, that one does, and with it everything in the node.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use nix::sched::{CloneFlags, setns, unshare};

use super::spec::NodeSpec;

/// Runs the node that a file describes, until it ends.
pub(crate) fn run(file: &Path) -> io::Result<ExitStatus> {
    let spec = NodeSpec::read(file)?;
    let program = std::env::current_exe()?;
    for cgroup in &spec.cgroups {
        fs::write(cgroup.path.join("cgroup.procs"), "0")?;
    }
    setns(File::open(&spec.netns)?, CloneFlags::CLONE_NEWNET)?;
    let own = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(own)?;
    let mut init = Command::new(program)
        .arg("node-init")
        .arg(file)
        .stdin(Stdio::piped())
        .spawn()?;
    // Its leash: the kernel closes it whatever ends us.
    let leash = init.stdin.take();
    let ended = init.wait();
    drop(leash);
    ended
}
