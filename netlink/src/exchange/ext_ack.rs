//! The kernel's explanation of an error: the `NLMSGERR_ATTR_MSG` text of an extended acknowledgement.

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NlaBuffer, NlasIterator};

/// Length of `struct nlmsghdr` in bytes.
const HEADER: usize = 16;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The text in an `NLMSG_ERROR` message with these `flags`. `body` is what follows the error code: the header of the
/// failed request, the rest of that request unless `NLM_F_CAPPED` is set, and the attributes.
pub(crate) fn of_error(flags: u16, body: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let echoed = match flags & NLM_F_CAPPED {
        0 => request_length(body)?.checked_next_multiple_of(4)?,
        _ => HEADER,
    };
    of_attributes(body.get(echoed..)?)
}

/// The text in the attributes of an `NLMSG_ERROR` or `NLMSG_DONE` message.
pub(crate) fn of_attributes(attributes: &[u8]) -> Option<String> {
    NlasIterator::new(attributes).map_while(Result::ok).find_map(|attribute| message_text(&attribute))
}

fn message_text(attribute: &NlaBuffer<&[u8]>) -> Option<String> {
    if attribute.kind() != NLMSGERR_ATTR_MSG {
        return None;
    }
    let value = attribute.value();
    // NUL-terminated, as the kernel writes strings.
    let text = value.split(|byte| *byte == 0).next()?;
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

fn request_length(body: &[u8]) -> Option<usize> {
    let bytes: [u8; 4] = body.get(..4)?.try_into().ok()?;
    usize::try_from(u32::from_ne_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn body(request_length: u32, echoed_payload: usize, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = request_length.to_ne_bytes().to_vec();
        bytes.resize(HEADER + echoed_payload, 0xee);
        bytes.extend(attributes.concat());
        bytes
    }

    #[test]
    fn text_after_a_capped_request() {
        let bytes = body(999, 0, &[attribute(2, &[1, 0, 0, 0]), attribute(1, b"Invalid MTU\0")]);
        assert_eq!(of_error(NLM_F_ACK_TLVS | NLM_F_CAPPED, &bytes).as_deref(), Some("Invalid MTU"));
    }

    #[test]
    fn text_after_an_echoed_request_of_odd_length() {
        let bytes = body(16 + 5, 8, &[attribute(1, b"Nexthop has invalid gateway\0")]);
        assert_eq!(of_error(NLM_F_ACK_TLVS, &bytes).as_deref(), Some("Nexthop has invalid gateway"));
    }

    #[test]
    fn without_the_flag_there_is_no_text() {
        let bytes = body(16, 0, &[attribute(1, b"not to be read\0")]);
        assert_eq!(of_error(NLM_F_CAPPED, &bytes), None);
    }

    #[test]
    fn truncated_or_random_bytes_give_no_text() {
        let whole = body(16, 0, &[attribute(1, b"x\0")]);
        for end in 0..whole.len() - 3 {
            assert_eq!(of_error(NLM_F_ACK_TLVS, &whole[..end]), None, "{end}");
        }
        assert_eq!(of_error(NLM_F_ACK_TLVS, &body(u32::MAX, 0, &[])), None);
        assert_eq!(of_attributes(&[0, 0, 1, 0]), None);
    }
}
