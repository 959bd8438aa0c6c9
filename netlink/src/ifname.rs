//! Which interface names are valid. Names come from users, and enter netlink messages and paths below `/proc/sys`.

/// The error for an invalid interface name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid interface name {name:?}: {why}")]
pub struct BadName {
    /// The name as given.
    pub name: String,
    /// The rule it breaks.
    pub why: &'static str,
}

/// Greatest length of a name in bytes: `IFNAMSIZ` without the NUL.
pub(crate) const MAX_NAME: usize = 15;
/// Greatest length of an alternative name in bytes: `ALTIFNAMSIZ` without the NUL.
const MAX_ALT_NAME: usize = 127;

/// Checks the name of an interface to create, or to find below `/proc/sys/net`. Same rule as the kernel's `dev_valid_name`: 1 to
/// 15 bytes, not `.` or `..`, no `/`, `:` or white space.
pub(crate) fn check(name: &str) -> Result<(), BadName> {
    let why = if name.is_empty() {
        "must not be empty"
    } else if name.len() > MAX_NAME {
        "must have at most 15 bytes"
    } else if name == "." || name == ".." {
        "must not be \".\" or \"..\""
    } else if name.contains(['/', ':', '\0'])
        // The kernel's isspace() includes the vertical tab, is_ascii_whitespace() does not.
        || name.contains(|c: char| c.is_ascii_whitespace() || c == '\x0b')
    {
        "must not contain '/', ':', NUL or white space"
    } else {
        return Ok(());
    };
    Err(BadName { name: name.to_owned(), why })
}

/// Checks a name to look up, which may be an alternative name: those may be longer and have any character.
pub(crate) fn check_lookup(name: &str) -> Result<(), BadName> {
    let why = if name.is_empty() {
        "must not be empty"
    } else if name.len() > MAX_ALT_NAME {
        "must have at most 127 bytes"
    } else if name.contains('\0') {
        "must not contain NUL"
    } else {
        return Ok(());
    };
    Err(BadName { name: name.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_accepts_are_valid() {
        for name in ["net1", "eth0.100", "a", "fifteen-bytes-x", "ens1f0np0", "ä"] {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_would_change_a_path_or_message_are_invalid() {
        for name in ["", ".", "..", "a/b", "../x", "a b", "a\tb", "eth0\0x", "a:1", "sixteen-bytes-xx"] {
            assert!(check(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn alternative_names_may_have_127_bytes_but_no_nul() {
        assert!(check_lookup(&"x".repeat(127)).is_ok());
        for name in ["", "eth0\0x", &"x".repeat(128)] {
            assert!(check_lookup(name).is_err(), "{name:?}");
        }
    }
}
