//! Writes IPv6 sysctls of an interface. The keys are a fixed set. `/proc/sys/net` shows the namespace of the thread that opens it, so a
//! thread inside the namespace writes them.

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

use crate::{
    ifname,
    netns::{Netns, NetnsError},
};

/// An IPv6 sysctl of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sysctl {
    /// `ndisc_notify`: 1 announces IPv6 addresses when the interface comes up.
    NdiscNotify,
    /// `disable_ipv6`: 1 turns IPv6 off and removes its addresses, 0 turns it on.
    DisableIpv6,
    /// `accept_ra`: 0 ignores router advertisements, 1 accepts them unless forwarding is on, 2 always.
    AcceptRa,
    /// `autoconf`: 1 configures addresses from router advertisements.
    Autoconf,
    /// `keep_addr_on_down`: 1 keeps global addresses when the interface goes down.
    KeepAddrOnDown,
}

/// Why a sysctl could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SysctlError {
    /// It does not exist, because the interface does not, or because the kernel has no IPv6.
    #[error("sysctl {path:?} does not exist")]
    Missing {
        /// Its file.
        path: PathBuf,
    },
    /// `/proc/sys` is read-only, as in a container without privileges.
    #[error("sysctl {path:?} is read-only")]
    ReadOnly {
        /// Its file.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {op} sysctl {path:?}: {source}")]
    Io {
        /// What failed.
        op: &'static str,
        /// Its file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The name is not the name of one interface.
    #[error("invalid interface name {name:?} for a sysctl")]
    BadName {
        /// The name as given.
        name: String,
    },
    /// The namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
}

impl SysctlError {
    /// Whether this system does not have the sysctl, or does not let it be changed. A retry does not help.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::ReadOnly { .. })
    }
}

/// Writes sysctls of the interface `ifname` in order, and returns the outcome of each, in the same order: one that fails does not stop
/// the others. A sysctl that has its value already is not written, so that a read-only `/proc/sys` with these values is not an error.
/// Fails as a whole if none could be tried.
pub(crate) fn write(
    netns: &Netns,
    ifname: &str,
    values: &[(Sysctl, u32)],
) -> Result<Vec<Result<(), SysctlError>>, SysctlError> {
    check(ifname)?;
    let write_all = || {
        let directory = Directory::open(ifname);
        values.iter().map(|(key, value)| directory.write(key.name(), *value)).collect()
    };
    Ok(netns.run(write_all)?)
}

fn check(ifname: &str) -> Result<(), SysctlError> {
    // The directories "all" and "default" hold the settings of all interfaces and of new ones.
    match ifname::check(ifname) {
        Ok(()) if ifname != "all" && ifname != "default" => Ok(()),
        _ => Err(SysctlError::BadName { name: ifname.to_owned() }),
    }
}

impl Sysctl {
    fn name(self) -> &'static str {
        match self {
            Self::NdiscNotify => "ndisc_notify",
            Self::DisableIpv6 => "disable_ipv6",
            Self::AcceptRa => "accept_ra",
            Self::Autoconf => "autoconf",
            Self::KeepAddrOnDown => "keep_addr_on_down",
        }
    }
}

/// The directory with the IPv6 sysctls of an interface. Opened once: in a new namespace the kernel creates each directory of the path
/// when it is first looked up, which is slow.
struct Directory {
    path: PathBuf,
    fd: nix::Result<OwnedFd>,
}

impl Directory {
    fn open(ifname: &str) -> Self {
        let path: PathBuf = ["/proc/sys/net/ipv6/conf", ifname].iter().collect();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(&path, flags, Mode::empty());
        Self { path, fd }
    }

    fn file(&self, name: &str, access: OFlag) -> io::Result<File> {
        let directory = self.fd.as_ref().map_err(|errno| io::Error::from(*errno))?;
        Ok(openat(directory, name, access | OFlag::O_CLOEXEC, Mode::empty())?.into())
    }

    fn read(&self, name: &str) -> Result<u32, SysctlError> {
        let file = self.file(name, OFlag::O_RDONLY);
        file.and_then(|file| value_of(&file)).map_err(|error| self.error("read", name, error))
    }

    fn write(&self, name: &str, value: u32) -> Result<(), SysctlError> {
        match self.file(name, OFlag::O_RDWR).and_then(|file| Ok((value_of(&file)?, file))) {
            Ok((present, _)) if present == value => Ok(()),
            Ok((_, file)) => {
                let written = file.write_all_at(value.to_string().as_bytes(), 0);
                written.map_err(|error| self.write_error(name, error))
            }
            // A read-only file system refuses O_RDWR, but the value may be there already.
            Err(error) => match self.write_error(name, error) {
                SysctlError::ReadOnly { .. } if self.read(name)? == value => Ok(()),
                error => Err(error),
            },
        }
    }

    fn write_error(&self, name: &str, source: io::Error) -> SysctlError {
        match source.raw_os_error() {
            Some(libc::EROFS | libc::EACCES | libc::EPERM) => {
                SysctlError::ReadOnly { path: self.path.join(name) }
            }
            _ => self.error("write", name, source),
        }
    }

    fn error(&self, op: &'static str, name: &str, source: io::Error) -> SysctlError {
        let path = self.path.join(name);
        match source.raw_os_error() {
            Some(libc::ENOENT) => SysctlError::Missing { path },
            _ => SysctlError::Io { op, path, source },
        }
    }
}

/// Reads a number. 16 bytes are enough for ten digits and a newline.
fn value_of(file: &File) -> io::Result<u32> {
    let mut bytes = [0; 16];
    let length = file.read_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
    text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(all(test, feature = "test-util"))]
mod tests;
