//! One rtnetlink socket in one namespace: requests, lists, deadlines.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use futures::{Stream, StreamExt};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{AsyncSocket, Socket as SysSocket};
use tokio::{
    runtime::Runtime,
    time::{Instant, timeout_at},
};

use crate::{Error, Netns, Refusal, ext_ack};

/// How long a call waits for the kernel unless told otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);

/// How often a list is asked for again when it changed under way.
const DUMP_TRIES: u32 = 30;

/// An rtnetlink socket, opened inside a namespace and used from anywhere. Each call has a deadline of
/// [`DEFAULT_DEADLINE`], or as set by [`Socket::with_deadline`].
pub struct Socket {
    netns: Netns,
    handle: rtnetlink::Handle,
    runtime: Runtime,
    deadline: Duration,
}

/// What a request is about, for messages: "cannot `op` `object`".
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) op: &'static str,
    pub(crate) object: &'a dyn fmt::Display,
}

/// How one exchange with the kernel failed.
pub(crate) enum Failure {
    Refused {
        errno: i32,
        ext_ack: Option<String>,
    },
    /// The list is not one state of the kernel (`NLM_F_DUMP_INTR`).
    Interrupted,
    Unexpected(&'static str),
}

impl Socket {
    /// A socket in the namespace of the calling thread.
    pub fn host() -> Result<Self, Error> {
        let runtime = runtime()?;
        let handle = connect(&runtime)?;
        Ok(Self { netns: Netns::current()?, handle, runtime, deadline: DEFAULT_DEADLINE })
    }

    /// A socket in `netns`.
    pub fn in_netns(netns: &Netns) -> Result<Self, Error> {
        let runtime = runtime()?;
        let handle = netns.run(|| connect(&runtime))??;
        Ok(Self { netns: netns.clone(), handle, runtime, deadline: DEFAULT_DEADLINE })
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
        self.exchange(about, NLM_F_REQUEST | NLM_F_ACK | flags, &message).map(drop)
    }

