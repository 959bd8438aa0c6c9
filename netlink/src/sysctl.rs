//! The few kernel settings of an interface that plugins change: a fixed set of keys, written from inside the
//! namespace they belong to.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{Netns, NetnsError, ifname};

/// A setting of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sysctl {
    /// `ipv4/conf/<if>/arp_notify`: 1 announces IPv4 addresses when the interface comes up.
    ArpNotify,
    /// `ipv6/conf/<if>/ndisc_notify`: 1 announces IPv6 addresses when the interface comes up.
    NdiscNotify,
    /// `ipv6/conf/<if>/disable_ipv6`: 1 takes IPv6 from the interface, 0 gives it.
    DisableIpv6,
    /// `ipv6/conf/<if>/accept_ra`: 0 ignores router advertisements, 1 takes them unless forwarding, 2 always.
    AcceptRa,
    /// `ipv6/conf/<if>/autoconf`: 0 makes no addresses from router advertisements.
    Autoconf,
    /// `ipv6/conf/<if>/keep_addr_on_down`: 1 keeps global addresses when the interface goes down.
    KeepAddrOnDown,
    /// `ipv6/conf/<if>/accept_dad`: 0 uses addresses without duplicate address detection.
    AcceptDad,
}

/// Why a setting could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SysctlError {
    /// There is no such setting: no such interface, or a kernel without IPv6.
    #[error("sysctl {path:?} does not exist")]
    Missing {
        /// Its file.
        path: PathBuf,
    },
    /// `/proc/sys` may not be written, as in a container without privileges.
    #[error("sysctl {path:?} is read-only")]
    ReadOnly {
        /// Its file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {op} sysctl {path:?}: {source}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// Its file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Not the name of one interface.
    #[error("{name:?} cannot be the interface of a sysctl")]
    BadName {
        /// The name as given.
        name: String,
    },
    /// The namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
}

impl SysctlError {
    /// Whether the setting cannot be had here at all: a caller may go on where it was only a wish.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::ReadOnly { .. })
    }
}

/// Writes settings of the interface `ifname`, in order, all of them even if one fails. What could not be
/// written comes back. A setting that has its value already is not written, so a read-only `/proc/sys` with
/// the wanted values is no error.
#[must_use = "these settings were not made"]
pub fn set(netns: &Netns, ifname: &str, settings: &[(Sysctl, u32)]) -> Vec<SysctlError> {
    match set_each(netns, ifname, settings) {
        Ok(outcomes) => outcomes.into_iter().filter_map(Result::err).collect(),
        Err(error) => vec![error],
    }
}

/// As [`set`]; what became of each setting, in their order. An error where none could be tried.
pub(crate) fn set_each(
    netns: &Netns,
    ifname: &str,
    settings: &[(Sysctl, u32)],
) -> Result<Vec<Result<(), SysctlError>>, SysctlError> {
    check(ifname)?;
    let write_all = || settings.iter().map(|(key, value)| write(&key.path(ifname), *value)).collect();
    Ok(netns.run(write_all)?)
}

/// Reads a setting of the interface `ifname`.
pub fn get(netns: &Netns, ifname: &str, key: Sysctl) -> Result<u32, SysctlError> {
    check(ifname)?;
    let path = key.path(ifname);
    netns.run(|| read(&path))?
}

fn check(ifname: &str) -> Result<(), SysctlError> {
    // Two directories beside the interfaces' own concern all interfaces.
    match ifname::check(ifname) {
        Ok(()) if ifname != "all" && ifname != "default" => Ok(()),
        _ => Err(SysctlError::BadName { name: ifname.to_owned() }),
    }
}

impl Sysctl {
    fn path(self, ifname: &str) -> PathBuf {
        let (family, key) = match self {
            Self::ArpNotify => ("ipv4", "arp_notify"),
            Self::NdiscNotify => ("ipv6", "ndisc_notify"),
            Self::DisableIpv6 => ("ipv6", "disable_ipv6"),
            Self::AcceptRa => ("ipv6", "accept_ra"),
            Self::Autoconf => ("ipv6", "autoconf"),
            Self::KeepAddrOnDown => ("ipv6", "keep_addr_on_down"),
            Self::AcceptDad => ("ipv6", "accept_dad"),
        };
        ["/proc/sys/net", family, "conf", ifname, key].iter().collect()
    }
}

fn read(path: &Path) -> Result<u32, SysctlError> {
    let text = std::fs::read_to_string(path).map_err(|error| refused("read", path, error))?;
    text.trim()
        .parse()
        .map_err(|error| refused("read", path, io::Error::new(io::ErrorKind::InvalidData, error)))
}

fn write(path: &Path, value: u32) -> Result<(), SysctlError> {
    if read(path)? == value {
        return Ok(());
    }
    let mut file =
        OpenOptions::new().write(true).open(path).map_err(|error| refused("write", path, error))?;
    file.write_all(value.to_string().as_bytes()).map_err(|error| refused("write", path, error))
}

fn refused(op: &'static str, path: &Path, source: io::Error) -> SysctlError {
    let path = path.to_owned();
    match source.raw_os_error() {
        Some(libc::ENOENT) => SysctlError::Missing { path },
        Some(libc::EROFS | libc::EACCES | libc::EPERM) if op == "write" => SysctlError::ReadOnly { path },
        _ => SysctlError::Io { op, path, source },
    }
}
