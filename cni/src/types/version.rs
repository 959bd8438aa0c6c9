//! The versions of the CNI spec and their order.

use std::fmt;
use std::str::FromStr;

/// A version of the CNI spec. They are ordered by publication.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: &'static [Version] = &[
        Version::V0_1_0,
        Version::V0_2_0,
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];

    /// The newest version of the spec.
    pub const CURRENT: Version = Version::V1_1_0;

    /// The text form in `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// Reads a `cniVersion`. The text must match exactly: "1.0" is not "1.0.0". An absent or empty one is 0.1.0, which had no such key.
    pub fn from_conf(text: Option<&str>) -> Result<Version, UnknownVersion> {
        text.filter(|t| !t.is_empty()).map_or(Ok(Version::V0_1_0), str::parse)
    }

    /// Returns the newest version of `wanted` (`cniVersions` and `cniVersion` of a list) that we know; 0.1.0 if `wanted` is empty.
    ///
    /// Versions above [`Version::CURRENT`] are skipped, so that a list can name them for newer runtimes.
    ///
    /// # Errors
    /// [`UnknownVersion`] for text that is no version, for a version that was never published, and if only newer ones are named.
    pub fn newest_of<'a>(wanted: impl IntoIterator<Item = &'a str>) -> Result<Version, UnknownVersion> {
        let current = parse_parts(Version::CURRENT.as_str())?;
        let (mut newest, mut too_new) = (None, None);
        for text in wanted.into_iter().filter(|t| !t.is_empty()) {
            let parts = parse_parts(text)?;
            match text.parse::<Version>() {
                Ok(version) => newest = newest.max(Some(version)),
                Err(error) if parts <= current => return Err(error),
                Err(error) => too_new = Some(error),
            }
        }
        match (newest, too_new) {
            (Some(version), _) => Ok(version),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Version::V0_1_0),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Version::ALL.iter().copied().find(|v| v.as_str() == text);
        known.ok_or_else(|| UnknownVersion::Unknown { version: text.to_owned() })
    }
}

/// The text of a `cniVersion` is not a version of the spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownVersion {
    /// The text has the form of a version, but no such version was published.
    #[error(
        "unknown CNI version {version:?}: expected one of 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"
    )]
    Unknown {
        /// The text.
        version: String,
    },
    /// The text has more parts than major, minor and micro.
    #[error("invalid version {version:?}: too many parts")]
    TooManyParts {
        /// The text.
        version: String,
    },
    /// A part is not a number.
    #[error("failed to convert {part} version part {text:?} of {version:?}: not a number")]
    NotANumber {
        /// `major`, `minor` or `micro`.
        part: &'static str,
        /// The text of the part.
        text: String,
        /// The whole text.
        version: String,
    },
}

/// Reads `major.minor.micro`. Missing parts are 0; empty text is 0.1.0.
///
/// # Errors
/// [`UnknownVersion::TooManyParts`], [`UnknownVersion::NotANumber`].
pub fn parse_parts(version: &str) -> Result<(u32, u32, u32), UnknownVersion> {
    if version.is_empty() {
        return Ok((0, 1, 0));
    }
    let mut parts = version.split('.');
    let mut number = |part: &'static str| match parts.next() {
        None => Ok(0),
        Some(text) => text.parse().map_err(|_| UnknownVersion::NotANumber {
            part,
            text: text.to_owned(),
            version: version.to_owned(),
        }),
    };
    let numbers = (number("major")?, number("minor")?, number("micro")?);
    if parts.next().is_some() {
        return Err(UnknownVersion::TooManyParts { version: version.to_owned() });
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_version_is_0_1_0() {
        assert_eq!(Version::from_conf(None), Ok(Version::V0_1_0));
        assert_eq!(Version::from_conf(Some("")), Ok(Version::V0_1_0));
    }

    #[test]
    fn versions_are_matched_by_their_exact_text() {
        assert_eq!(Version::from_conf(Some("1.0.0")), Ok(Version::V1_0_0));
        assert!(Version::from_conf(Some("1.0")).is_err());
    }

    #[test]
    fn parts_are_numbers_and_at_most_three() {
        assert_eq!(parse_parts("1"), Ok((1, 0, 0)));
        assert_eq!(parse_parts("1.2.3"), Ok((1, 2, 3)));
        for bad in ["asdf.", ".asdf", "0.", "..", "1.2.3.4.5"] {
            assert!(parse_parts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_newest_known_version_of_a_list_is_used() {
        assert_eq!(Version::newest_of(["0.4.0", "1.0.0", "0.3.1"]), Ok(Version::V1_0_0));
        assert_eq!(Version::newest_of(["1.0.0", "9.0.0"]), Ok(Version::V1_0_0));
        assert_eq!(Version::newest_of([]), Ok(Version::V0_1_0));
        assert!(Version::newest_of(["9.0.0"]).is_err());
        assert!(Version::newest_of(["1.0.0", "banana"]).is_err());
    }
}