    /// Asks for one object and gives the one message of the answer.
    pub(crate) fn get(
        &self,
        about: About<'_>,
        message: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, Error> {
        let answers = self.exchange(about, NLM_F_REQUEST | NLM_F_ACK, &message)?;
        answers.into_iter().next().ok_or_else(|| about.unexpected("it holds no object this program can read"))
    }

    /// Asks for a list, again if it changed under way.
    pub(crate) fn dump(
        &self,
        about: About<'_>,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        self.exchange(about, NLM_F_REQUEST | NLM_F_DUMP, &message)
    }

    fn exchange(
        &self,
        about: About<'_>,
        flags: u16,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let outcome = self.runtime.block_on(async {
            let deadline = Instant::now() + self.deadline;
            for _ in 0..DUMP_TRIES {
                match timeout_at(deadline, ask(&self.handle, flags, message.clone())).await {
                    Ok(Err(Failure::Interrupted)) => {}
                    Ok(outcome) => return Some(outcome),
                    Err(_elapsed) => return None,
                }
            }
            Some(Err(Failure::Interrupted))
        });
        outcome.ok_or_else(|| about.timed_out(self.deadline))?.map_err(|failure| about.failed(failure))
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

    fn failed(self, failure: Failure) -> Error {
        match failure {
            Failure::Refused { errno, ext_ack } => self.refused(errno, ext_ack),
            Failure::Unexpected(what) => self.unexpected(what),
            Failure::Interrupted => {
                Error::Inconsistent { op: self.op, object: self.object.to_string(), tries: DUMP_TRIES }
            }
        }
    }
}

fn runtime() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| Error::Io { op: "start the netlink runtime", source })
}

/// Opens the socket in the namespace of the calling thread; its connection lives on `runtime`.
fn connect(runtime: &Runtime) -> Result<rtnetlink::Handle, Error> {
    let _context = runtime.enter();
    let (mut connection, handle, _unsolicited) =
        rtnetlink::new_connection().map_err(|source| Error::Io { op: "open a netlink socket", source })?;
    // Acknowledgements and ends are forwarded so that a connection that broke is not taken for success.
    connection.set_forward_ack(true);
    connection.set_forward_done(true);
    configure(connection.socket_mut().socket_ref())?;
    runtime.spawn(connection);
    Ok(handle)
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

async fn ask(
    handle: &rtnetlink::Handle,
    flags: u16,
    message: RouteNetlinkMessage,
) -> Result<Vec<RouteNetlinkMessage>, Failure> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    let replies =
        handle.clone().request(request).map_err(|_closed| Failure::Unexpected("the connection is closed"))?;
    collect(replies).await
}

async fn collect(
    mut replies: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Unpin,
) -> Result<Vec<RouteNetlinkMessage>, Failure> {
    let mut objects = Vec::new();
    let mut interrupted = false;
    while let Some(reply) = replies.next().await {
        interrupted |= reply.header.flags & NLM_F_DUMP_INTR != 0;
        match step(reply) {
            Step::Object(object) => objects.push(*object),
            Step::End(Ok(())) if interrupted => return Err(Failure::Interrupted),
            Step::End(end) => return end.map(|()| objects),
        }
    }
    Err(Failure::Unexpected("the connection closed before the end"))
}

pub(crate) enum Step {
    Object(Box<RouteNetlinkMessage>),
    End(Result<(), Failure>),
}

/// What one message of an answer is.
pub(crate) fn step(reply: NetlinkMessage<RouteNetlinkMessage>) -> Step {
    match reply.payload {
        NetlinkPayload::InnerMessage(object) => Step::Object(Box::new(object)),
        NetlinkPayload::Error(error) => match error.code {
            None => Step::End(Ok(())),
            Some(code) => Step::End(Err(Failure::Refused {
                errno: code.get().saturating_abs(),
                ext_ack: ext_ack::of_error(reply.header.flags, &error.header),
            })),
        },
        NetlinkPayload::Done(done) if done.code < 0 => Step::End(Err(Failure::Refused {
            errno: done.code.saturating_abs(),
            ext_ack: ext_ack::of_attributes(&done.extended_ack),
        })),
        NetlinkPayload::Done(_) => Step::End(Ok(())),
        NetlinkPayload::Overrun(_) => Step::End(Err(Failure::Interrupted)),
        _ => Step::End(Err(Failure::Unexpected("neither object nor end"))),
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

    /// A socket whose connection is given out instead of run.
    fn silent() -> (Socket, impl Sized) {
        let runtime = runtime().unwrap();
        let (connection, handle, unsolicited) = {
            let _context = runtime.enter();
            rtnetlink::new_connection().unwrap()
        };
        let deadline = Duration::from_millis(30);
        (Socket { netns: Netns::current().unwrap(), handle, runtime, deadline }, (connection, unsolicited))
    }

    #[test]
    fn no_answer_ends_at_the_deadline() {
        let (socket, _connection) = silent();
        let start = Instant::now();
        let error = socket.link_by_name("lo").unwrap_err();
        assert_eq!(error.to_string(), "cannot look up interface lo: no answer from the kernel within 30ms");
        assert!(start.elapsed() >= socket.deadline);
    }

    #[test]
    fn a_connection_that_broke_is_no_success() {
        let (socket, connection) = silent();
        drop(connection);
        let about = About { op: "set up", object: &"net1" };
        let change = RouteNetlinkMessage::SetLink(rtnetlink::LinkUnspec::new_with_index(1).build());
        let error = socket.change(about, 0, change).unwrap_err();
        assert!(matches!(error, Error::Unexpected { .. }), "{error}");
    }

    #[test]
    fn a_list_that_changed_under_way_is_no_list() {
        let (done, object) =
            (NetlinkPayload::Done(Default::default()), RouteNetlinkMessage::NewLink(Default::default()));
        let reply = |flags, payload| {
            let mut header = NetlinkHeader::default();
            header.flags = flags;
            NetlinkMessage::new(header, payload)
        };
        let collect = |replies: Vec<NetlinkMessage<RouteNetlinkMessage>>| {
            runtime().unwrap().block_on(collect(futures::stream::iter(replies)))
        };
        let plain = vec![reply(0, NetlinkPayload::InnerMessage(object.clone())), reply(0, done.clone())];
        assert!(matches!(collect(plain), Ok(objects) if objects.len() == 1));
        let marked = vec![
            reply(NLM_F_DUMP_INTR, NetlinkPayload::InnerMessage(object.clone())),
            reply(0, done.clone()),
        ];
        assert!(matches!(collect(marked), Err(Failure::Interrupted)));
        let marked_end =
            vec![reply(0, NetlinkPayload::InnerMessage(object.clone())), reply(NLM_F_DUMP_INTR, done)];
        assert!(matches!(collect(marked_end), Err(Failure::Interrupted)));
        let cut = vec![reply(0, NetlinkPayload::InnerMessage(object))];
        assert!(matches!(collect(cut), Err(Failure::Unexpected(_))));
    }
}
