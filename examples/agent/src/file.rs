//! Files that appear whole or not at all.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    process,
};

/// Makes a file have these contents and this mode, in one step for those who read it; whether it had not.
///
/// What is under way is beside it, under a name that begins with a dot and ends with no suffix of anybody's.
pub(crate) fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<bool> {
    if is(path, contents, mode)? {
        return Ok(false);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().display();
    let draft = directory.join(format!(".{name}.{}", process::id()));
    // One that an earlier process left.
    absent_is_fine(fs::remove_file(&draft))?;
    let written = write(&draft, contents, mode).and_then(|()| fs::rename(&draft, path));
    if let Err(error) = written {
        absent_is_fine(fs::remove_file(&draft))?;
        return Err(error);
    }
    File::open(directory)?.sync_all()?;
    Ok(true)
}

fn is(path: &Path, contents: &[u8], mode: u32) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    // A link is replaced by a file, whatever it leads to.
    let alike = found.is_file() && found.mode() & 0o7777 == mode && found.len() == contents.len() as u64;
    Ok(alike && fs::read(path)? == contents)
}

fn write(draft: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(draft)?;
    file.write_all(contents)?;
    // Whatever this process' umask takes away.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let files = fs::read_dir(directory).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn what_is_there_is_replaced_by_another_file_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugin");
        fs::write(&path, "old").unwrap();
        let running = File::open(&path).unwrap().metadata().unwrap().ino();
        assert!(replace(&path, b"new", 0o755).unwrap());
        let found = fs::metadata(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(found.permissions().mode() & 0o7777, 0o755);
        assert_ne!(
            found.ino(),
            running,
            "a process that runs the old one is not disturbed"
        );
        assert_eq!(names(directory.path()), ["plugin"]);
    }

    #[test]
    fn what_is_so_already_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugin");
        assert!(replace(&path, b"same", 0o755).unwrap());
        let before = fs::metadata(&path).unwrap().ino();
        assert!(!replace(&path, b"same", 0o755).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(
            replace(&path, b"same", 0o755).unwrap(),
            "it could not be executed"
        );
    }

    #[test]
    fn a_link_gives_way_and_what_it_leads_to_is_spared() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("plugin"), directory.path().join("other"));
        fs::write(&other, "precious").unwrap();
        symlink(&other, &path).unwrap();
        assert!(replace(&path, b"new", 0o755).unwrap());
        assert_eq!(fs::read(&other).unwrap(), b"precious");
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_draft_that_a_crash_left_is_no_obstacle_and_a_failure_leaves_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugin");
        let draft = directory.path().join(format!(".plugin.{}", process::id()));
        fs::write(&draft, "half").unwrap();
        assert!(replace(&path, b"new", 0o755).unwrap());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(
            replace(&path, b"new", 0o755).is_err(),
            "a directory is in the way"
        );
        assert_eq!(names(directory.path()), ["plugin"]);
    }
}
