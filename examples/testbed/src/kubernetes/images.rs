//! Container images without a registry: archives in docker's format, which `ctr images import` reads.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::programs::{AGNHOST, BASH, BUSYBOX, CLIENTS, PAUSE, Program};
use crate::{
    run::{capture, run, succeeded},
    stage::Failure,
};

/// An image of programs of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    /// The name that pods know it by.
    pub tag: &'static str,
    /// The program that it starts.
    program: Program,
    /// Where that is in it.
    path: &'static str,
    /// Whether a shell and its tools are in it too.
    shell: bool,
    /// Whether another shell takes the place of that one, with clients that it lacks.
    clients: bool,
    entrypoint: &'static [&'static str],
    command: &'static [&'static str],
}

/// What holds a pod's namespaces, by the name that Kubernetes 1.20 has for it.
pub const PAUSE_IMAGE: Image = Image {
    tag: "k8s.gcr.io/pause:3.2",
    program: PAUSE,
    path: "pause",
    shell: false,
    clients: false,
    entrypoint: &["/pause"],
    command: &[],
};

/// A shell with its tools.
pub const BUSYBOX_IMAGE: Image = Image {
    tag: "docker.io/library/busybox:testbed",
    program: BUSYBOX,
    path: "bin/busybox",
    shell: true,
    clients: false,
    entrypoint: &[],
    command: &["sh"],
};

/// Servers and clients of many kinds, by the name that the tests of Kubernetes 1.20 have for it.
pub const AGNHOST_IMAGE: Image = Image {
    tag: "k8s.gcr.io/e2e-test-images/agnhost:2.21",
    program: AGNHOST,
    path: "agnhost",
    shell: true,
    clients: false,
    entrypoint: &["/agnhost"],
    command: &["pause"],
};

/// The same with what upstream's tests run in it, for nodes of which they ask it.
pub const CONFORMANCE_IMAGE: Image = Image {
    clients: true,
    ..AGNHOST_IMAGE
};

/// Directories that programs expect.
const DIRECTORIES: [&str; 9] = ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"];

/// What an archive says of its image, besides the files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents<'a> {
    /// The name that pods know it by.
    pub(crate) tag: &'a str,
    pub(crate) entrypoint: &'a [&'a str],
    pub(crate) command: &'a [&'a str],
}

/// Makes the archive of an image of cached programs below `work`; its path.
pub(super) fn of_programs(
    name: &str,
    image: &Image,
    programs: &Path,
    work: &Path,
) -> Result<PathBuf, Failure> {
    let contents = Contents {
        tag: image.tag,
        entrypoint: image.entrypoint,
        command: image.command,
    };
    let lay_out = |root: &Path| fill(image, programs, root).map_err(|error| broken(root, error));
    archive(name, &contents, lay_out, work)
}

/// Makes the archive of an image below `work`, with what `fill` adds to the usual directories; its path.
pub(crate) fn archive(
    name: &str,
    contents: &Contents<'_>,
    fill: impl FnOnce(&Path) -> Result<(), Failure>,
    work: &Path,
) -> Result<PathBuf, Failure> {
    let place = work.join(format!("image-{name}"));
    let root = place.join("root");
    usual(&root).map_err(|error| broken(&root, error))?;
    fill(&root)?;
    let layer = place.join("layer.tar");
    tar(&root, &layer, &["."])?;
    let digest = sha256(&layer)?;
    let config = config(contents, &digest).to_string();
    let written = fs::write(place.join("config.json"), config)
        .and_then(|()| fs::write(place.join("manifest.json"), manifest(contents.tag).to_string()));
    written.map_err(|error| broken(&place, error))?;
    let archive = work.join(format!("built-{name}"));
    tar(&place, &archive, &["config.json", "layer.tar", "manifest.json"])?;
    Ok(archive)
}

/// Lays out what every image has.
fn usual(root: &Path) -> io::Result<()> {
    for directory in DIRECTORIES {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")
}

/// Lays out the files of an image of cached programs.
fn fill(image: &Image, programs: &Path, root: &Path) -> io::Result<()> {
    fs::copy(programs.join(image.program.name), root.join(image.path))?;
    if image.shell {
        let busybox = root.join("bin/busybox");
        fs::copy(programs.join(BUSYBOX.name), &busybox)?;
        let tools = Command::new(&busybox).arg("--list").output()?;
        let tools = String::from_utf8_lossy(&tools.stdout).into_owned();
        for tool in tools.lines().filter(|tool| *tool != "busybox") {
            symlink("busybox", root.join("bin").join(tool))?;
        }
    }
    if image.clients {
        fs::remove_file(root.join("bin/sh"))?;
        fs::copy(programs.join(BASH.name), root.join("bin/sh"))?;
        for client in CLIENTS {
            let place = root.join("bin").join(client.name);
            // Its place may be taken by a link to busybox.
            match fs::remove_file(&place) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => fs::copy(programs.join(client.name), place)?,
            };
        }
    }
    Ok(())
}

/// The image's configuration, by the OCI image specification.
fn config(contents: &Contents<'_>, layer: &str) -> Value {
    json!({
        "architecture": match std::env::consts::ARCH { "aarch64" => "arm64", _ => "amd64" },
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": contents.entrypoint,
            "Cmd": contents.command,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
    })
}

fn manifest(tag: &str) -> Value {
    json!([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}])
}

fn tar(directory: &Path, archive: &Path, files: &[&str]) -> Result<(), Failure> {
    run(Command::new("tar")
        .args([
            "--create",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--format=ustar",
        ])
        .arg("--file")
        .arg(archive)
        .arg("--directory")
        .arg(directory)
        .args(files))
}

fn sha256(file: &Path) -> Result<String, Failure> {
    let mut command = Command::new("sha256sum");
    command.arg(file);
    let (status, output) = capture(&mut command)?;
    succeeded(&command, status, Vec::new())?;
    Ok(output.split_whitespace().next().unwrap_or_default().to_owned())
}

fn broken(path: &Path, error: io::Error) -> Failure {
    Failure::rule(format!("{}: {error}", path.display()), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_its_layer_by_the_digest_of_its_content() {
        let contents = Contents {
            tag: "pause",
            entrypoint: &["/pause"],
            command: &[],
        };
        let config = config(&contents, "abc");
        assert_eq!(config["rootfs"]["diff_ids"][0], "sha256:abc");
        assert_eq!(config["config"]["Entrypoint"][0], "/pause");
        assert_eq!(manifest(contents.tag)[0]["RepoTags"][0], "pause");
    }
}
