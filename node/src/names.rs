//! Names that are fit for an API server's URL and for a file name.
//!
//! kube-rs puts a name into the URL as it stands: `../../secrets/x` would ask for somebody's secret with our
//! token. So [`client`](crate::client) takes these types alone, and they can only be made by checking.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// A text is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a valid {kind}: {rule}", value = Shown(value))]
pub struct NameError {
    /// What it was to be, such as "namespace or DNS label".
    pub kind: &'static str,
    /// The text, escaped and cut.
    pub value: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// Already escaped: in quotes, but not escaped a second time.
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
    /// An RFC 1123 label: a namespace. At most 63 of `a-z`, `0-9` and `-`, a letter or digit at both ends.
    DnsLabel,
    "namespace (DNS label)",
    "1 to 63 lower-case letters, digits and \"-\", beginning and ending with a letter or digit",
    is_label
);

name!(
    /// An RFC 1123 subdomain: the name of most objects. Labels joined by dots, at most 253 characters; the API
    /// server sets no limit to a single label.
    DnsSubdomain,
    "object name (DNS subdomain)",
    "1 to 253 lower-case letters, digits, \"-\" and \".\", each part between dots beginning and ending with a \
     letter or digit",
    is_subdomain
);

name!(
    /// A pod's UID: a UUID, or the hash the kubelet makes for a static pod. Also valid as a label's value.
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

/// Not empty, `inner` or "-" throughout, `inner` at both ends.
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

    /// No kind of name lets any of these through.
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
    fn hostile_names_are_refused_by_every_kind() {
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
    fn subdomains_follow_the_api_servers_rules() {
        for good in ["10.0.0.0-8", "2001-db8---32", "a.b.c", "192.168.20.11", &"a".repeat(253)] {
            assert_eq!(DnsSubdomain::new(good).unwrap().as_str(), good);
        }
        for bad in ["Net.a", "my_net-10.0.0.0-8", "--1-128", &"a".repeat(254)] {
            assert!(DnsSubdomain::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn uids_are_uuids_or_the_kubelets_hashes() {
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
    fn json_is_checked_too() {
        assert_eq!(serde_json::from_str::<DnsLabel>("\"default\"").unwrap().as_str(), "default");
        let error = serde_json::from_str::<DnsLabel>("\"../x\"").unwrap_err().to_string();
        assert!(error.contains("\"../x\" is not a valid namespace"), "{error}");
    }
}
