//! Images of our programs, by the names that the manifests have for them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::programs::{AGENT, IP_SCHEDULER, IPAMD};
use crate::{
    cluster::ClusterError,
    kubernetes::images::{self, Contents},
    run::capture,
    stage::Failure,
};

/// Where the images' programs are, which is on their PATH.
const PLACE: &str = "usr/local/bin";

/// Makes the images' archives below `work`, of the programs in `programs`.
pub(super) fn make(programs: &Path, work: &Path) -> Result<Vec<PathBuf>, ClusterError> {
    let images = [
        ("agent", "docker.io/library/tke-eni-agent:0.1.0", &AGENT[..]),
        ("ipamd", "docker.io/library/tke-eni-ipamd:0.1.0", &IPAMD[..]),
        (
            "ip-scheduler",
            "docker.io/library/tke-eni-ip-scheduler:0.1.0",
            &IP_SCHEDULER[..],
        ),
    ];
    images
        .into_iter()
        .map(|(name, tag, files)| {
            let paths: Vec<PathBuf> = files.iter().map(|file| programs.join(file)).collect();
            if let Some(missing) = paths.iter().find(|path| !path.is_file()) {
                return Err(ClusterError::Program(missing.clone()));
            }
            let fill = |root: &Path| paths.iter().try_for_each(|path| add(path, root));
            let contents = Contents {
                tag,
                entrypoint: &files[..1],
                command: &[],
            };
            let made = images::archive(name, &contents, fill, work);
            made.map_err(|failure| ClusterError::Image {
                tag,
                reason: failure.to_string(),
            })
        })
        .collect()
}

/// Puts a program into an image, with the libraries that it is linked with.
fn add(program: &Path, root: &Path) -> Result<(), Failure> {
    let place = root.join(PLACE);
    let failed = |error: io::Error| Failure::rule(format!("{}: {error}", program.display()), Vec::new());
    fs::create_dir_all(&place).map_err(failed)?;
    fs::copy(program, place.join(program.file_name().unwrap_or_default())).map_err(failed)?;
    let (_, libraries) = capture(Command::new("ldd").arg(program))?;
    for library in libraries.lines().filter_map(path) {
        let copy = root.join(library.trim_start_matches('/'));
        let made = copy.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::copy(library, copy)).map_err(failed)?;
    }
    Ok(())
}

/// The path in a line of ldd, as in `libc.so.6 => /lib/libc.so.6 (0x7f..)`; the kernel's own object has none.
fn path(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| word.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_their_paths() {
        let lines = [
            "\tlinux-vdso.so.1 (0x00007ffd)",
            "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)",
            "\t/lib64/ld-linux-x86-64.so.2 (0x00007f)",
        ];
        let found: Vec<&str> = lines.into_iter().filter_map(path).collect();
        assert_eq!(
            found,
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }
}
