//! Sends and receives frames as another host on the wire.

use std::time::{Duration, Instant};

use crate::{
    error::Error,
    frame::{ethertype, socket::PacketSocket},
    link::Link,
    netns::Netns,
    socket::io_error,
};

/// Sends and receives whole Ethernet frames on one interface.
#[derive(Debug)]
pub struct Frames(PacketSocket);

impl Frames {
    /// Receives every frame of `link` in `netns` from now on, also those that the namespace sends.
    pub fn on(netns: &Netns, link: &Link) -> Result<Self, Error> {
        PacketSocket::receiver(netns, link, ethertype::ALL).map(Self)
    }

    /// Sends a frame unchanged.
    pub fn send(&self, frame: &[u8]) -> Result<(), Error> {
        self.0.send(frame).map_err(io_error("send a frame"))
    }

    /// The next frame for which `wanted` returns true; none if it does not arrive within `limit`.
    pub fn find(&self, limit: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>, Error> {
        let end = Instant::now() + limit;
        while let Some(frame) = self.0.receive(end).map_err(io_error("receive a frame"))? {
            if wanted(&frame) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// The number of frames equal to `wanted` that arrive within `limit`. Returns as soon as there are `enough`.
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
