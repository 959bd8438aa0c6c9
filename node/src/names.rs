//! Checked names, which are safe in a URL of the API server and as a file name.
//!
//! kube-rs puts a name into the URL unchecked: `../../secrets/x` would read somebody's secret with our token. So
//! [`client`](crate::client) accepts only these types, and their constructors check the text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// The text is not a valid name of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a valid {kind}: {rule}", value = Shown(value))]
pub struct NameError {
    /// The kind of name, such as "namespace (DNS label)".
    pub kind: &'static str,
    /// The text, escaped and cut.
    pub value: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// Shows an escaped text in quotes, without escaping it again.
struct Shown<'a>(&'a str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks `text`.
            ///
            /// # Errors
            /// [`NameError`] with the text and the rule it breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                if $check(&text) {
                    return Ok(Self(text));
                }
                Err(NameError { kind: $kind, value: printable(&text, 64), rule: $rule })
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

name!(
    /// An RFC 1123 label, such as a namespace: at most 63 of `a-z`, `0-9` and `-`, with a letter or digit at both ends.
    DnsLabel,
    "namespace (DNS label)",
    "1 to 63 lower-case letters, digits and \"-\", beginning and ending with a letter or digit",
    is_label
);

name!(
    /// An RFC 1123 subdomain, such as the name of most objects: labels joined by dots, at most 253 characters. As in the API server, a single label
    /// may be longer than 63.
    DnsSubdomain,
    "object name (DNS subdomain)",
    "1 to 253 lower-case letters, digits, \"-\" and \".\", each part between dots beginning and ending with a \
     letter or digit",
    is_subdomain
);

name!(
    /// A pod's UID: a UUID, or the hash that the kubelet computes for a static pod. Also valid as the value of a label.
    PodUid,
    "pod UID",
    "1 to 63 letters, digits and \"-\", beginning and ending with a letter or digit",
    is_uid
);

fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_part)
}

fn is_part(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    framed(text, alphanumeric)
}

fn is_uid(text: &str) -> bool {
    text.len() <= 63 && framed(text, |b| b.is_ascii_alphanumeric())
}

/// Whether a text has only `inner` and "-", and `inner` at both ends. False for an empty text.
fn framed(text: &str, inner: impl Fn(u8) -> bool) -> bool {
    let ends = [text.bytes().next(), text.bytes().next_back()];
    ends.iter().all(|end| end.is_some_and(&inner)) && text.bytes().all(|b| inner(b) || b == b'-')
}

impl From<DnsLabel> for DnsSubdomain {
    fn from(label: DnsLabel) -> Self {
        Self(label.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{DnsLabel, DnsSubdomain, NameError, PodUid};

    /// Texts that no kind of name accepts.
    const HOSTILE: &[&str] = &[
        "",
        ".",
        "..",
        "../../../../api/v1/namespaces/kube-system/secrets/x",
        "a/b",
        "a/../b",
        "/",
        "%2e%2e",
        "a%2fb",
        "a?watch=true",
        "a#b",
        "a b",
        "a\n",
        "a\0",
        "a\\b",
        "-a",
        "a-",
        "a..b",
        ".a",
        "a.",
        "a-.b",
        "a.-b",
        "a_b",
        "a:b",
        "--1",
        "\u{430}",
        "caf\u{e9}",
        "a\u{2024}b",
        "a\u{ff0e}b",
        "\u{130}",
    ];

    #[test]
    fn every_kind_rejects_hostile_names() {
        for text in HOSTILE {
            assert!(DnsLabel::new(*text).is_err(), "label {text:?}");
            assert!(DnsSubdomain::new(*text).is_err(), "subdomain {text:?}");
            assert!(PodUid::new(*text).is_err(), "uid {text:?}");
        }
    }

    #[test]
    fn labels_follow_rfc_1123() {
        for good in ["a", "0", "kube-system", "a--b", &"a".repeat(63)] {
            assert_eq!(DnsLabel::new(good).unwrap().as_str(), good);
        }
        for bad in ["A", "a.b", &"a".repeat(64)] {
            assert!(DnsLabel::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subdomains_follow_the_rules_of_the_api_server() {
        for good in ["10.0.0.0-8", "2001-db8---32", "a.b.c", "192.168.20.11", &"a".repeat(253)] {
            assert_eq!(DnsSubdomain::new(good).unwrap().as_str(), good);
        }
        for bad in ["Net.a", "my_net-10.0.0.0-8", "--1-128", &"a".repeat(254)] {
            assert!(DnsSubdomain::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_uid_is_a_uuid_or_a_hash_of_the_kubelet() {
        for good in ["0b5dbf05-7e5c-4e3b-8d0e-0a6a1d5bd0d1", "6f1b9b07a4f6cbe0e35e8d7c6d4f1f52", "A-1"] {
            assert!(PodUid::new(good).is_ok(), "{good}");
        }
        assert!(PodUid::new("a".repeat(64)).is_err());
    }

    #[test]
    fn the_error_shows_the_value_escaped_and_cut_and_the_rule() {
        let error: NameError = DnsLabel::new(format!("a\u{1b}[31m{}", "x".repeat(999))).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("\"a\\u{1b}[31mxx"), "{text}");
        assert!(text.contains("... (941 more)\" is not a valid namespace (DNS label): 1 to 63"), "{text}");
        assert!(text.len() < 300, "{text}");
    }

    #[test]
    fn names_in_json_are_checked() {
        assert_eq!(serde_json::from_str::<DnsLabel>("\"default\"").unwrap().as_str(), "default");
        let error = serde_json::from_str::<DnsLabel>("\"../x\"").unwrap_err().to_string();
        assert!(error.contains("\"../x\" is not a valid namespace"), "{error}");
    }
}
