//! Reads and writes any sysctl of a namespace, independently of the code under test.

use std::{fs, io, path::Path};

use crate::netns::Netns;

/// Reads the number in `/proc/sys/net/<path>`.
pub fn read_sysctl(netns: &Netns, path: &str) -> io::Result<u32> {
    let file = Path::new("/proc/sys/net").join(path);
    let text = netns.run(|| fs::read_to_string(file)).map_err(io::Error::other)??;
    text.trim().parse().map_err(io::Error::other)
}

/// Writes the number in `/proc/sys/net/<path>`.
#[allow(clippy::disallowed_methods)] // a sysctl cannot be replaced by rename
pub fn write_sysctl(netns: &Netns, path: &str, value: u32) -> io::Result<()> {
    let file = Path::new("/proc/sys/net").join(path);
    netns.run(|| fs::write(file, value.to_string())).map_err(io::Error::other)?
}
