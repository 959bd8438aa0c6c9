//! The few kernel settings of an interface that plugins change: a fixed set of keys, written from inside the
//! namespace they belong to.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::PathBuf,
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
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
    let write_all = || {
        let mut folder: Option<Folder> = None;
        let mut outcomes = Vec::with_capacity(settings.len());
        for (key, value) in settings {
            let (family, name) = key.place();
            let folder = match folder.take_if(|folder| folder.family == family) {
                Some(same) => folder.insert(same),
                None => folder.insert(Folder::open(family, ifname)),
            };
            outcomes.push(folder.write(name, *value));
        }
        outcomes
    };
    Ok(netns.run(write_all)?)
}

/// Reads a setting of the interface `ifname`.
pub fn get(netns: &Netns, ifname: &str, key: Sysctl) -> Result<u32, SysctlError> {
    check(ifname)?;
    let (family, name) = key.place();
    netns.run(|| Folder::open(family, ifname).read(name))?
}

fn check(ifname: &str) -> Result<(), SysctlError> {
    // Two directories beside the interfaces' own concern all interfaces.
    match ifname::check(ifname) {
        Ok(()) if ifname != "all" && ifname != "default" => Ok(()),
        _ => Err(SysctlError::BadName { name: ifname.to_owned() }),
    }
}

impl Sysctl {
    /// Its address family and its name.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::ArpNotify => ("ipv4", "arp_notify"),
            Self::NdiscNotify => ("ipv6", "ndisc_notify"),
            Self::DisableIpv6 => ("ipv6", "disable_ipv6"),
            Self::AcceptRa => ("ipv6", "accept_ra"),
            Self::Autoconf => ("ipv6", "autoconf"),
            Self::KeepAddrOnDown => ("ipv6", "keep_addr_on_down"),
            Self::AcceptDad => ("ipv6", "accept_dad"),
        }
    }
}

/// The settings of an interface for one address family. The folder is opened once: in a namespace that is new the kernel makes every
/// folder on the way as it is walked through.
struct Folder {
    family: &'static str,
    path: PathBuf,
    fd: nix::Result<OwnedFd>,
}

impl Folder {
    fn open(family: &'static str, ifname: &str) -> Self {
        let path: PathBuf = ["/proc/sys/net", family, "conf", ifname].iter().collect();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(&path, flags, Mode::empty());
        Self { family, path, fd }
    }

    fn file(&self, name: &str, access: OFlag) -> io::Result<File> {
        let folder = self.fd.as_ref().map_err(|errno| io::Error::from(*errno))?;
        Ok(openat(folder, name, access | OFlag::O_CLOEXEC, Mode::empty())?.into())
    }

    fn read(&self, name: &str) -> Result<u32, SysctlError> {
        let file = self.file(name, OFlag::O_RDONLY);
        file.and_then(|file| value_of(&file)).map_err(|error| self.refused("read", name, error))
    }

    fn write(&self, name: &str, value: u32) -> Result<(), SysctlError> {
        match self.file(name, OFlag::O_RDWR).and_then(|file| Ok((value_of(&file)?, file))) {
            Ok((present, _)) if present == value => Ok(()),
            Ok((_, file)) => {
                let written = file.write_all_at(value.to_string().as_bytes(), 0);
                written.map_err(|error| self.refused("write", name, error))
            }
            Err(error) => match self.refused("write", name, error) {
                SysctlError::ReadOnly { .. } if self.read(name)? == value => Ok(()),
                error => Err(error),
            },
        }
    }

    fn refused(&self, op: &'static str, name: &str, source: io::Error) -> SysctlError {
        let path = self.path.join(name);
        match source.raw_os_error() {
            Some(libc::ENOENT) => SysctlError::Missing { path },
            Some(libc::EROFS | libc::EACCES | libc::EPERM) if op == "write" => SysctlError::ReadOnly { path },
            _ => SysctlError::Io { op, path, source },
        }
    }
}

/// A number of at most ten digits.
fn value_of(file: &File) -> io::Result<u32> {
    let mut bytes = [0; 16];
    let length = file.read_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
    text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
