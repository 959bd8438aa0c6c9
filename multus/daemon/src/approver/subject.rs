//! The names in the subject of a certificate request.

use x509_cert::attr::AttributeValue;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{self, Tag, Tagged as _};
use x509_cert::request::CertReq;

use crate::csr::from_pem;

/// The longest request, in bytes of PEM. One of multus has some 500, and some 6000 with the longest RSA key that a signer takes. The parser needs
/// a time that grows with the square of the length.
const MAX_LENGTH: usize = 16 << 10;

/// How a request begins. A text before it could contain another request, which another reader takes.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE REQUEST-----";

/// `commonName`.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// `organizationName`.
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// What stands for a value that is no text.
const NOT_TEXT: &str = "(not a text)";

/// The names in a subject that matter here, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// `CN`.
    pub common_names: Vec<String>,
    /// `O`.
    pub organizations: Vec<String>,
}

/// A request has no subject that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// It is longer than any request of multus.
    #[error("it has {0} bytes, and one of multus has at most {MAX_LENGTH}")]
    TooLong(usize),
    /// It is no PEM of a certificate request.
    #[error("it does not begin with {}", String::from_utf8_lossy(BEGIN))]
    NoRequest,
    /// The PEM or the DER in it is broken.
    #[error("it cannot be parsed: {0}")]
    Malformed(#[from] der::Error),
}

impl Subject {
    /// Reads `spec.request`: PEM.
    ///
    /// # Errors
    /// [`SubjectError`].
    pub fn read(request: &[u8]) -> Result<Self, SubjectError> {
        if request.len() > MAX_LENGTH {
            return Err(SubjectError::TooLong(request.len()));
        }
        let request = request.trim_ascii_start();
        if !request.starts_with(BEGIN) {
            return Err(SubjectError::NoRequest);
        }
        let parsed: CertReq = from_pem("CERTIFICATE REQUEST", request)?;
        let mut subject = Self::default();
        for name in parsed.info.subject.0.iter().flat_map(|names| names.0.iter()) {
            if name.oid == COMMON_NAME {
                subject.common_names.push(text(&name.value));
            } else if name.oid == ORGANIZATION {
                subject.organizations.push(text(&name.value));
            }
        }
        Ok(subject)
    }
}

/// A value as text. Bytes that are no UTF-8 become U+FFFD, which no name that we expect has.
fn text(value: &AttributeValue) -> String {
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::TeletexString
        | Tag::NumericString
        | Tag::VisibleString => String::from_utf8_lossy(value.value()).into_owned(),
        Tag::BmpString => match value.value().as_chunks::<2>() {
            (units, []) => String::from_utf16_lossy(
                &units.iter().map(|unit| u16::from_be_bytes(*unit)).collect::<Vec<_>>(),
            ),
            _ => NOT_TEXT.to_owned(),
        },
        _ => NOT_TEXT.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{DnType, DnValue};

    use super::*;
    use crate::approver::testing::{Attribute, CN, O, UTF8, pem, with_sets};

    /// The subject of a request with these names.
    fn subject_of(names: &[(DnType, DnValue)]) -> Subject {
        Subject::read(pem(names).as_bytes()).unwrap()
    }

    fn name(text: &str) -> Attribute {
        (CN, UTF8, text.as_bytes().to_vec())
    }

    #[test]
    fn names_are_read_in_their_order_and_others_are_ignored() {
        let names = [
            (DnType::OrganizationName, "system:multus".into()),
            (DnType::OrganizationalUnitName, "x".into()),
            (DnType::CommonName, "system:multus:n1".into()),
        ];
        let expected = Subject {
            common_names: vec!["system:multus:n1".to_owned()],
            organizations: vec!["system:multus".to_owned()],
        };
        assert_eq!(subject_of(&names), expected);
        assert_eq!(subject_of(&[]), Subject::default());
    }

    #[test]
    fn every_kind_of_text_is_read() {
        let printable = DnValue::PrintableString("system:multus".try_into().unwrap());
        let bmp = DnValue::BmpString("system:multus".try_into().unwrap());
        for value in [printable, bmp, "system:multus".into()] {
            let found = subject_of(&[(DnType::OrganizationName, value)]);
            assert_eq!(found.organizations, ["system:multus"]);
        }
    }

    #[test]
    fn two_common_names_in_one_set_or_in_two_are_both_found() {
        let one = Subject::read(&with_sets(&[vec![name("a"), name("b")]])).unwrap();
        let two = Subject::read(&with_sets(&[vec![name("a")], vec![name("b")]])).unwrap();
        assert_eq!((one.common_names.len(), two.common_names), (2, vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn values_that_are_no_text_are_found_and_equal_none_that_we_expect() {
        let found = Subject::read(&with_sets(&[
            vec![(CN, UTF8, b"system:multus:\xff\xfe".to_vec())],
            vec![(O, 4, b"system:multus".to_vec())],
            vec![(O, 30, b"odd".to_vec())],
            vec![(O, 30, vec![0xd8, 0])],
        ]));
        let found = found.unwrap();
        assert_eq!(found.common_names, ["system:multus:\u{fffd}\u{fffd}"]);
        assert_eq!(found.organizations, [NOT_TEXT, NOT_TEXT, "\u{fffd}"]);
    }

    #[test]
    fn rubbish_is_an_error() {
        let good = pem(&[(DnType::CommonName, "system:multus:n1".into())]);
        let other = good.replace("CERTIFICATE REQUEST", "CERTIFICATE");
        for text in ["", "x", &format!("x\n{good}"), &other] {
            assert_eq!(Subject::read(text.as_bytes()), Err(SubjectError::NoRequest), "{text}");
        }
        let twice = format!("{good}{good}");
        let cut: String = good.chars().take(good.len() / 2).collect();
        for text in [twice, cut, good.replace('M', "?"), good.replace("-----END", "Proc-Type: 4\n-----END")] {
            assert!(matches!(Subject::read(text.as_bytes()), Err(SubjectError::Malformed(_))), "{text}");
        }
        let huge = good + &"x".repeat(1 << 20);
        assert!(matches!(Subject::read(huge.as_bytes()), Err(SubjectError::TooLong(_))));
    }

    #[test]
    fn a_request_that_is_cut_off_is_an_error() {
        let pem = |content: &str| {
            format!("-----BEGIN CERTIFICATE REQUEST-----\n{content}\n-----END CERTIFICATE REQUEST-----\n")
        };
        for content in ["jA==", "MA==", "MIID", "MIIDeDCC", "MP8="] {
            let read = Subject::read(pem(content).as_bytes());
            assert!(matches!(read, Err(SubjectError::Malformed(_))), "{content}: {read:?}");
        }
    }

    #[test]
    fn every_broken_byte_of_a_request_is_survived() {
        let good = with_sets(&[vec![name("system:multus:n1")], vec![(O, UTF8, b"system:multus".to_vec())]]);
        for at in 0..good.len() {
            for byte in [b'A', b'/', b'\n', 0, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = Subject::read(&bad);
            }
            let _ = Subject::read(&good[..at]);
        }
    }

    #[test]
    fn hundreds_of_names_are_read_at_once() {
        let names: Vec<_> = (0..600_u16).rev().map(|n| (CN, UTF8, n.to_be_bytes().to_vec())).collect();
        let sets: Vec<_> = names.iter().map(|name| vec![name.clone()]).collect();
        for sets in [vec![names], sets] {
            let request = with_sets(&sets);
            assert!(request.len() < MAX_LENGTH, "{}", request.len());
            assert_eq!(Subject::read(&request).unwrap().common_names.len(), 600);
        }
    }
}
