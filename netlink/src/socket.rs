//! One rtnetlink socket in one namespace: requests, lists, deadlines.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket as SysSocket, protocols::NETLINK_ROUTE};

use crate::{
    Error, Netns, Refusal,
    answer::{Failure, Wanted},
    channel::Channel,
};

/// How long a call waits for the kernel unless told otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);

/// How often a list is asked for again when it changed under way.
const DUMP_TRIES: usize = 30;

/// An rtnetlink socket, opened inside a namespace and used from anywhere. Each call has a deadline of
/// [`DEFAULT_DEADLINE`], or as set by [`Socket::with_deadline`].
pub struct Socket {
    netns: Netns,
    channel: Channel,
    deadline: Duration,
}

/// What a request is about, for messages: "cannot `op` `object`".
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) op: &'static str,
    pub(crate) object: &'a dyn fmt::Display,
}

impl Socket {
    /// A socket in the namespace of the calling thread.
    pub fn host() -> Result<Self, Error> {
        let socket = open()?;
        let netns = Netns::of_own_socket(socket.as_fd())?;
        Ok(Self { channel: Channel::new(socket), netns, deadline: DEFAULT_DEADLINE })
    }

    /// A socket in `netns`.
    pub fn in_netns(netns: &Netns) -> Result<Self, Error> {
        let socket = netns.run(open)??;
        Ok(Self { channel: Channel::new(socket), netns: netns.clone(), deadline: DEFAULT_DEADLINE })
    }

    /// The same socket, whose calls wait `deadline` at most.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The namespace the socket is in.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Sends a change and waits for its acknowledgement. `flags` are added to REQUEST and ACK.
    pub(crate) fn change(
        &self,
        about: About<'_>,
        flags: u16,
        message: RouteNetlinkMessage,
    ) -> Result<(), Error> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let outcome =
            self.channel.ask(flags, Wanted::Acknowledgement, message, Instant::now() + self.deadline);
        outcome.map(drop).map_err(|failure| about.failed(failure, self.deadline))
    }

    /// Asks for one object and gives the one message of the answer.
    pub(crate) fn get(
        &self,
        about: About<'_>,
        message: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, Error> {
        let answers = self.question(about, NLM_F_REQUEST, Wanted::Object, &message)?;
        answers.into_iter().next().ok_or_else(|| about.unexpected("it holds no object this program can read"))
    }

    /// Asks for a list.
    pub(crate) fn dump(
        &self,
        about: About<'_>,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        self.question(about, NLM_F_REQUEST | NLM_F_DUMP, Wanted::List, &message)
    }

    /// Asks, again if the answer changed under way.
    fn question(
        &self,
        about: About<'_>,
        flags: u16,
        wanted: Wanted,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let deadline = Instant::now() + self.deadline;
        let mut ask = || self.channel.ask(flags, wanted, message.clone(), deadline);
        let mut answers = std::iter::repeat_with(&mut ask).take(DUMP_TRIES);
        let answer = answers.find(|answer| !matches!(answer, Err(Failure::Interrupted)));
        answer.unwrap_or(Err(Failure::Interrupted)).map_err(|failure| about.failed(failure, self.deadline))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("netns", &self.netns)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl About<'_> {
    fn timed_out(self, after: Duration) -> Error {
        Error::TimedOut { op: self.op, object: self.object.to_string(), after }
    }

    pub(crate) fn unexpected(self, what: &'static str) -> Error {
        Error::Unexpected { op: self.op, object: self.object.to_string(), what }
    }

    pub(crate) fn refused(self, errno: i32, ext_ack: Option<String>) -> Error {
        Refusal { op: self.op, object: self.object.to_string(), errno, ext_ack, hint: None }.into()
    }

    fn failed(self, failure: Failure, limit: Duration) -> Error {
        match failure {
            Failure::TimedOut => self.timed_out(limit),
            Failure::Io(source) => Error::Io { op: self.op, source },
            Failure::Refused { errno, ext_ack } => self.refused(errno, ext_ack),
            Failure::Unexpected(what) => self.unexpected(what),
            Failure::Interrupted => {
                Error::Inconsistent { op: self.op, object: self.object.to_string(), tries: DUMP_TRIES as u32 }
            }
        }
    }
}

/// Opens the socket in the namespace of the calling thread.
fn open() -> Result<SysSocket, Error> {
    let socket = SysSocket::new(NETLINK_ROUTE).map_err(io_error("open a netlink socket"))?;
    configure(&socket)?;
    Ok(socket)
}

fn configure(socket: &SysSocket) -> Result<(), Error> {
    let ext_ack = socket.set_ext_ack(true).and_then(|()| socket.set_cap_ack(true));
    ext_ack.map_err(|source| Error::Io { op: "turn on extended acknowledgements", source })?;
    match socket.set_netlink_get_strict_chk(true) {
        // Kernels before 4.20 cannot filter lists; every list is filtered here as well.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        other => other.map_err(|source| Error::Io { op: "turn on strict checking", source }),
    }
}

/// The descriptor number for an `..._NET_NS_FD` attribute, valid while `netns` lives.
pub(crate) fn raw_fd(netns: &Netns) -> i32 {
    netns.as_fd().as_raw_fd()
}

/// An [`Error::Io`] with this operation, for `map_err`.
pub(crate) fn io_error(op: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { op, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_operation_object_and_limit() {
        let about = About { op: "look up interface", object: &"lo" };
        let error = about.failed(Failure::TimedOut, Duration::from_millis(30));
        assert_eq!(error.to_string(), "cannot look up interface lo: no answer from the kernel within 30ms");
        let error = about.failed(Failure::Interrupted, DEFAULT_DEADLINE);
        assert!(matches!(error, Error::Inconsistent { tries: 30, .. }), "{error}");
    }

    #[test]
    fn one_socket_serves_many_threads() {
        let socket = Socket::host().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        assert_eq!(socket.link_by_name("lo").unwrap().unwrap().name, "lo");
                        assert!(!socket.links().unwrap().is_empty());
                    }
                });
            }
        });
    }
}
