//! Names from the runtime and from configurations, as checked types: each value is safe in a file name, an argument and a message.

use std::fmt;

use crate::types::error::{CniError, Code};

/// The longest interface name in bytes; the kernel's IFNAMSIZ is 16 with the final NUL.
const IF_NAME_MAX: usize = 15;

/// The longest container id or plugin name, in bytes.
const NAME_MAX: usize = 128;

/// The longest network name, in bytes: that of a Kubernetes object, whose name a network gets if its configuration has none. The name of a
/// cache file joins it with container id and interface, so the kernel's limit for a file (255 bytes) can be reached earlier.
const NETWORK_NAME_MAX: usize = 253;

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

checked_name! {
    /// `CNI_CONTAINERID`: a letter or digit, then letters, digits, `_`, `.`, `-` (CNI spec 1.1.0, section 2, "Parameters").
    ContainerId
}

checked_name! {
    /// `CNI_IFNAME`: 1 to 15 bytes, not `.` or `..`, without `/`, `:` or white space.
    IfName
}

checked_name! {
    /// The `name` of a network: the same characters as in a container id.
    NetworkName
}

checked_name! {
    /// The `type` of a plugin, which is its file name: letters, digits, `_`, `.`, `-`, without a leading dot. Such a name cannot leave
    /// the folders of `CNI_PATH` (CVE-2021-20206).
    PluginType
}

impl ContainerId {
    /// Checks a container id. Code 3 if it is empty, 4 if it has other characters.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        if text.is_empty() {
            return Err(CniError::new(Code::UnknownContainer, "missing containerID"));
        }
        if !is_word(text) || text.len() > NAME_MAX {
            return Err(CniError::new(Code::InvalidEnvironment, "invalid characters in containerID")
                .with_details(shown(text)));
        }
        Ok(ContainerId(text.to_owned()))
    }
}

impl NetworkName {
    /// Checks a network name; code 7.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        if text.is_empty() {
            return Err(CniError::new(Code::InvalidConfig, "missing network name"));
        }
        if !is_word(text) {
            return Err(CniError::new(Code::InvalidConfig, "invalid characters found in network name")
                .with_details(shown(text)));
        }
        if text.len() > NETWORK_NAME_MAX {
            let msg = format!(
                "network name {:?} has {} bytes, but at most {NETWORK_NAME_MAX} are allowed",
                shown(text),
                text.len()
            );
            return Err(CniError::new(Code::InvalidConfig, msg));
        }
        Ok(NetworkName(text.to_owned()))
    }
}

impl IfName {
    /// Checks an interface name; code 4.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        let refuse = |msg: &str| Err(CniError::new(Code::InvalidEnvironment, msg));
        if text.is_empty() {
            return refuse("interface name is empty");
        }
        if text.len() > IF_NAME_MAX {
            return Err(CniError::new(Code::InvalidEnvironment, "interface name is too long")
                .with_details("interface name should be less than 16 characters"));
        }
        if text == "." || text == ".." {
            return refuse("interface name is . or ..");
        }
        if text.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c == '\0') {
            return refuse("interface name contains / or : or whitespace characters");
        }
        Ok(IfName(text.to_owned()))
    }
}

impl PluginType {
    /// Checks a plugin type; code 7.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        if text.is_empty() {
            return Err(CniError::new(Code::InvalidConfig, "no plugin name provided"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if text.starts_with('.') || text.len() > NAME_MAX || !text.chars().all(allowed) {
            return Err(CniError::new(Code::InvalidConfig, format!("invalid plugin name: {}", shown(text))).with_details(
                "a plugin type is a file name of letters, digits, '_', '.', '-', without a leading dot or a path",
            ));
        }
        Ok(PluginType(text.to_owned()))
    }
}

/// Whether `text` matches `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`.
fn is_word(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed)
}

/// The first 64 characters of `text`, escaped: a name from a user must not forge a log line.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(64).collect();
    let more = if cut.len() < text.len() { "..." } else { "" };
    format!("{}{more}", cut.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ids_are_words() {
        assert!(ContainerId::parse("c0ffee_.-9").is_ok());
        assert_eq!(ContainerId::parse("").unwrap_err().code, Code::UnknownContainer);
        for bad in ["-a", "a/b", "a b", "../x", "é", "a\n"] {
            let error = ContainerId::parse(bad).unwrap_err();
            assert_eq!(
                (error.code, error.msg.as_str()),
                (Code::InvalidEnvironment, "invalid characters in containerID"),
                "{bad}"
            );
        }
    }

    #[test]
    fn interface_names_follow_the_kernel() {
        for good in ["eth0", "net1", "a_very.long-15b", "Ünet"] {
            assert!(IfName::parse(good).is_ok(), "{good}");
        }
        for (bad, msg) in [
            ("", "interface name is empty"),
            ("1234567890123456", "interface name is too long"),
            (".", "interface name is . or .."),
            ("..", "interface name is . or .."),
            ("a/b", "interface name contains / or : or whitespace characters"),
            ("a:b", "interface name contains / or : or whitespace characters"),
            ("a\u{2003}b", "interface name contains / or : or whitespace characters"),
        ] {
            assert_eq!(IfName::parse(bad).unwrap_err().msg, msg);
        }
    }

    #[test]
    fn network_names_are_words() {
        assert_eq!(NetworkName::parse("").unwrap_err().msg, "missing network name");
        assert_eq!(NetworkName::parse("te%%st").unwrap_err().code, Code::InvalidConfig);
        assert!(NetworkName::parse("macvlan-conf").is_ok());
        assert!(NetworkName::parse(&"x".repeat(253)).is_ok());
        let error = NetworkName::parse(&"x".repeat(254)).unwrap_err();
        assert!(error.msg.contains("has 254 bytes, but at most 253 are allowed"), "{error}");
    }

    #[test]
    fn plugin_types_cannot_leave_their_folder() {
        assert!(PluginType::parse("host-local").is_ok());
        for bad in ["", "../sh", "a/b", ".hidden", "a b", "a;b", "/bin/sh", &"x".repeat(129)] {
            assert!(PluginType::parse(bad).is_err(), "{bad}");
        }
    }
}
