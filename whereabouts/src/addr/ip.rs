//! Address text as Go reads and writes it, and addresses as numbers.
//!
//! Every version of Whereabouts makes object names and pool keys from this text, so it must agree with Go's `net` package to the letter.
//! Go treats an IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) as IPv4, and so does this module.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A text that is not a CIDR. The message is Go's; tools match on messages that contain it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct CidrError(pub String);

/// Reads an address strictly, like Go's `net.ParseIP`: no leading zeros in IPv4, no zone (`%eth0`).
pub fn parse_strict(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// Reads an address like `ParseIPSloppy` of `k8s.io/utils/net`: leading zeros are decimal ("010" is ten).
pub fn parse_sloppy(text: &str) -> Option<IpAddr> {
    parse_strict(&without_leading_zeros(text))
}

/// Reads an address with prefix length strictly, like Go's `net.ParseCIDR`. The host bits are kept.
///
/// # Errors
/// [`CidrError`], also for IPv4-mapped IPv6 (`::ffff:10.0.0.0/104`): its prefix length fits neither family.
pub fn parse_cidr_strict(text: &str) -> Result<IpNet, CidrError> {
    parse_cidr(text, str::to_owned).ok_or_else(|| CidrError(text.to_owned()))
}

/// Reads an address with prefix length like `ParseCIDRSloppy` of `k8s.io/utils/net`. The host bits are kept.
///
/// # Errors
/// [`CidrError`], also for IPv4-mapped IPv6.
pub fn parse_cidr_sloppy(text: &str) -> Result<IpNet, CidrError> {
    parse_cidr(text, without_leading_zeros).ok_or_else(|| CidrError(text.to_owned()))
}

fn parse_cidr(text: &str, normalize: impl Fn(&str) -> String) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let ip: IpAddr = normalize(address).parse().ok()?;
    // Only digits: Rust's integer parser also accepts "+8", Go's CIDR parser does not. Both accept "024".
    if ip != ip.to_canonical() || length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    IpNet::new(ip, length.parse().ok()?).ok()
}

/// Strips the leading zeros of every number between dots and colons: "010" becomes "10", "000" becomes "0".
fn without_leading_zeros(text: &str) -> String {
    let mut stripped = String::with_capacity(text.len());
    for part in text.split_inclusive(['.', ':']) {
        let (number, separator) = match part.strip_suffix(['.', ':']) {
            Some(number) => (number, part.get(number.len()..).unwrap_or_default()),
            None => (part, ""),
        };
        let digits = number.trim_start_matches('0');
        stripped.push_str(if digits.is_empty() && !number.is_empty() { "0" } else { digits });
        stripped.push_str(separator);
    }
    stripped
}

/// Go's text of an address: lower case, RFC 5952, IPv4-mapped IPv6 in dotted form.
pub fn text(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}

/// The address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// 32 bits.
    V4,
    /// 128 bits.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The length of an address, in bits.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The address with this number, or `None` if the number is too large for the family.
    pub fn address(self, number: u128) -> Option<IpAddr> {
        match self {
            Self::V4 => u32::try_from(number).ok().map(|number| Ipv4Addr::from(number).into()),
            Self::V6 => Some(Ipv6Addr::from(number).into()),
        }
    }
}

/// An address as a number.
pub fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// The distance of `ip` above `base`: the key of its entry in a pool that begins at `base`. `None` if the families differ or `ip` is
/// below `base`.
pub fn offset(ip: IpAddr, base: IpAddr) -> Option<u128> {
    if Family::of(ip) != Family::of(base) {
        return None;
    }
    number(ip).checked_sub(number(base))
}

/// The address `offset` above `base`, or `None` if that is past the last address of the family.
pub fn add(base: IpAddr, offset: u128) -> Option<IpAddr> {
    Family::of(base).address(number(base).checked_add(offset)?)
}

