//! A range that is divided into equal slices, one or more for each node (`node_slice_size`).
//!
//! Slices are computed by index, never listed: 10.0.0.0/8 has 524,288 slices of /27.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::addr::ip::{self, Family};

/// The prefix length of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SliceSize(u8);

/// A range cannot be divided. The text of `DoesNotFit` begins as Whereabouts' does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// The text is not of the form "/22" or "22".
    #[error("invalid node_slice_size {0:?}: it must be a prefix length such as \"/26\"")]
    Size(String),
    /// A slice would be larger than the range, or smaller than one address.
    #[error(
        "subnetMaskSize must be greater or equal than netMaskSize: cannot cut {net} into slices of /{size}"
    )]
    DoesNotFit {
        /// The range.
        net: IpNet,
        /// The prefix length of a slice.
        size: SliceSize,
    },
}

impl SliceSize {
    /// Reads "/22" or "22".
    ///
    /// # Errors
    /// [`SliceError::Size`].
    pub fn parse(text: &str) -> Result<Self, SliceError> {
        let digits = text.strip_prefix('/').unwrap_or(text);
        let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let length = digits.parse().ok().filter(|length| all_digits && *length <= 128);
        // The text is cut for the message: users write it.
        length.map(Self).ok_or_else(|| SliceError::Size(text.chars().take(64).collect()))
    }

    /// The prefix length.
    pub const fn prefix_len(self) -> u8 {
        self.0
    }
}

impl fmt::Display for SliceSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The slices of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slices {
    net: IpNet,
    size: SliceSize,
}

impl Slices {
    /// Divides `net` into slices of `size`.
    ///
    /// # Errors
    /// [`SliceError::DoesNotFit`].
    pub fn of(net: IpNet, size: SliceSize) -> Result<Self, SliceError> {
        if (net.prefix_len()..=Family::of(net.addr()).bits()).contains(&size.0) {
            return Ok(Self { net: net.trunc(), size });
        }
        Err(SliceError::DoesNotFit { net, size })
    }

    /// The number of slices. It saturates at [`u128::MAX`].
    pub fn count(&self) -> u128 {
        1_u128.checked_shl(u32::from(self.size.0 - self.net.prefix_len())).unwrap_or(u128::MAX)
    }

    /// Slice number `index`, counted from 0.
    pub fn get(&self, index: u128) -> Option<IpNet> {
        if index >= self.count() {
            return None;
        }
        let step = Family::of(self.net.addr()).bits() - self.size.0;
        // The shift overflows only for a slice as large as the family (/0); its index is 0.
        let start = ip::add(self.net.addr(), index.checked_shl(step.into()).unwrap_or(0))?;
        IpNet::new(start, self.size.0).ok()
    }

    /// The index of the slice that contains `ip`.
    pub fn index_of(&self, ip: IpAddr) -> Option<u128> {
        let offset = ip::offset(ip, self.net.addr()).filter(|_| self.net.contains(&ip))?;
        let step = Family::of(ip).bits() - self.size.0;
        Some(offset.checked_shr(step.into()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::{SliceSize, Slices};

    fn slices(net: &str, size: &str) -> Slices {
        Slices::of(net.parse().unwrap(), SliceSize::parse(size).unwrap()).unwrap()
    }

    fn all(net: &str, size: &str) -> Vec<String> {
        let slices = slices(net, size);
        (0..slices.count()).map(|index| slices.get(index).unwrap().to_string()).collect()
    }

    #[test]
    fn a_range_is_divided_by_size() {
        assert_eq!(all("10.0.0.0/8", "/8"), ["10.0.0.0/8"]);
        assert_eq!(
            all("10.0.0.0/8", "/10"),
            ["10.0.0.0/10", "10.64.0.0/10", "10.128.0.0/10", "10.192.0.0/10"]
        );
        assert_eq!(all("10.0.0.0/8", "10"), all("10.0.0.0/8", "/10"));
        assert_eq!(all("10.0.0.0/8", "/11").len(), 8);
        assert_eq!(all("10.0.0.0/8", "/11")[7], "10.224.0.0/11");
        assert_eq!(
            all("10.0.0.0/10", "/12"),
            ["10.0.0.0/12", "10.16.0.0/12", "10.32.0.0/12", "10.48.0.0/12"]
        );
    }

    #[test]
    fn a_slice_larger_than_the_range_is_an_error() {
        let error = Slices::of("10.0.0.0/10".parse().unwrap(), SliceSize::parse("/8").unwrap()).unwrap_err();
        assert!(
            error.to_string().starts_with("subnetMaskSize must be greater or equal than netMaskSize"),
            "{error}"
        );
        assert!(Slices::of("10.0.0.0/10".parse().unwrap(), SliceSize::parse("/33").unwrap()).is_err());
    }

    #[test]
    fn many_slices_and_ipv6_slices_are_computed_by_index() {
        let many = slices("10.0.0.0/8", "/27");
        assert_eq!(
            (many.count(), many.get(524_287).unwrap().to_string()),
            (524_288, "10.255.255.224/27".to_owned())
        );
        assert_eq!(many.get(524_288), None);
        let v6 = slices("fd00::/8", "/64");
        assert_eq!(v6.count(), 1 << 56);
        assert_eq!(v6.get((1 << 56) - 1).unwrap().to_string(), "fdff:ffff:ffff:ffff::/64");
        assert_eq!(slices("::/0", "128").count(), u128::MAX);
        assert_eq!(slices("::/0", "0").get(0).unwrap().to_string(), "::/0");
    }

    #[test]
    fn index_of_finds_the_slice_of_an_address() {
        let slices = slices("10.0.0.0/8", "/10");
        assert_eq!(slices.index_of("10.64.0.1".parse().unwrap()), Some(1));
        assert_eq!(slices.index_of("11.0.0.1".parse().unwrap()), None);
        assert_eq!(slices.index_of("fd00::1".parse().unwrap()), None);
    }

    #[test]
    fn sizes_are_prefix_lengths() {
        for bad in ["", "/", "x", "/-1", "+8", "//8", "129", "/22 "] {
            assert!(SliceSize::parse(bad).is_err(), "{bad:?}");
        }
    }
}
