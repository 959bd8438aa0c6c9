//! Whether a plugin's file may be run: plugins run as root, so whoever can write the file, or replace it in its folder, is root as well.

use std::fs::{Metadata, metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The permission bits for writing: of the group and of all other users.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// Set on a folder such as /tmp: only a file's owner may rename or delete it.
const STICKY: u32 = 0o1000;

/// A plugin's file is not run, since other users than root can change it.
#[derive(Debug, thiserror::Error)]
#[error(
    "plugin {} is not run, because users other than root can write {what}, which has mode {mode:04o} and group {group}: as root, run `chmod go-w {}`",
    file.display(), path.display()
)]
pub struct Untrusted {
    file: PathBuf,
    what: &'static str,
    path: PathBuf,
    mode: u32,
    group: u32,
}

/// Fails if other users than root can write `file`, or replace it in its folder. If it is a symbolic link, the same holds for the file
/// that it leads to.
///
/// The owner is not checked: release archives of the reference plugins unpack with the user id of the machine that built them, and nodes
/// run such plugins.
pub(super) fn check(file: &Path) -> Result<(), Untrusted> {
    check_one(file)?;
    // A link's mode says nothing. The two paths differ also if a folder above is a link, and then the second check repeats the first.
    match std::fs::canonicalize(file) {
        Ok(target) if target != file => check_one(&target),
        // If the path cannot be resolved, it cannot be run either; that error is clearer.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn check_one(file: &Path) -> Result<(), Untrusted> {
    // What cannot be read here cannot be run either.
    let Ok(of_file) = metadata(file) else { return Ok(()) };
    let untrusted = |what, path: &Path, of: &Metadata| {
        let (file, path) = (file.to_owned(), path.to_owned());
        Err(Untrusted { file, what, path, mode: of.mode() & 0o7777, group: of.gid() })
    };
    if others_write(&of_file) {
        return untrusted("this file", file, &of_file);
    }
    let Some(folder) = file.parent() else { return Ok(()) };
    match metadata(folder) {
        Ok(of_folder) if others_write(&of_folder) && !protects(&of_folder, &of_file) => {
            untrusted("its folder", folder, &of_folder)
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn others_write(of: &Metadata) -> bool {
    // Group 0 is root's own group.
    of.mode() & OTHERS_WRITE != 0 || (of.mode() & GROUP_WRITES != 0 && of.gid() != 0)
}

/// Whether a folder that others can write still keeps them from replacing a file. The owner counts here: anyone can put a file of his own
/// into such a folder.
fn protects(folder: &Metadata, file: &Metadata) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    folder.mode() & STICKY != 0 && (file.uid() == 0 || file.uid() == own)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn set(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A folder with a file, both with this mode.
    fn plugin(folder_mode: u32, file_mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plugin");
        File::create(&file).unwrap();
        set(&file, file_mode);
        set(folder.path(), folder_mode);
        (folder, file)
    }

    #[test]
    fn a_file_that_others_can_write_is_refused_with_its_mode_and_the_cure() {
        let (_folder, file) = plugin(0o755, 0o757);
        let text = check(&file).unwrap_err().to_string();
        let shown = file.display();
        assert!(text.starts_with(&format!("plugin {shown} is not run")), "{text}");
        assert!(text.contains("mode 0757") && text.ends_with(&format!("`chmod go-w {shown}`")), "{text}");
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused_unless_it_is_sticky() {
        let (folder, file) = plugin(0o777, 0o755);
        let text = check(&file).unwrap_err().to_string();
        let shown = folder.path().display();
        assert!(text.contains("its folder, which has mode 0777"), "{text}");
        assert!(text.ends_with(&format!("`chmod go-w {shown}`")), "{text}");
        set(folder.path(), 0o1777);
        check(&file).unwrap();
    }

    #[test]
    fn the_usual_modes_are_accepted() {
        for (folder, file) in [(0o755, 0o755), (0o700, 0o700), (0o555, 0o555)] {
            check(&plugin(folder, file).1).unwrap();
        }
    }

    #[test]
    fn write_permission_of_the_group_is_refused_unless_it_is_roots() {
        let (_folder, file) = plugin(0o755, 0o775);
        let gid = metadata(&file).unwrap().gid();
        assert_eq!(check(&file).is_ok(), gid == 0);
        // Only root can give a file to another group.
        if std::os::unix::fs::chown(&file, None, Some(100)).is_ok() {
            assert!(check(&file).unwrap_err().to_string().contains("mode 0775 and group 100"));
        }
    }

    #[test]
    fn in_a_sticky_folder_a_file_of_another_user_is_refused() {
        let (_folder, file) = plugin(0o1777, 0o755);
        if std::os::unix::fs::chown(&file, Some(100), None).is_ok() {
            check(&file).unwrap_err();
        }
    }

    #[test]
    fn the_file_that_a_link_leads_to_is_checked() {
        let (_other, target) = plugin(0o755, 0o777);
        let (folder, _file) = plugin(0o755, 0o755);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        check(&link).unwrap_err();
        set(&target, 0o755);
        check(&link).unwrap();
    }
}