#[cfg(test)]
mod tests {
    use super::{add, offset, parse_cidr_sloppy, parse_cidr_strict, parse_sloppy, parse_strict, text};
    use std::net::IpAddr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn sloppy_parsing_reads_leading_zeros_as_decimal() {
        let table = [
            ("192.168.001.010", Some("192.168.1.10")),
            ("000.000.000.000", Some("0.0.0.0")),
            ("0000192.168.1.1", Some("192.168.1.1")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("2001:0db8:0480:603d:0304:0403:000:0000", Some("2001:db8:480:603d:304:403::")),
            ("fd::00001", Some("fd::1")),
            ("::ffff:010.0.0.1", Some("10.0.0.1")),
            ("10.0.0.256", None),
            ("10.0.0", None),
            ("10.0.0.1.", None),
            ("10..0.1", None),
            ("10.0.0.1 ", None),
            ("0x10.0.0.1", None),
            ("100::2::1", None),
            ("fe80::1%eth0", None),
            ("", None),
        ];
        for (given, expected) in table {
            assert_eq!(parse_sloppy(given), expected.map(ip), "{given:?}");
        }
    }

    #[test]
    fn strict_parsing_rejects_leading_zeros_in_ipv4() {
        assert_eq!(parse_strict("192.168.1.10"), Some(ip("192.168.1.10")));
        assert_eq!(parse_strict("192.168.001.010"), None);
        assert_eq!(parse_strict("::ffff:10.0.0.1"), Some(ip("10.0.0.1")));
        assert_eq!(parse_strict("fd::00001"), None);
    }

    #[test]
    fn cidrs_keep_their_host_bits_and_bad_ones_are_errors() {
        let table = [
            ("192.168.1.44/28", Some("192.168.1.44/28")),
            ("192.168.001.010/024", Some("192.168.1.10/24")),
            ("2001::1/116", Some("2001::1/116")),
            ("10.0.0.0/33", None),
            ("192.168.0.1/123", None),
            ("fd00::/129", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/-1", None),
            ("10.0.0.0/8/8", None),
            ("10.0.0.0", None),
            ("::ffff:10.0.0.0/104", None),
            ("/8", None),
        ];
        for (given, expected) in table {
            let found = parse_cidr_sloppy(given).ok().map(|net| net.to_string());
            assert_eq!(found.as_deref(), expected, "{given:?}");
        }
        assert!(parse_cidr_strict("192.168.001.010/24").is_err());
        assert_eq!(parse_cidr_strict("x/1").unwrap_err().to_string(), "invalid CIDR address: x/1");
    }

    #[test]
    fn text_matches_go() {
        let table = [
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::10.0.0.1", "::a00:1"),
            ("fd00:0:0:10:0:0:3:1", "fd00::10:0:0:3:1"),
            ("::", "::"),
        ];
        for (given, expected) in table {
            assert_eq!(text(ip(given)), expected);
        }
    }

    #[test]
    fn offsets_count_from_the_base() {
        let table = [
            ("192.168.1.255", "192.168.1.1", Some(254)),
            ("192.168.2.0", "192.168.1.1", Some(255)),
            ("192.168.2.1", "192.168.1.1", Some(256)),
            ("192.168.3.0", "192.168.1.1", Some(511)),
            ("2000::ffff", "2000::", Some(0xffff)),
            ("ffff::", "::", Some(0xffff << 112)),
            ("192.168.1.0", "192.168.1.1", None),
            ("192.168.1.1", "2000::", None),
            ("2000::", "192.168.1.1", None),
        ];
        for (address, base, expected) in table {
            assert_eq!(offset(ip(address), ip(base)), expected, "{address} from {base}");
            if let Some(offset) = expected {
                assert_eq!(add(ip(base), offset), Some(ip(address)));
            }
        }
    }

    #[test]
    fn add_returns_none_past_the_last_address() {
        assert_eq!(add(ip("255.255.255.255"), 1), None);
        assert_eq!(add(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 1), None);
        assert_eq!(add(ip("10.0.255.255"), 1), Some(ip("10.1.0.0")));
    }
}
