//! What the kernel's messages say: one answer put together from the datagrams that hold it.

use netlink_packet_core::{
    NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;

use crate::{ext_ack, link};

/// What a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An acknowledgement.
    Acknowledgement,
    /// One object.
    Object,
    /// Objects and an end.
    List,
}

/// How one exchange with the kernel failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused {
        errno: i32,
        ext_ack: Option<String>,
    },
    /// The answer is not one state of the kernel (`NLM_F_DUMP_INTR`), or a part of it was lost: to be asked again, if it was a question.
    Interrupted,
    Unexpected(&'static str),
    /// Nothing came before the deadline.
    TimedOut,
    Io(std::io::Error),
}

/// An answer of which some has come.
pub(crate) struct Answer {
    wanted: Wanted,
    sequence: u32,
    objects: Vec<RouteNetlinkMessage>,
    is_torn: bool,
}

/// Whether an answer is whole, and with what outcome.
pub(crate) enum Progress {
    More,
    End(Result<(), Failure>),
}

impl Answer {
    /// The answer to the request of this sequence number.
    pub(crate) fn to(sequence: u32, wanted: Wanted) -> Self {
        Self { wanted, sequence, objects: Vec::new(), is_torn: false }
    }

    /// Its objects.
    pub(crate) fn into_objects(self) -> Vec<RouteNetlinkMessage> {
        self.objects
    }

    /// The kernel had no memory for a part. A list goes on, and must be asked for again; other answers are over.
    pub(crate) fn lose(&mut self) -> Progress {
        self.is_torn = true;
        match self.wanted {
            Wanted::List => Progress::More,
            Wanted::Object => Progress::End(Err(Failure::Interrupted)),
            Wanted::Acknowledgement => {
                Progress::End(Err(Failure::Unexpected("it was lost: the system is short of memory")))
            }
        }
    }

