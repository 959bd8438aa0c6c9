//! One rtnetlink socket in one namespace: changes, queries, lists.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket as SysSocket, protocols::NETLINK_ROUTE};

use crate::{
    error::{Error, Refusal},
    exchange::{
        channel::Channel,
        response::{Expected, Failure},
    },
    netns::Netns,
};

/// How long a call waits for the kernel, retries of a list included.
const LIMIT: Duration = Duration::from_secs(10);

/// How often a list is requested that changes while the kernel writes it.
const LIST_TRIES: u32 = 30;

/// An rtnetlink socket, opened inside a namespace and usable from any thread. Each call takes at most 10 s.
pub struct Socket {
    netns: Netns,
    channel: Channel,
}

/// What a request does and to which object, for messages: "cannot `op` `object`".
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) op: &'static str,
    pub(crate) object: &'a dyn fmt::Display,
}

impl Socket {
    /// Opens a socket in the namespace of the calling thread.
    pub fn host() -> Result<Self, Error> {
        let socket = open()?;
        let netns = Netns::of_own_socket(socket.as_fd())?;
        Ok(Self { channel: Channel::new(socket), netns })
    }

    /// Opens a socket in `netns`. The socket does not keep the path of `netns` mounted.
    pub fn in_netns(netns: &Netns) -> Result<Self, Error> {
        let socket = netns.run(open)??;
        let netns = netns.unpinned(socket.as_fd());
        Ok(Self { channel: Channel::new(socket), netns })
    }

    /// The namespace the socket is in.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Requests a change and waits for its acknowledgement. `flags` are added to `NLM_F_REQUEST` and `NLM_F_ACK`.
    pub(crate) fn change(
        &self,
        context: Context<'_>,
        flags: u16,
        message: RouteNetlinkMessage,
    ) -> Result<(), Error> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let outcome = self.channel.request(flags, Expected::Acknowledgement, message, Instant::now() + LIMIT);
        outcome.map(drop).map_err(|failure| context.failed(failure))
    }

    /// Requests one object.
    pub(crate) fn get(
        &self,
        context: Context<'_>,
        message: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, Error> {
        let objects = self.query(context, NLM_F_REQUEST, Expected::Object, &message)?;
        objects.into_iter().next().ok_or_else(|| context.unexpected("no readable object"))
    }

    /// Requests a list.
    pub(crate) fn list(
        &self,
        context: Context<'_>,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        self.query(context, NLM_F_REQUEST | NLM_F_DUMP, Expected::List, &message)
    }

    /// Sends a request that changes nothing, and repeats it while the response is interrupted.
    fn query(
        &self,
        context: Context<'_>,
        flags: u16,
        expected: Expected,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let deadline = Instant::now() + LIMIT;
        for _ in 0..LIST_TRIES {
            match self.channel.request(flags, expected, message.clone(), deadline) {
                Err(Failure::Interrupted) => {}
                outcome => return outcome.map_err(|failure| context.failed(failure)),
            }
        }
        Err(context.failed(Failure::Interrupted))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("netns", &self.netns).finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// The error for a response of the wrong form.
    pub(crate) fn unexpected(self, what: &'static str) -> Error {
        Error::Unexpected { op: self.op, object: self.object.to_string(), what }
    }

    fn failed(self, failure: Failure) -> Error {
        let Self { op, object } = self;
        match failure {
            Failure::TimedOut => Error::TimedOut { op, object: object.to_string(), after: LIMIT },
            Failure::Io(source) => Error::Io { op, source },
            Failure::Refused { errno, ext_ack } => {
                Refusal { op, object: object.to_string(), errno, ext_ack, hint: None }.into()
            }
            Failure::Unexpected(what) => self.unexpected(what),
            Failure::Interrupted => Error::Inconsistent { op, object: object.to_string(), tries: LIST_TRIES },
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
    // EXT_ACK makes the kernel explain errors; CAP_ACK makes it leave the failed request out of the error.
    let ext_ack = socket.set_ext_ack(true).and_then(|()| socket.set_cap_ack(true));
    ext_ack.map_err(io_error("turn on extended acknowledgements"))?;
    // With strict checking the kernel filters lists (routes by table, links by kind).
    match socket.set_netlink_get_strict_chk(true) {
        // Kernels before 4.20 do not know the option and send whole lists: callers filter every list again.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        other => other.map_err(io_error("turn on strict checking")),
    }
}

/// The descriptor number for an `IFLA_NET_NS_FD` attribute, valid while `netns` lives.
pub(crate) fn raw_fd(netns: &Netns) -> i32 {
    netns.as_fd().as_raw_fd()
}

/// Makes an [`Error::Io`] with this operation, for `map_err`.
pub(crate) fn io_error(op: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { op, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_operation_object_and_limit() {
        let context = Context { op: "look up interface", object: &"lo" };
        let error = context.failed(Failure::TimedOut);
        assert_eq!(error.to_string(), "cannot look up interface lo: no response from the kernel within 10s");
        let error = context.failed(Failure::Interrupted);
        assert!(matches!(error, Error::Inconsistent { tries: 30, .. }), "{error}");
    }

    #[test]
    fn many_threads_may_use_one_socket() {
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
