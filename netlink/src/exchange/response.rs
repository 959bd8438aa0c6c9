//! Reads one response from the datagrams that hold it.

use netlink_packet_core::{
    NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;

use super::{ext_ack, trim};

/// The kind of response that a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// An acknowledgement.
    Acknowledgement,
    /// One object.
    Object,
    /// Any number of objects, then an end (`NLM_F_DUMP`).
    List,
}

/// Why an exchange with the kernel failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The kernel returned an error.
    Refused {
        /// The error number, positive.
        errno: i32,
        /// The kernel's explanation.
        ext_ack: Option<String>,
    },
    /// A list changed while the kernel wrote it (`NLM_F_DUMP_INTR`), or a part was dropped. Retry; only requests that
    /// change nothing fail like this.
    Interrupted,
    /// The response has a form that it should not have.
    Unexpected(&'static str),
    /// No complete response before the deadline.
    TimedOut,
    /// A system call on the socket failed.
    Io(std::io::Error),
}

/// Collects the response to one request.
pub(crate) struct Response {
    expected: Expected,
    sequence: u32,
    objects: Vec<RouteNetlinkMessage>,
    is_interrupted: bool,
}

/// Whether a response is complete.
pub(crate) enum Progress {
    /// More datagrams follow.
    More,
    /// Complete, or failed.
    End(Result<(), Failure>),
}

impl Response {
    /// An empty response to the request with this sequence number.
    pub(crate) fn new(sequence: u32, expected: Expected) -> Self {
        Self { expected, sequence, objects: Vec::new(), is_interrupted: false }
    }

    /// The objects received.
    pub(crate) fn into_objects(self) -> Vec<RouteNetlinkMessage> {
        self.objects
    }

    /// Records that the kernel dropped a datagram (`ENOBUFS`). The rest of a list still arrives and has to be read before
    /// the retry; the other responses consist of one datagram, so nothing more comes.
    pub(crate) fn record_overrun(&mut self) -> Progress {
        self.is_interrupted = true;
        match self.expected {
            Expected::List => Progress::More,
            Expected::Object => Progress::End(Err(Failure::Interrupted)),
            // A retry could apply the change twice.
            Expected::Acknowledgement => Progress::End(Err(Failure::Unexpected(
                "the acknowledgement was dropped, the system is short of memory",
            ))),
        }
    }

