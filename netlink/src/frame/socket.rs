//! Packet sockets, which send and receive whole Ethernet frames on one interface.
#![allow(unsafe_code)] // bind and sendto with sockaddr_ll: nix cannot build that address

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, setsockopt, sockopt},
        time::TimeVal,
    },
};

use crate::{error::Error, link::Link, netns::Netns, socket::io_error};

/// Size of the receive buffer in bytes. Longer frames are truncated, which does not matter: ARP frames have 42 to 60 bytes.
const FRAME_LIMIT: usize = 2048;

/// A packet socket of one interface.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
    index: i32,
}

impl PacketSocket {
    /// A socket that only sends, in the namespace of the calling thread. Makes system calls only, so that it may run after fork.
    pub(crate) fn sender(link: &Link) -> io::Result<Self> {
        let index = i32::try_from(link.index).map_err(|_| io::ErrorKind::InvalidInput)?;
        // Protocol 0: the kernel queues no received frames.
        let fd =
            nix::sys::socket::socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { fd, index })
    }

    /// A socket in `netns` that also receives the frames with one ethertype.
    pub(crate) fn receiver(netns: &Netns, link: &Link, ethertype: [u8; 2]) -> Result<Self, Error> {
        let socket = netns.run(|| Self::sender(link))?.map_err(io_error("open a packet socket"))?;
        let address = socket.address([0; 6], u16::from_ne_bytes(ethertype));
        // Only bound now, to interface and ethertype at once: a socket opened with a protocol would first receive from every interface.
        // SAFETY: the pointer is to a live value of the length given, which the kernel only reads;
        // sockaddr_ll is plain data without padding.
        let bound = unsafe {
            libc::bind(
                socket.fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if bound < 0 {
            return Err(io_error("bind a packet socket")(io::Error::last_os_error()));
        }
        Ok(socket)
    }

    /// Sends a frame. Its first six bytes are the destination address.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        let destination = frame.first_chunk().ok_or(io::ErrorKind::InvalidInput)?;
        let address = self.address(*destination, 0);
        // SAFETY: both pointers are to live values of the lengths given, which the kernel only reads;
        // sockaddr_ll is plain data without padding.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Receives the next frame; none if no frame arrives before `end`.
    pub(crate) fn receive(&self, end: Instant) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; FRAME_LIMIT];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // A timeout of 0 would mean no timeout. At most 1 s each time keeps the value within the type's range.
            let left = left.clamp(Duration::from_millis(1), Duration::from_secs(1));
            let limit = TimeVal::new(left.as_secs().cast_signed(), left.subsec_micros().into());
            setsockopt(&self.fd, sockopt::ReceiveTimeout, &limit)?;
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn address(&self, mac: [u8; 6], protocol: u16) -> libc::sockaddr_ll {
        let [a, b, c, d, e, f] = mac;
        libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            sll_ifindex: self.index,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [a, b, c, d, e, f, 0, 0],
        }
    }
}
