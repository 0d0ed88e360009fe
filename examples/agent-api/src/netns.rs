//! Which network namespace is at a path, told by numbers that no other one has while it lives.

use std::{fs, io, os::unix::fs::MetadataExt};

use eni_core::model::Netns;
use nix::sys::statfs::{NSFS_MAGIC, statfs};

/// The namespace at a path; `None` if there is none (any more).
pub fn identify(path: &str) -> io::Result<Option<Netns>> {
    let file = match fs::metadata(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // A bind mount that is gone leaves a plain file behind.
    if statfs(path)?.filesystem_type() != NSFS_MAGIC {
        return Ok(None);
    }
    Ok(Some(Netns {
        path: path.into(),
        device: file.dev(),
        inode: file.ino(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_told_by_its_numbers() {
        let own = identify("/proc/self/ns/net").unwrap().unwrap();
        assert_ne!(own.inode, 0);
        let again = identify("/proc/thread-self/ns/net").unwrap().unwrap();
        assert_eq!((again.device, again.inode), (own.device, own.inode));
    }

    #[test]
    fn what_is_no_namespace_is_none() {
        for path in ["/nowhere/at/all", "/proc/self/stat", "/proc/self/stat/x"] {
            assert_eq!(identify(path).unwrap(), None, "{path}");
        }
    }
}
