//! What can go wrong, sorted by what a caller can do about it.

use std::{fmt, io, net::IpAddr, time::Duration};

use crate::{Mac, NetnsError, SysctlError};

/// Why a call failed. Variants that carry a [`Refusal`] are answers of the kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object to make is there already (`EEXIST`).
    #[error("{0}")]
    Exists(Refusal),
    /// The object, or one it refers to, is not there (`ENODEV`, `ENOENT`, `ESRCH`, `ENXIO`,
    /// `EADDRNOTAVAIL`).
    #[error("{0}")]
    NotFound(Refusal),
    /// Something else holds what the object needs (`EBUSY`, `EADDRINUSE`).
    #[error("{0}")]
    Busy(Refusal),
    /// The kernel does not take these values (`EINVAL`, `ERANGE`).
    #[error("{0}")]
    Invalid(Refusal),
    /// This kernel, as it is running, cannot do it (`EOPNOTSUPP`, `EAFNOSUPPORT`, `EPROTONOSUPPORT`).
    #[error("{0}")]
    Unsupported(Refusal),
    /// The caller may not do it (`EPERM`, `EACCES`): `CAP_NET_ADMIN` is needed in the namespace.
    #[error("{0}")]
    Denied(Refusal),
    /// Any other answer of the kernel.
    #[error("{0}")]
    Kernel(Refusal),
    /// The kernel gave no answer in time.
    #[error("cannot {op} {object}: no answer from the kernel within {after:?}")]
    TimedOut {
        /// What was asked for.
        op: &'static str,
        /// Of which object.
        object: String,
        /// How long the call waited.
        after: Duration,
    },
    /// The objects changed while they were listed, each time it was tried.
    #[error("cannot {op} {object}: they changed during each of {tries} listings; try again")]
    Inconsistent {
        /// What was asked for.
        op: &'static str,
        /// Of which objects.
        object: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The answer was not one the request can have: a kernel or a crate of another mind.
    #[error("cannot {op} {object}: unexpected answer from the kernel: {what}")]
    Unexpected {
        /// What was asked for.
        op: &'static str,
        /// Of which object.
        object: String,
        /// What came, or did not come.
        what: &'static str,
    },
    /// Not the name of an interface.
    #[error("{name:?} cannot be the name of an interface: {why}")]
    BadName {
        /// The name as given.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// Duplicate address detection found another owner.
    #[error("address {address} on {link} is in use by another host (DADFAILED)")]
    DuplicateAddress {
        /// The interface's name.
        link: String,
        /// The address the kernel will not use.
        address: IpAddr,
    },
    /// Duplicate address detection did not end in time, as on an interface without carrier.
    #[error("{link} still has tentative addresses after {after:?}: {}", list(addresses))]
    StillTentative {
        /// The interface's name.
        link: String,
        /// The addresses not yet usable.
        addresses: Vec<IpAddr>,
        /// How long the call waited.
        after: Duration,
    },
    /// Another host answered for an address that was to be used.
    #[error("address {address} for {link} is in use by another host, with MAC address {holder}")]
    AddressInUse {
        /// The interface's name.
        link: String,
        /// The address.
        address: IpAddr,
        /// Who has it.
        holder: Mac,
    },
    /// The interface has no six-byte hardware address, which frames need.
    #[error("{link} has no Ethernet address: nothing can be sent from it")]
    NoMac {
        /// The interface's name.
        link: String,
    },
    /// IPv6 is off on the interface and cannot be turned on.
    #[error("{link} is to have an IPv6 address and IPv6 cannot be turned on: {source}")]
    NoIpv6 {
        /// The interface's name.
        link: String,
        /// Why not.
        source: SysctlError,
    },
    /// A setting of the interface could not be made.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The namespace could not be opened or entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A system call outside netlink failed.
    #[error("cannot {op}: {source}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// An error answer of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for, to follow "cannot": "create macvlan".
    pub op: &'static str,
    /// The object's name.
    pub object: String,
    /// The error number, positive.
    pub errno: i32,
    /// The kernel's own explanation, if it gave one.
    pub ext_ack: Option<String>,
    /// What the number usually means for this operation, if that is known.
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
            libc::EBUSY | libc::EADDRINUSE => Self::Busy(refusal),
            libc::EINVAL | libc::ERANGE => Self::Invalid(refusal),
            libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT => Self::Unsupported(refusal),
            libc::EPERM | libc::EACCES => Self::Denied(refusal),
            _ => Self::Kernel(refusal),
        }
    }
}

impl Error {
    /// The kernel's answer, if this is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Exists(refusal)
            | Self::NotFound(refusal)
            | Self::Busy(refusal)
            | Self::Invalid(refusal)
            | Self::Unsupported(refusal)
            | Self::Denied(refusal)
            | Self::Kernel(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Adds what `errno` usually means here. Nothing changes if the error is another one.
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
        let told = Refusal { ext_ack: Some("Device is busy".into()), ..refusal(libc::EBUSY) };
        let error = Error::from(told).hint(|_| Some("the master is a bridge port"));
        assert_eq!(
            error.to_string(),
            "cannot create macvlan net1: Device or resource busy (os error 16): Device is busy (the master is a bridge port)"
        );
    }

    #[test]
    fn errno_decides_the_variant() {
        assert!(matches!(refusal(libc::EEXIST).into(), Error::Exists(_)));
        assert!(matches!(refusal(libc::ENODEV).into(), Error::NotFound(_)));
        assert!(matches!(refusal(libc::EBUSY).into(), Error::Busy(_)));
        assert!(matches!(refusal(libc::EINVAL).into(), Error::Invalid(_)));
        assert!(matches!(refusal(libc::EOPNOTSUPP).into(), Error::Unsupported(_)));
        assert!(matches!(refusal(libc::EPERM).into(), Error::Denied(_)));
        assert!(matches!(refusal(libc::ENOBUFS).into(), Error::Kernel(_)));
    }
}
