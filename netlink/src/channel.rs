//! A netlink descriptor: a request goes out, its answer comes in, by a deadline.
//!
//! The kernel has done what it was asked for when `send` returns, and the answer waits to be read: no event loop has anything to wait
//! for, so there is none.

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

use crate::answer::{Answer, Failure, Progress, Wanted};

/// No message is longer: the kernel makes datagrams of 32 KiB at most. What is not written to costs no memory.
const LONGEST: usize = 64 << 10;

/// The kernel's address.
const KERNEL: u32 = 0;

/// One exchange at a time: a second thread waits for the first.
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

    /// Sends `message` with these flags and gives the objects of its answer.
    pub(crate) fn ask(
        &self,
        flags: u16,
        wanted: Wanted,
        message: RouteNetlinkMessage,
        deadline: Instant,
    ) -> Result<Vec<RouteNetlinkMessage>, Failure> {
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let Exchange { sequence, buffer } = &mut *exchange;
        // 0 marks messages that nobody asked for.
        *sequence = sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        (header.flags, header.sequence_number) = (flags, *sequence);
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        buffer.clear();
        buffer.resize(request.buffer_len(), 0);
        request.serialize(buffer);
        self.send(buffer).map_err(Failure::Io)?;
        let mut answer = Answer::to(*sequence, wanted);
        loop {
            match self.receive(buffer, deadline, &mut answer)? {
                // Others may send without end.
                Progress::More if Instant::now() > deadline => return Err(Failure::TimedOut),
                Progress::More => {}
                Progress::End(outcome) => return outcome.map(|()| answer.into_objects()),
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

    /// Reads a datagram into `answer`.
    fn receive(
        &self,
        buffer: &mut Vec<u8>,
        deadline: Instant,
        answer: &mut Answer,
    ) -> Result<Progress, Failure> {
        buffer.clear();
        buffer.reserve(LONGEST);
        match self.socket.recv_from(buffer, libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
            Ok((length, sender)) => Ok(received(buffer, length, sender.port_number(), answer)),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => self.wait(deadline).map(|()| Progress::More),
                Some(libc::EINTR) => Ok(Progress::More),
                Some(libc::ENOBUFS) => Ok(answer.lose()),
                _ => Err(Failure::Io(error)),
            },
        }
    }

    /// Returns when there may be something to read.
    fn wait(&self, deadline: Instant) -> Result<(), Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::TimedOut);
        }
        // Rounded up, not to turn in circles during the last millisecond; a longer time than fits is waited for in turns.
        let millis = i32::try_from(left.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Failure::Io(errno.into())),
        }
    }
}

/// A datagram from `sender`, `length` bytes long, of which `bytes` could be read.
fn received(bytes: &[u8], length: usize, sender: u32, answer: &mut Answer) -> Progress {
    match sender {
        KERNEL if length > bytes.len() => {
            Progress::End(Err(Failure::Unexpected("a message that is too long to be read")))
        }
        KERNEL => answer.take(bytes),
        // Another process, which may send to whom it likes.
        _ => Progress::More,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netlink_packet_core::{DoneMessage, NLM_F_DUMP, NLM_F_REQUEST};
    use netlink_sys::{SocketAddr, protocols::NETLINK_USERSOCK};

    use super::*;

    /// A channel to another socket of this process, as it would be to the kernel but for the sender's address.
    fn pair() -> (Channel, SysSocket, SocketAddr) {
        let mut sockets = [0; 2].map(|_| SysSocket::new(NETLINK_USERSOCK).unwrap());
        let [own, other] = sockets.each_mut().map(|socket| socket.bind_auto().unwrap());
        let [socket, stranger] = sockets;
        socket.connect(&other).unwrap();
        (Channel::new(socket), stranger, own)
    }

    fn ask(channel: &Channel, limit: Duration) -> Result<Vec<RouteNetlinkMessage>, Failure> {
        let question = RouteNetlinkMessage::GetLink(Default::default());
        channel.ask(NLM_F_REQUEST | NLM_F_DUMP, Wanted::List, question, Instant::now() + limit)
    }

    #[test]
    fn no_answer_ends_at_the_deadline() {
        let (channel, _silent, _) = pair();
        let (start, limit) = (Instant::now(), Duration::from_millis(30));
        assert!(matches!(ask(&channel, limit), Err(Failure::TimedOut)));
        assert!(start.elapsed() >= limit && start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn an_answer_from_another_than_the_kernel_is_none_however_often_it_comes() {
        let (channel, stranger, own) = pair();
        let mut header = NetlinkHeader::default();
        header.sequence_number = 1;
        let end = NetlinkPayload::<RouteNetlinkMessage>::Done(DoneMessage::default());
        let mut forged = NetlinkMessage::new(header, end);
        forged.finalize();
        let mut bytes = vec![0; forged.buffer_len()];
        forged.serialize(&mut bytes);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&channel, Duration::from_millis(50)));
            while !asking.is_finished() {
                // The socket's buffer may be full.
                let _ = stranger.send_to(&bytes, &own, libc::MSG_DONTWAIT);
            }
            assert!(matches!(asking.join().unwrap(), Err(Failure::TimedOut)));
        });
    }

    #[test]
    fn a_message_of_the_kernel_that_was_cut_off_is_an_error() {
        let mut answer = Answer::to(1, Wanted::List);
        assert!(matches!(received(&[], 9, KERNEL, &mut answer), Progress::End(Err(Failure::Unexpected(_)))));
        assert!(matches!(received(&[], 9, 4711, &mut answer), Progress::More));
    }
}
