//! A netlink descriptor: sends a request and reads its response until a deadline.
//!
//! Blocking, without an event loop: the kernel completes a request before `send` returns, so the response is already there to read.

use std::{
    io,
    os::fd::AsFd,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket as SysSocket;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::response::{Expected, Failure, Progress, Response};

/// Size of the receive buffer in bytes. The kernel's datagrams are at most 32 KiB (`netlink_dump`).
const MAX_DATAGRAM: usize = 64 << 10;

/// The kernel's port number.
const KERNEL: u32 = 0;

/// A netlink socket that carries one exchange at a time; other threads wait for their turn.
pub(crate) struct Channel {
    socket: SysSocket,
    exchange: Mutex<Exchange>,
}

#[derive(Default)]
struct Exchange {
    sequence: u32,
    buffer: Vec<u8>,
}

impl Channel {
    pub(crate) fn new(socket: SysSocket) -> Self {
        Self { socket, exchange: Mutex::default() }
    }

    /// Sends `message` with `flags` and returns the objects of the response.
    pub(crate) fn request(
        &self,
        flags: u16,
        expected: Expected,
        message: RouteNetlinkMessage,
        deadline: Instant,
    ) -> Result<Vec<RouteNetlinkMessage>, Failure> {
        // After a panic in another thread an unread response may follow; its sequence number is not that of this request.
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let Exchange { sequence, buffer } = &mut *exchange;
        // The kernel sends notifications with sequence number 0.
        *sequence = sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        (header.flags, header.sequence_number) = (flags, *sequence);
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        buffer.clear();
        buffer.resize(request.buffer_len(), 0);
        request.serialize(buffer);
        self.send(buffer).map_err(Failure::Io)?;
        let mut response = Response::new(*sequence, expected);
        loop {
            match self.receive(buffer, deadline, &mut response)? {
                // Other processes can send to this socket without end, so that poll alone does not bound the loop.
                Progress::More if Instant::now() > deadline => return Err(Failure::TimedOut),
                Progress::More => {}
                Progress::End(outcome) => return outcome.map(|()| response.into_objects()),
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send(bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map(drop),
            }
        }
    }

    /// Reads one datagram into `response`, or waits for one.
    fn receive(
        &self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
        response: &mut Response,
    ) -> Result<Progress, Failure> {
        buffer.clear();
        // Reserved, not zeroed: pages that the kernel does not write to cost no memory.
        buffer.reserve(MAX_DATAGRAM);
        // MSG_TRUNC returns the full length of a datagram that does not fit. MSG_DONTWAIT first: the response is usually
        // there, which saves the call of poll.
        match self.socket.recv_from(buffer, libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
            Ok((length, sender)) => Ok(read_datagram(buffer, length, sender.port_number(), response)),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => self.wait(deadline).map(|()| Progress::More),
                Some(libc::EINTR) => Ok(Progress::More),
                Some(libc::ENOBUFS) => Ok(response.record_overrun()),
                _ => Err(Failure::Io(error)),
            },
        }
    }

    /// Waits until there is something to read; may return early.
    fn wait(&self, deadline: Instant) -> Result<(), Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::TimedOut);
        }
        // Rounded up: a timeout of 0 ms would make the caller spin during the last millisecond.
        let millis = i32::try_from(left.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Failure::Io(errno.into())),
        }
    }
}

/// Handles a datagram of `length` bytes, of which `bytes` fit the buffer.
fn read_datagram(bytes: &[u8], length: usize, sender: u32, response: &mut Response) -> Progress {
    match sender {
        KERNEL if length > bytes.len() => {
            Progress::End(Err(Failure::Unexpected("a message larger than the receive buffer")))
        }
        KERNEL => response.read(bytes),
        // Any process of the namespace may send to this socket: such a message must not pass for the kernel's.
        _ => Progress::More,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netlink_packet_core::{DoneMessage, NLM_F_DUMP, NLM_F_REQUEST};
    use netlink_sys::{SocketAddr, protocols::NETLINK_USERSOCK};

    use super::*;

    /// A channel connected to another socket of this process instead of the kernel.
    fn pair() -> (Channel, SysSocket, SocketAddr) {
        let mut sockets = [0; 2].map(|_| SysSocket::new(NETLINK_USERSOCK).unwrap());
        let [own, other] = sockets.each_mut().map(|socket| socket.bind_auto().unwrap());
        let [socket, sender] = sockets;
        socket.connect(&other).unwrap();
        (Channel::new(socket), sender, own)
    }

    fn request(channel: &Channel, limit: Duration) -> Result<Vec<RouteNetlinkMessage>, Failure> {
        let message = RouteNetlinkMessage::GetLink(Default::default());
        channel.request(NLM_F_REQUEST | NLM_F_DUMP, Expected::List, message, Instant::now() + limit)
    }

    #[test]
    fn without_a_response_the_request_ends_at_the_deadline() {
        let (channel, _silent, _) = pair();
        let (start, limit) = (Instant::now(), Duration::from_millis(30));
        assert!(matches!(request(&channel, limit), Err(Failure::TimedOut)));
        assert!(start.elapsed() >= limit && start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn messages_from_other_processes_are_ignored_until_the_deadline() {
        let (channel, sender, own) = pair();
        let mut header = NetlinkHeader::default();
        header.sequence_number = 1;
        let end = NetlinkPayload::<RouteNetlinkMessage>::Done(DoneMessage::default());
        let mut forged = NetlinkMessage::new(header, end);
        forged.finalize();
        let mut bytes = vec![0; forged.buffer_len()];
        forged.serialize(&mut bytes);
        std::thread::scope(|scope| {
            let requester = scope.spawn(|| request(&channel, Duration::from_millis(50)));
            while !requester.is_finished() {
                // Fails while the receive buffer is full.
                let _ = sender.send_to(&bytes, &own, libc::MSG_DONTWAIT);
            }
            assert!(matches!(requester.join().unwrap(), Err(Failure::TimedOut)));
        });
    }

    #[test]
    fn a_datagram_larger_than_the_buffer_is_an_error() {
        let mut response = Response::new(1, Expected::List);
        assert!(matches!(
            read_datagram(&[], 9, KERNEL, &mut response),
            Progress::End(Err(Failure::Unexpected(_)))
        ));
        assert!(matches!(read_datagram(&[], 9, 4711, &mut response), Progress::More));
    }
}