    /// Takes a datagram of the kernel. Messages with another sequence number answer requests that were given up.
    pub(crate) fn take(&mut self, datagram: &[u8]) -> Progress {
        let mut rest = datagram;
        while !rest.is_empty() {
            let Ok(message) = NetlinkBuffer::new_checked(rest) else {
                return Progress::End(Err(Failure::Unexpected("a message that is cut off")));
            };
            let length = usize::try_from(message.length()).unwrap_or(rest.len());
            if message.sequence_number() == self.sequence
                && let Progress::End(outcome) = self.take_message(&message)
            {
                return Progress::End(outcome);
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Progress::More
    }

    fn take_message(&mut self, message: &NetlinkBuffer<&[u8]>) -> Progress {
        self.is_torn |= message.flags() & NLM_F_DUMP_INTR != 0;
        let control = [NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN].contains(&message.message_type());
        let slim =
            (message.message_type() == libc::RTM_NEWLINK).then(|| link::without_unread_attributes(message));
        match NetlinkMessage::deserialize(slim.as_deref().unwrap_or(message.buffer)) {
            Ok(reply) => self.take_step(step(reply)),
            Err(_unreadable) if control => Progress::End(Err(Failure::Unexpected("an end that is cut off"))),
            // An object that netlink-packet-route does not know in a list of many is none of those looked for.
            Err(_unreadable) if self.wanted == Wanted::List => Progress::More,
            Err(_unreadable) => Progress::End(Err(NO_OBJECT)),
        }
    }

    fn take_step(&mut self, step: Step) -> Progress {
        match (step, self.wanted) {
            (Step::Object(object), Wanted::List) => {
                self.objects.push(*object);
                Progress::More
            }
            (Step::Object(object), Wanted::Object) => {
                self.objects.push(*object);
                Progress::End(Ok(()))
            }
            (Step::Object(_), Wanted::Acknowledgement) => Progress::More,
            (Step::End(Ok(())), Wanted::List) if self.is_torn => Progress::End(Err(Failure::Interrupted)),
            (Step::End(Ok(())), Wanted::Object) => Progress::End(Err(NO_OBJECT)),
            (Step::End(outcome), _) => Progress::End(outcome),
        }
    }
}

const NO_OBJECT: Failure = Failure::Unexpected("it holds no object this program can read");

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

    /// The number of objects, once all datagrams have come.
    fn read(wanted: Wanted, datagrams: &[Vec<u8>]) -> Option<Result<usize, Failure>> {
        let mut answer = Answer::to(7, wanted);
        for datagram in datagrams {
            if let Progress::End(outcome) = answer.take(datagram) {
                return Some(outcome.map(|()| answer.into_objects().len()));
            }
        }
        None
    }

    #[test]
    fn a_list_ends_with_its_end_in_one_datagram_or_several() {
        let (one, end) = (message(7, 0, object()), message(7, 0, done()));
        assert!(matches!(
            read(Wanted::List, &[[one.clone(), one.clone(), end.clone()].concat()]),
            Some(Ok(2))
        ));
        assert!(matches!(read(Wanted::List, &[one.clone(), end]), Some(Ok(1))));
        assert!(read(Wanted::List, &[one]).is_none());
    }

    #[test]
    fn a_list_that_changed_under_way_is_no_list() {
        let marked = [message(7, NLM_F_DUMP_INTR, object()), message(7, 0, done())];
        assert!(matches!(read(Wanted::List, &marked), Some(Err(Failure::Interrupted))));
        let marked_end = [message(7, 0, object()), message(7, NLM_F_DUMP_INTR, done())];
        assert!(matches!(read(Wanted::List, &marked_end), Some(Err(Failure::Interrupted))));
    }

    #[test]
    fn what_was_lost_is_asked_for_again_if_it_was_a_question_and_a_change_is_of_unknown_outcome() {
        let mut list = Answer::to(7, Wanted::List);
        assert!(matches!(list.lose(), Progress::More));
        assert!(matches!(list.take(&message(7, 0, done())), Progress::End(Err(Failure::Interrupted))));
        let lost = |wanted| Answer::to(7, wanted).lose();
        assert!(matches!(lost(Wanted::Object), Progress::End(Err(Failure::Interrupted))));
        assert!(matches!(lost(Wanted::Acknowledgement), Progress::End(Err(Failure::Unexpected(_)))));
    }

    #[test]
    fn messages_for_other_requests_are_passed_over() {
        let late =
            [message(6, NLM_F_DUMP_INTR, object()), message(6, 0, done()), message(0, 0, acknowledgement())]
                .concat();
        assert!(read(Wanted::Acknowledgement, std::slice::from_ref(&late)).is_none());
        let own = [late, message(7, 0, object()), message(7, 0, done())].concat();
        assert!(matches!(read(Wanted::List, &[own]), Some(Ok(1))));
    }

    #[test]
    fn an_object_is_an_answer_and_an_acknowledgement_in_its_place_is_none() {
        assert!(matches!(read(Wanted::Object, &[message(7, 0, object())]), Some(Ok(1))));
        let end = read(Wanted::Object, &[message(7, 0, acknowledgement())]);
        assert!(matches!(end, Some(Err(Failure::Unexpected(_)))));
        assert!(matches!(read(Wanted::Acknowledgement, &[message(7, 0, acknowledgement())]), Some(Ok(0))));
    }

    #[test]
    fn what_is_cut_off_is_no_answer() {
        for payload in [object(), done(), acknowledgement()] {
            let whole = message(7, 0, payload);
            for length in 1..whole.len() {
                let read = read(Wanted::List, &[whole[..length].to_vec()]);
                assert!(matches!(read, Some(Err(Failure::Unexpected(_)))), "{length} of {whole:?}");
            }
        }
    }

    #[test]
    fn an_object_that_cannot_be_read_is_left_out_of_a_list_and_no_answer_alone() {
        // A link message whose header says more than it holds.
        let mut odd = message(7, 0, object());
        odd.truncate(20);
        odd[0] = 20;
        let list = read(Wanted::List, &[odd.clone(), message(7, 0, object()), message(7, 0, done())]);
        assert!(matches!(list, Some(Ok(1))));
        assert!(matches!(read(Wanted::Object, &[odd]), Some(Err(Failure::Unexpected(_)))));
    }
}
