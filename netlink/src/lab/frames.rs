//! What goes over the wire, and what a stranger sends on it.

use std::time::{Duration, Instant};

use crate::{
    Error, Link, Netns,
    packet::{EVERY_ETHERTYPE, PacketSocket},
    socket::io_error,
};

/// Sends and hears whole Ethernet frames on one interface.
#[derive(Debug)]
pub struct Frames(PacketSocket);

impl Frames {
    /// Hears every frame of `link` in `netns` from now on, also those that go out.
    pub fn on(netns: &Netns, link: &Link) -> Result<Self, Error> {
        PacketSocket::receiver(netns, link, EVERY_ETHERTYPE).map(Self)
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) -> Result<(), Error> {
        self.0.send(frame).map_err(io_error("send a frame"))
    }

    /// The next frame that `wanted` is true of; none if it does not come within `limit`.
    pub fn find(&self, limit: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>, Error> {
        let end = Instant::now() + limit;
        while let Some(frame) = self.0.receive(end).map_err(io_error("receive a frame"))? {
            if wanted(&frame) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// How many frames that equal `wanted` come within `limit`; returns early at `enough`.
    pub fn count(&self, wanted: &[u8], enough: usize, limit: Duration) -> Result<usize, Error> {
        let end = Instant::now() + limit;
        let mut seen = 0;
        while seen < enough {
            let left = end.saturating_duration_since(Instant::now());
            match self.find(left, |frame| frame == wanted)? {
                Some(_) => seen += 1,
                None => break,
            }
        }
        Ok(seen)
    }
}
