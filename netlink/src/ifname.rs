//! Interface names are data from outside: what must hold before one enters a message or a path.

use crate::Error;

/// `IFNAMSIZ` without its NUL: the longest name of a new interface.
pub(crate) const MAX_NAME: usize = 15;
/// `ALTIFNAMSIZ` without its NUL: the longest alternative name.
const MAX_ALT_NAME: usize = 127;

/// Checks the name of an interface to make, or to find below `/proc/sys/net`. The kernel's own rule
/// (`dev_valid_name`): 1 to 15 bytes, not `.` or `..`, no `/`, `:` or white space.
pub(crate) fn check(name: &str) -> Result<(), Error> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME {
        "it is longer than 15 bytes"
    } else if name == "." || name == ".." {
        "it is a directory name"
    } else if name.contains(['/', ':', '\0'])
        || name.contains(|c: char| c.is_ascii_whitespace() || c == '\x0b')
    {
        "it holds '/', ':', NUL or white space"
    } else {
        return Ok(());
    };
    Err(Error::BadName { name: name.to_owned(), why })
}

/// Checks a name to look up: alternative names may be longer and freer.
pub(crate) fn check_lookup(name: &str) -> Result<(), Error> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_ALT_NAME {
        "it is longer than 127 bytes"
    } else if name.contains('\0') {
        "it holds a NUL"
    } else {
        return Ok(());
    };
    Err(Error::BadName { name: name.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kernel_takes() {
        for name in ["net1", "eth0.100", "a", "fifteen-bytes-x", "ens1f0np0", "ä"] {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_would_leave_their_place() {
        for name in ["", ".", "..", "a/b", "../x", "a b", "a\tb", "eth0\0x", "a:1", "sixteen-bytes-xx"] {
            assert!(matches!(check(name), Err(Error::BadName { .. })), "{name:?}");
        }
    }

    #[test]
    fn lookups_take_long_alternative_names_but_no_nul() {
        assert!(check_lookup(&"x".repeat(127)).is_ok());
        for name in ["", "eth0\0x", &"x".repeat(128)] {
            assert!(matches!(check_lookup(name), Err(Error::BadName { .. })), "{name:?}");
        }
    }
}
