//! The client: blocking, for plugins.

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{MAX_MESSAGE, Reply};
use crate::deadline::Deadline;
use crate::text::printable;

/// The daemon gave no answer. Sorted by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// No daemon is there. Nothing was sent: go another way, or try again later.
    #[error("no daemon at {socket}: {source}; see that its pod runs on this node", socket = socket.display())]
    Absent {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The daemon does not take the request. Nothing was done: go another way.
    #[error("the daemon at {socket} refuses the request: {reason}; see that plugin and daemon are of one release", socket = socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// The daemon's words, escaped and cut; or ours, if the request cannot be sent at all.
        reason: String,
    },
    /// The connection ended before the answer did. What was asked for may have been done: ask again.
    #[error("the daemon at {socket} hung up before it answered ({reason}); it is not known whether it did what it was asked for", socket = socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        reason: String,
    },
    /// No answer in time. What was asked for may have been done, or may still be.
    #[error("the daemon at {socket} did not answer within {:.1} s; it is not known whether it did what it was asked for", .waited.as_secs_f64(), socket = socket.display())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The answer is not what was asked for. What was asked for has been done, or has failed.
    #[error("the daemon at {socket} gave an answer that cannot be read: {reason}; see that plugin and daemon are of one release", socket = socket.display())]
    Unreadable {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl RpcError {
    /// True if the daemon has certainly not begun what it was asked for.
    pub const fn nothing_done(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Refused { .. })
    }
}

/// Asks the daemon at `socket`, and waits for its answer until `deadline`. Blocks; not for use within a runtime.
///
/// # Errors
/// [`RpcError`].
pub fn call<Q, A>(socket: &Path, request: &Q, deadline: Deadline) -> Result<A, RpcError>
where
    Q: Serialize,
    A: DeserializeOwned,
{
    let call = Call { socket, deadline, limit: deadline.remaining() };
    let mut line = serde_json::to_vec(request).map_err(|error| call.refused(&error.to_string()))?;
    if line.len() > MAX_MESSAGE {
        return Err(call.refused(&format!("it has {} bytes, and {MAX_MESSAGE} are allowed", line.len())));
    }
    line.push(b'\n');
    let mut stream = call.connect()?;
    call.write(&mut stream, &line)?;
    let line = call.read(&mut stream)?;
    match serde_json::from_slice(&line) {
        Ok(Reply::Answer(answer)) => Ok(answer),
        Ok(Reply::Refused(reason)) => Err(call.refused(&reason)),
        Err(error) => Err(call.unreadable(&error.to_string())),
    }
}

struct Call<'a> {
    socket: &'a Path,
    deadline: Deadline,
    limit: Duration,
}

impl Call<'_> {
    fn connect(&self) -> Result<UnixStream, RpcError> {
        let left = self.left()?;
        let connected = || -> io::Result<UnixStream> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Bounds the connect too: it waits for a place in the daemon's queue.
            socket.set_write_timeout(Some(left))?;
            socket.connect(&SockAddr::unix(self.socket)?)?;
            Ok(UnixStream::from(OwnedFd::from(socket)))
        };
        connected().map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.timed_out(),
            _ => RpcError::Absent { socket: self.socket.to_owned(), source },
        })
    }

    fn write(&self, stream: &mut UnixStream, mut line: &[u8]) -> Result<(), RpcError> {
        while !line.is_empty() {
            stream.set_write_timeout(Some(self.left()?)).map_err(|error| self.failed(&error))?;
            match stream.write(line) {
                Ok(0) => return Err(self.broken("it takes no more")),
                Ok(count) => line = line.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A refusal may have come before the whole request was taken.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    /// The answer's line, without its end.
    fn read(&self, stream: &mut UnixStream) -> Result<Vec<u8>, RpcError> {
        let mut line = Vec::new();
        let mut buffer = [0_u8; 8192];
        loop {
            stream.set_read_timeout(Some(self.left()?)).map_err(|error| self.failed(&error))?;
            let arrived = match stream.read(&mut buffer) {
                Ok(0) => return Err(self.broken("no whole line came")),
                Ok(count) => buffer.get(..count).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(&error)),
            };
            let end = arrived.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(arrived.get(..end.unwrap_or(arrived.len())).unwrap_or_default());
            if line.len() > MAX_MESSAGE {
                return Err(self.unreadable(&format!("it has more than {MAX_MESSAGE} bytes")));
            }
            if end.is_some() {
                return Ok(line);
            }
        }
    }

    /// What is left of the time; sockets take no zero.
    fn left(&self) -> Result<Duration, RpcError> {
        let left = self.deadline.remaining();
        if left.is_zero() { Err(self.timed_out()) } else { Ok(left.max(Duration::from_millis(1))) }
    }

    fn failed(&self, error: &io::Error) -> RpcError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.timed_out(),
            _ => self.broken(&error.to_string()),
        }
    }

    fn timed_out(&self) -> RpcError {
        RpcError::TimedOut { socket: self.socket.to_owned(), waited: self.limit }
    }

    fn broken(&self, reason: &str) -> RpcError {
        RpcError::Broken { socket: self.socket.to_owned(), reason: reason.to_owned() }
    }

    fn refused(&self, reason: &str) -> RpcError {
        RpcError::Refused { socket: self.socket.to_owned(), reason: printable(reason, 500) }
    }

    fn unreadable(&self, reason: &str) -> RpcError {
        RpcError::Unreadable { socket: self.socket.to_owned(), reason: printable(reason, 300) }
    }
}
