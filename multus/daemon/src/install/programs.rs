//! Programs of the image, put into the node's folder of plugins.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use node::files::{Dir, FileError, read_bounded, write_atomic};

/// Where the image has the programs.
pub const SOURCE: &str = "/usr/src/multus-cni/bin";

/// Where manifests mount the node's folder of plugins.
pub const TARGET: &str = "/host/opt/cni/bin";

/// The limit for a program, in bytes. Go's multus has 50 MB.
const MAX_PROGRAM: u64 = 256 << 20;

/// A killed installer leaves a temp file. No write takes as long as this.
const LEFTOVER: Duration = Duration::from_secs(600);

/// A program cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The image lacks the program.
    #[error("{path} is not in this image: {source}", path = .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: FileError,
    },
    /// The file is no program. It would end every call of the runtime.
    #[error("{path} is no ELF program: it is damaged, or the wrong file", path = .0.display())]
    NotAProgram(PathBuf),
    /// The node's folder is not mounted.
    #[error("{path} is not a folder: mount the node's folder of CNI plugins there", path = .0.display())]
    NoTarget(PathBuf),
    /// The program cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What an installation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The program was written.
    New,
    /// The same bytes were there.
    Same,
}

/// Copies the program `from` to `folder/name`, with mode 0755.
///
/// A call of the runtime finds the old program or the new one, never a part. The new one gets an inode of its own: a program that runs keeps
/// the old one, and the kernel refuses writes to that ("text file busy").
///
/// # Errors
/// [`InstallError`].
pub fn put(from: &Path, folder: &Path, name: &str) -> Result<Installed, InstallError> {
    if !folder.is_dir() {
        return Err(InstallError::NoTarget(folder.to_owned()));
    }
    let bytes = read_bounded(from, MAX_PROGRAM)
        .map_err(|source| InstallError::Missing { path: from.to_owned(), source })?;
    if !bytes.starts_with(b"\x7fELF") {
        return Err(InstallError::NotAProgram(from.to_owned()));
    }
    let path = folder.join(name);
    let is_usable =
        path.symlink_metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o7777 == 0o755);
    if is_usable && matches!(read_bounded(&path, MAX_PROGRAM), Ok(old) if old == bytes) {
        return Ok(Installed::Same);
    }
    write_atomic(&path, &bytes, 0o755)?;
    Ok(Installed::New)
}

/// Removes what killed installers left in `folder`. A failure is logged: the programs are in place.
pub fn remove_leftovers(folder: &Path) {
    let removed = Dir::open(folder).and_then(|folder| folder.remove_leftovers(LEFTOVER, SystemTime::now()));
    if let Err(error) = removed {
        tracing::warn!(%error, "temp files of earlier installations were not looked for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"\x7fELF old";
    const NEW: &[u8] = b"\x7fELF new";

    /// An image with a program, and a node's folder.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir(place.node()).unwrap();
            write_atomic(&place.image(), NEW, 0o755).unwrap();
            place
        }

        fn image(&self) -> PathBuf {
            self.0.path().join("multus")
        }

        fn node(&self) -> PathBuf {
            self.0.path().join("bin")
        }

        fn put(&self) -> Result<Installed, InstallError> {
            put(&self.image(), &self.node(), "multus-shim")
        }
    }

    fn inode(path: &Path) -> u64 {
        path.metadata().unwrap().ino()
    }

    #[test]
    fn a_program_is_new_once() {
        let place = Place::new();
        let path = place.node().join("multus-shim");
        assert_eq!((place.put().unwrap(), place.put().unwrap()), (Installed::New, Installed::Same));
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o755);
        assert_eq!(std::fs::read(&path).unwrap(), NEW);
    }

    #[test]
    fn a_program_that_runs_keeps_its_inode_and_the_new_one_gets_another() {
        let place = Place::new();
        let path = place.node().join("multus-shim");
        write_atomic(&path, OLD, 0o755).unwrap();
        let mut running = std::fs::File::open(&path).unwrap();
        let before = inode(&path);
        place.put().unwrap();
        assert_ne!(before, inode(&path));
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut running, &mut bytes).unwrap();
        assert_eq!(bytes, OLD);
    }

    // A SUID program, or one that others may write to, is replaced even if its bytes are right.
    #[test]
    fn a_program_with_another_mode_or_a_link_is_replaced() {
        let place = Place::new();
        let path = place.node().join("multus-shim");
        for mode in [0o4755, 0o777, 0o644] {
            write_atomic(&path, NEW, mode).unwrap();
            assert_eq!(place.put().unwrap(), Installed::New);
            assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o755);
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(place.image(), &path).unwrap();
        assert_eq!(place.put().unwrap(), Installed::New);
        assert!(path.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn the_node_keeps_its_program_if_the_image_has_none() {
        let place = Place::new();
        let path = place.node().join("multus-shim");
        write_atomic(&path, OLD, 0o755).unwrap();
        write_atomic(&place.image(), b"#!/bin/sh", 0o755).unwrap();
        assert!(matches!(place.put(), Err(InstallError::NotAProgram(_))));
        std::fs::remove_file(place.image()).unwrap();
        assert!(place.put().unwrap_err().to_string().contains("multus is not in this image"));
        assert_eq!(std::fs::read(&path).unwrap(), OLD);
    }

    #[test]
    fn a_folder_that_is_not_mounted_is_named() {
        let place = Place::new();
        let error = put(&place.image(), Path::new("/no/such/bin"), "x").unwrap_err();
        assert!(error.to_string().starts_with("/no/such/bin is not a folder"), "{error}");
    }
}
