//! Errors, grouped by what a caller can do about them.

use std::{fmt, io, net::IpAddr, time::Duration};

use crate::{ifname::BadName, mac::Mac, netns::NetnsError, sysctl::SysctlError};

/// Why a call failed. In variants with a [`Refusal`] the kernel returned the error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object to create exists already (`EEXIST`).
    #[error("{0}")]
    Exists(Refusal),
    /// The object, or one it refers to, does not exist (`ENODEV`, `ENOENT`, `ESRCH`, `ENXIO`, `EADDRNOTAVAIL`).
    #[error("{0}")]
    NotFound(Refusal),
    /// Something else uses what the object needs (`EBUSY`).
    #[error("{0}")]
    Busy(Refusal),
    /// Another interface on the same master has the MAC or IP address (`EADDRINUSE`). Try again later: it may be on its way out.
    #[error("{0}")]
    AddressTaken(Refusal),
    /// The kernel does not accept these values (`EINVAL`, `ERANGE`).
    #[error("{0}")]
    Invalid(Refusal),
    /// This kernel cannot do it, or lacks a module (`EOPNOTSUPP`, `EAFNOSUPPORT`, `EPROTONOSUPPORT`).
    #[error("{0}")]
    Unsupported(Refusal),
    /// The caller lacks `CAP_NET_ADMIN` in the namespace (`EPERM`, `EACCES`).
    #[error("{0}")]
    Denied(Refusal),
    /// Any other error of the kernel.
    #[error("{0}")]
    Kernel(Refusal),
    /// The kernel did not respond in time.
    #[error("cannot {op} {object}: no response from the kernel within {after:?}")]
    TimedOut {
        /// What was requested.
        op: &'static str,
        /// The object.
        object: String,
        /// How long the call waited.
        after: Duration,
    },
    /// The objects changed while the kernel listed them, at each try. Try again later.
    #[error("cannot {op} {object}: they changed during each of {tries} listings; try again")]
    Inconsistent {
        /// What was requested.
        op: &'static str,
        /// The objects.
        object: String,
        /// How many times it was tried.
        tries: u32,
    },
    /// The response has a form that this crate does not expect.
    #[error("cannot {op} {object}: unexpected response from the kernel: {what}")]
    Unexpected {
        /// What was requested.
        op: &'static str,
        /// The object.
        object: String,
        /// What was received or was missing.
        what: &'static str,
    },
    /// The interface name is invalid.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// Duplicate address detection found another host with this IPv6 address.
    #[error("address {address} on {link} is in use by another host (DADFAILED)")]
    DuplicateAddress {
        /// The interface's name.
        link: String,
        /// The address. The kernel does not use it.
        address: IpAddr,
    },
    /// Duplicate address detection did not end in time, for example because the interface has no carrier.
    #[error("{link} still has tentative addresses after {after:?}: {}", list(addresses))]
    StillTentative {
        /// The interface's name.
        link: String,
        /// The addresses that are not usable yet.
        addresses: Vec<IpAddr>,
        /// How long the call waited.
        after: Duration,
    },
    /// Another host responded to an ARP probe for an IPv4 address.
    #[error("address {address} for {link} is in use by another host, with MAC address {holder}")]
    AddressInUse {
        /// The interface's name.
        link: String,
        /// The address.
        address: IpAddr,
        /// The other host's MAC address.
        holder: Mac,
    },
    /// The interface has no six-byte hardware address, so that it cannot send Ethernet frames.
    #[error("interface {link} has no MAC address, which ARP and neighbour discovery need")]
    NoMac {
        /// The interface's name.
        link: String,
    },
    /// An IPv6 address was requested, and IPv6 cannot be turned on.
    #[error("cannot add an IPv6 address to {link}, because IPv6 cannot be turned on: {source}")]
    NoIpv6 {
        /// The interface's name.
        link: String,
        /// The cause.
        source: SysctlError,
    },
    /// A sysctl of the interface could not be written.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The namespace could not be opened or entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A system call outside netlink failed.
    #[error("cannot {op}: {source}")]
    Io {
        /// What failed.
        op: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// An error that the kernel returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was requested, to follow "cannot": "create macvlan".
    pub op: &'static str,
    /// The object's name.
    pub object: String,
    /// The error number, positive.
    pub errno: i32,
    /// The kernel's own explanation, if it gave one.
    pub ext_ack: Option<String>,
    /// What the number usually means for this operation, if known.
    pub hint: Option<&'static str>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, object, errno, .. } = self;
        write!(f, "cannot {op} {object}: {}", io::Error::from_raw_os_error(*errno))?;
        if let Some(text) = &self.ext_ack {
            write!(f, ": {text}")?;
        }
        if let Some(hint) = self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal.errno {
            libc::EEXIST => Self::Exists(refusal),
            libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::ENXIO | libc::EADDRNOTAVAIL => {
                Self::NotFound(refusal)
            }
            libc::EBUSY => Self::Busy(refusal),
            libc::EADDRINUSE => Self::AddressTaken(refusal),
            libc::EINVAL | libc::ERANGE => Self::Invalid(refusal),
            libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT => Self::Unsupported(refusal),
            libc::EPERM | libc::EACCES => Self::Denied(refusal),
            _ => Self::Kernel(refusal),
        }
    }
}

impl Error {
    /// The kernel's error, if the kernel returned one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Exists(refusal)
            | Self::NotFound(refusal)
            | Self::Busy(refusal)
            | Self::AddressTaken(refusal)
            | Self::Invalid(refusal)
            | Self::Unsupported(refusal)
            | Self::Denied(refusal)
            | Self::Kernel(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Adds a hint for the error number, if the kernel returned the error.
    pub(crate) fn hint(self, hint_for: impl FnOnce(i32) -> Option<&'static str>) -> Self {
        let Some(refusal) = self.refusal() else { return self };
        let hint = hint_for(refusal.errno);
        Refusal { hint, ..refusal.clone() }.into()
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(errno: i32) -> Refusal {
        Refusal { op: "create macvlan", object: "net1".into(), errno, ext_ack: None, hint: None }
    }

    #[test]
    fn message_names_operation_object_errno_explanation_and_hint() {
        let explained = Refusal { ext_ack: Some("Device is busy".into()), ..refusal(libc::EBUSY) };
        let error = Error::from(explained).hint(|_| Some("the master is a bridge port"));
        // The text of a number is the C library's, and musl has others than glibc.
        let busy = std::io::Error::from_raw_os_error(libc::EBUSY);
        let expected =
            format!("cannot create macvlan net1: {busy}: Device is busy (the master is a bridge port)");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn errno_decides_the_variant() {
        assert!(matches!(refusal(libc::EEXIST).into(), Error::Exists(_)));
        assert!(matches!(refusal(libc::ENODEV).into(), Error::NotFound(_)));
        assert!(matches!(refusal(libc::EBUSY).into(), Error::Busy(_)));
        assert!(matches!(refusal(libc::EADDRINUSE).into(), Error::AddressTaken(_)));
        assert!(matches!(refusal(libc::EINVAL).into(), Error::Invalid(_)));
        assert!(matches!(refusal(libc::EOPNOTSUPP).into(), Error::Unsupported(_)));
        assert!(matches!(refusal(libc::EPERM).into(), Error::Denied(_)));
        assert!(matches!(refusal(libc::ENOBUFS).into(), Error::Kernel(_)));
    }
}