    /// Reads a datagram from the kernel.
    pub(crate) fn read(&mut self, datagram: &[u8]) -> Progress {
        let mut rest = datagram;
        while !rest.is_empty() {
            let Ok(message) = NetlinkBuffer::new_checked(rest) else {
                return Progress::End(Err(Failure::Unexpected("a truncated message")));
            };
            let length = usize::try_from(message.length()).unwrap_or(rest.len());
            // Other sequence numbers belong to earlier requests that timed out.
            if message.sequence_number() == self.sequence
                && let Progress::End(outcome) = self.read_message(&message)
            {
                return Progress::End(outcome);
            }
            // Messages in a datagram start at multiples of 4 bytes (NLMSG_ALIGN).
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Progress::More
    }

    fn read_message(&mut self, message: &NetlinkBuffer<&[u8]>) -> Progress {
        self.is_interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
        let is_control =
            [NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN].contains(&message.message_type());
        let trimmed =
            (message.message_type() == libc::RTM_NEWLINK).then(|| trim::without_unread_attributes(message));
        match NetlinkMessage::deserialize(trimmed.as_deref().unwrap_or(message.buffer)) {
            Ok(message) => self.add(Part::from(message)),
            Err(_) if is_control => Progress::End(Err(Failure::Unexpected("a truncated end"))),
            // One unreadable object must not fail a list of many, such as a route of a type that a newer kernel added.
            Err(_) if self.expected == Expected::List => Progress::More,
            Err(_) => Progress::End(Err(NO_OBJECT)),
        }
    }

    fn add(&mut self, part: Part) -> Progress {
        match (part, self.expected) {
            (Part::Object(object), Expected::List) => {
                self.objects.push(*object);
                Progress::More
            }
            (Part::Object(object), Expected::Object) => {
                self.objects.push(*object);
                Progress::End(Ok(()))
            }
            (Part::Object(_), Expected::Acknowledgement) => Progress::More,
            (Part::End(Ok(())), Expected::List) if self.is_interrupted => {
                Progress::End(Err(Failure::Interrupted))
            }
            (Part::End(Ok(())), Expected::Object) => Progress::End(Err(NO_OBJECT)),
            (Part::End(outcome), _) => Progress::End(outcome),
        }
    }
}

const NO_OBJECT: Failure = Failure::Unexpected("no readable object");

/// One message of a response.
pub(crate) enum Part {
    /// An object.
    Object(Box<RouteNetlinkMessage>),
    /// The end: an acknowledgement, the end of a list, or an error.
    End(Result<(), Failure>),
}

impl From<NetlinkMessage<RouteNetlinkMessage>> for Part {
    fn from(message: NetlinkMessage<RouteNetlinkMessage>) -> Self {
        match message.payload {
            NetlinkPayload::InnerMessage(object) => Self::Object(Box::new(object)),
            // NLMSG_ERROR with code 0 is an acknowledgement.
            NetlinkPayload::Error(error) => match error.code {
                None => Self::End(Ok(())),
                Some(code) => Self::End(Err(Failure::Refused {
                    errno: code.get().saturating_abs(),
                    ext_ack: ext_ack::of_error(message.header.flags, &error.header),
                })),
            },
            // A list that fails part-way ends with NLMSG_DONE and a negative error number.
            NetlinkPayload::Done(done) if done.code < 0 => Self::End(Err(Failure::Refused {
                errno: done.code.saturating_abs(),
                ext_ack: ext_ack::of_attributes(&done.extended_ack),
            })),
            NetlinkPayload::Done(_) => Self::End(Ok(())),
            NetlinkPayload::Overrun(_) => Self::End(Err(Failure::Interrupted)),
            _ => Self::End(Err(Failure::Unexpected("neither an object nor an end"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{DoneMessage, ErrorMessage, NetlinkHeader};

    use super::*;

    type Payload = NetlinkPayload<RouteNetlinkMessage>;

    fn message(sequence: u32, flags: u16, payload: Payload) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        (header.flags, header.sequence_number) = (flags, sequence);
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
        message.serialize(&mut bytes);
        bytes
    }

    fn object() -> Payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(Default::default()))
    }

    fn done() -> Payload {
        NetlinkPayload::Done(DoneMessage::default())
    }

    fn acknowledgement() -> Payload {
        let mut error = ErrorMessage::default();
        error.header = vec![0; 16];
        NetlinkPayload::Error(error)
    }

    /// The number of objects; none if the datagrams do not complete the response.
    fn read(expected: Expected, datagrams: &[Vec<u8>]) -> Option<Result<usize, Failure>> {
        let mut response = Response::new(7, expected);
        for datagram in datagrams {
            if let Progress::End(outcome) = response.read(datagram) {
                return Some(outcome.map(|()| response.into_objects().len()));
            }
        }
        None
    }

    #[test]
    fn a_list_ends_with_done_in_the_same_datagram_or_a_later_one() {
        let (one, end) = (message(7, 0, object()), message(7, 0, done()));
        assert!(matches!(
            read(Expected::List, &[[one.clone(), one.clone(), end.clone()].concat()]),
            Some(Ok(2))
        ));
        assert!(matches!(read(Expected::List, &[one.clone(), end]), Some(Ok(1))));
        assert!(read(Expected::List, &[one]).is_none());
    }

    #[test]
    fn a_list_that_changed_while_it_was_written_is_interrupted() {
        let marked = [message(7, NLM_F_DUMP_INTR, object()), message(7, 0, done())];
        assert!(matches!(read(Expected::List, &marked), Some(Err(Failure::Interrupted))));
        let marked_end = [message(7, 0, object()), message(7, NLM_F_DUMP_INTR, done())];
        assert!(matches!(read(Expected::List, &marked_end), Some(Err(Failure::Interrupted))));
    }

    #[test]
    fn after_an_overrun_queries_are_interrupted_and_changes_fail() {
        let mut list = Response::new(7, Expected::List);
        assert!(matches!(list.record_overrun(), Progress::More));
        assert!(matches!(list.read(&message(7, 0, done())), Progress::End(Err(Failure::Interrupted))));
        let overrun = |expected| Response::new(7, expected).record_overrun();
        assert!(matches!(overrun(Expected::Object), Progress::End(Err(Failure::Interrupted))));
        assert!(matches!(overrun(Expected::Acknowledgement), Progress::End(Err(Failure::Unexpected(_)))));
    }

    #[test]
    fn messages_for_other_requests_are_skipped() {
        let late =
            [message(6, NLM_F_DUMP_INTR, object()), message(6, 0, done()), message(0, 0, acknowledgement())]
                .concat();
        assert!(read(Expected::Acknowledgement, std::slice::from_ref(&late)).is_none());
        let own = [late, message(7, 0, object()), message(7, 0, done())].concat();
        assert!(matches!(read(Expected::List, &[own]), Some(Ok(1))));
    }

    #[test]
    fn an_object_completes_a_query_and_a_bare_acknowledgement_fails_it() {
        assert!(matches!(read(Expected::Object, &[message(7, 0, object())]), Some(Ok(1))));
        let end = read(Expected::Object, &[message(7, 0, acknowledgement())]);
        assert!(matches!(end, Some(Err(Failure::Unexpected(_)))));
        assert!(matches!(read(Expected::Acknowledgement, &[message(7, 0, acknowledgement())]), Some(Ok(0))));
    }

    #[test]
    fn a_truncated_message_is_an_error_at_every_length() {
        for payload in [object(), done(), acknowledgement()] {
            let whole = message(7, 0, payload);
            for length in 1..whole.len() {
                let read = read(Expected::List, &[whole[..length].to_vec()]);
                assert!(matches!(read, Some(Err(Failure::Unexpected(_)))), "{length} of {whole:?}");
            }
        }
    }

    #[test]
    fn an_unreadable_object_is_left_out_of_a_list_and_fails_a_query() {
        // A link message of 20 bytes: too short for its header of 16 + 16 bytes.
        let mut cut = message(7, 0, object());
        cut.truncate(20);
        cut[0] = 20;
        let list = read(Expected::List, &[cut.clone(), message(7, 0, object()), message(7, 0, done())]);
        assert!(matches!(list, Some(Ok(1))));
        assert!(matches!(read(Expected::Object, &[cut]), Some(Err(Failure::Unexpected(_)))));
    }
}
