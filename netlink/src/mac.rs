//! Ethernet (MAC) addresses.

use std::{fmt, str::FromStr};

/// An Ethernet address, displayed in lower-case hexadecimal with colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

/// The error for text that is not an Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid MAC address {text:?}: expected six bytes, such as 02:00:5e:00:53:01")]
pub struct MacError {
    /// The text as given.
    pub text: String,
}

impl FromStr for Mac {
    type Err = MacError;

    /// Parses the six-byte forms of Go's `net.ParseMAC`: `02:00:5e:00:53:01`, `02-00-5e-00-53-01`, `0200.5e00.5301`, in upper or
    /// lower case.
    fn from_str(text: &str) -> Result<Self, MacError> {
        parse(text).map(Self).ok_or_else(|| MacError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<[u8; 6]> {
    let (separator, digits_each, groups) = match text.as_bytes().get(2)? {
        b':' => (':', 2, 6),
        b'-' => ('-', 2, 6),
        _ => ('.', 4, 3),
    };
    let parts: Vec<&str> = text.split(separator).collect();
    if parts.len() != groups || parts.iter().any(|part| part.len() != digits_each) {
        return None;
    }
    let digits: Vec<u8> = parts.concat().chars().map(digit).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d)).collect();
    bytes.try_into().ok()
}

fn digit(c: char) -> Option<u8> {
    u8::try_from(c.to_digit(16)?).ok()
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_go_parses_is_parsed() {
        for text in ["0a:1b:2c:3d:4e:5f", "0A-1B-2C-3D-4E-5F", "0a1b.2c3d.4e5f", "0A:1b:2C:3d:4E:5f"] {
            assert_eq!(text.parse::<Mac>().unwrap().to_string(), "0a:1b:2c:3d:4e:5f", "{text}");
        }
    }

    #[test]
    fn any_other_text_is_an_error() {
        let long = "00:00:5e:00:53:01:00:01";
        for text in [
            "",
            "0a",
            "0a:1b:2c:3d:4e",
            "0a:1b:2c:3d:4e:5",
            "0a-1b:2c:3d:4e:5f",
            "0a1b2c3d4e5f",
            "0a1b.2c3d.4e5g",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(MacError { text: text.into() }));
        }
        for text in [long, "0a:1b:2c:3d:4e:5f ", "+a:1b:2c:3d:4e:5f", "0a:1b:2c:3d:4e:é", "é:1b:2c:3d:4e:5f"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
