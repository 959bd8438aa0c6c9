//! Whether a request is approved, denied, or left to somebody else. The rules are upstream's.

use std::collections::BTreeSet;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use node::names::{DnsSubdomain, NameError};
use node::text::printable;

use super::subject::{Subject, SubjectError};
use crate::csr::{Decided, GROUP, SIGNER, USAGES, decision, user_of};

/// The user that a kubelet is, with the node's name after it.
const KUBELET: &str = "system:node:";

/// The groups that the requesting user may have: those of a kubelet, and those of multus with a certificate.
const GROUPS: [&str; 3] = ["system:nodes", GROUP, "system:authenticated"];

/// The longest time that a certificate is requested for, in seconds: 365 days.
const LONGEST: i32 = 365 * 24 * 60 * 60;

/// The most characters of a foreign text in a message.
const SHOWN: usize = 200;

/// What to do about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Leave(Reason),
    /// It is decided.
    Decide(Ruling),
}

/// How a request is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It keeps all rules.
    Approve,
    /// It breaks this rule.
    Deny(Broken),
}

/// Why a request is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    /// It is for another signer.
    #[error("it is for another signer than {SIGNER}")]
    OtherSigner,
    /// It has been decided.
    #[error("it has the condition {}", .0.condition())]
    Decided(Decided),
    /// The request in it cannot be read, so its user is unknown.
    #[error("spec.request: {0}")]
    Unreadable(#[from] SubjectError),
    /// It is for somebody else than multus.
    #[error("no common name in spec.request begins with {GROUP}")]
    OtherUser,
}

/// The rule that a request breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// It has several common names.
    #[error("spec.request has {} common names ({}), and must have exactly one", .0.len(), list(.0))]
    CommonNames(Vec<String>),
    /// Somebody else than a kubelet or multus made it.
    #[error("spec.username is {}, and must be {KUBELET}NODE or {GROUP}:NODE: only a kubelet or multus may request this certificate", one(.0))]
    User(String),
    /// The user has no valid name of a node.
    #[error("spec.username is {}, and must end with the name of a node: {source}", one(.user))]
    Node {
        /// The user.
        user: String,
        /// Why the name is not valid.
        source: NameError,
    },
    /// The certificate would be for other uses.
    #[error("spec.usages are {}, and must be {}", list(.0), list(&USAGES))]
    Usages(Vec<String>),
    /// The user is in other groups.
    #[error("spec.groups has {}, and may have only {}", list(.0), list(&GROUPS))]
    Groups(Vec<String>),
    /// The certificate would be for another user.
    #[error("the common name in spec.request is {}, and must be {}", one(.found), one(.expected))]
    CommonName {
        /// The name in the request.
        found: String,
        /// The only name that the user of the request may ask for.
        expected: String,
    },
    /// The certificate would be for other groups.
    #[error("the organizations in spec.request are {}, and must be {} alone", list(.0), one(GROUP))]
    Organizations(Vec<String>),
    /// The certificate would be valid for as long as the signer likes.
    #[error("spec.expirationSeconds is missing, and must be at most {LONGEST} (365 days)")]
    NoExpiration,
    /// The certificate would be valid for too long.
    #[error("spec.expirationSeconds is {0}, and must be at most {LONGEST} (365 days)")]
    Expiration(i32),
}

/// Decides about a request.
pub(super) fn decide(request: &CertificateSigningRequest) -> Verdict {
    let subject = match subject_of_multus(request) {
        Ok(subject) => subject,
        Err(reason) => return Verdict::Leave(reason),
    };
    Verdict::Decide(match check(request, &subject) {
        Ok(()) => Ruling::Approve,
        Err(broken) => Ruling::Deny(broken),
    })
}

/// The subject of a request of multus that nobody has decided.
fn subject_of_multus(request: &CertificateSigningRequest) -> Result<Subject, Reason> {
    if request.spec.signer_name != SIGNER {
        return Err(Reason::OtherSigner);
    }
    if let Some((decided, _)) = decision(request) {
        return Err(Reason::Decided(decided));
    }
    let subject = Subject::read(&request.spec.request.0)?;
    if subject.common_names.iter().any(|name| name.starts_with(GROUP)) {
        return Ok(subject);
    }
    Err(Reason::OtherUser)
}

/// Which rule a request breaks, if any.
fn check(request: &CertificateSigningRequest, subject: &Subject) -> Result<(), Broken> {
    let spec = &request.spec;
    // Go, and so the signer, takes the last common name. The others would show a wrong name to whoever reads the request.
    let [found] = subject.common_names.as_slice() else {
        return Err(Broken::CommonNames(subject.common_names.clone()));
    };
    let node = node_of(spec.username.as_deref().unwrap_or_default())?;
    let usages = spec.usages.as_deref().unwrap_or_default();
    if usages.iter().map(String::as_str).collect::<BTreeSet<_>>() != BTreeSet::from(USAGES) {
        return Err(Broken::Usages(usages.to_vec()));
    }
    let is_unexpected = |group: &&String| !GROUPS.contains(&group.as_str());
    let groups: Vec<String> = spec.groups.iter().flatten().filter(is_unexpected).cloned().collect();
    if !groups.is_empty() {
        return Err(Broken::Groups(groups));
    }
    let expected = user_of(node.as_str());
    if *found != expected {
        return Err(Broken::CommonName { found: found.clone(), expected });
    }
    if subject.organizations != [GROUP] {
        return Err(Broken::Organizations(subject.organizations.clone()));
    }
    match spec.expiration_seconds {
        None => Err(Broken::NoExpiration),
        Some(seconds) if seconds > LONGEST => Err(Broken::Expiration(seconds)),
        Some(_) => Ok(()),
    }
}

/// The node whose kubelet or multus this user is.
fn node_of(user: &str) -> Result<DnsSubdomain, Broken> {
    let multus = user_of("");
    let node = user.strip_prefix(KUBELET).or_else(|| user.strip_prefix(multus.as_str()));
    let node = node.ok_or_else(|| Broken::User(user.to_owned()))?;
    DnsSubdomain::new(node).map_err(|source| Broken::Node { user: user.to_owned(), source })
}

/// A foreign text in a message.
fn one(text: &str) -> String {
    format!("\"{}\"", printable(text, SHOWN))
}

/// Foreign texts in a message.
fn list<T: AsRef<str>>(texts: &[T]) -> String {
    if texts.is_empty() {
        return "none".to_owned();
    }
    let all: Vec<String> = texts.iter().map(|text| format!("\"{}\"", text.as_ref())).collect();
    printable(&all.join(", "), SHOWN)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec as Spec;
    use rcgen::DnType;

    use super::*;
    use crate::approver::testing::{condition, pem, request, with_subject};

    fn verdict(edit: impl FnOnce(&mut Spec)) -> Verdict {
        let mut request = request("csr-1", "n1");
        edit(&mut request.spec);
        decide(&request)
    }

    /// Why a request is denied.
    fn denied(edit: impl FnOnce(&mut Spec)) -> String {
        match verdict(edit) {
            Verdict::Decide(Ruling::Deny(broken)) => broken.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn texts(texts: &[&str]) -> Option<Vec<String>> {
        Some(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn what_a_kubelet_or_multus_requests_for_its_node_is_approved() {
        let edits: [fn(&mut Spec); 7] = [
            |_| (),
            |spec| spec.username = Some("system:multus:n1".to_owned()),
            |spec| spec.groups = texts(&["system:multus", "system:authenticated"]),
            |spec| spec.groups = None,
            |spec| spec.usages = texts(&["client auth", "digital signature", "client auth"]),
            |spec| spec.expiration_seconds = Some(LONGEST),
            |spec| {
                spec.username = Some("system:node:n1.example.com".to_owned());
                spec.request = with_subject(&["system:multus:n1.example.com"], &["system:multus"]);
            },
        ];
        for (number, edit) in edits.into_iter().enumerate() {
            assert_eq!(verdict(edit), Verdict::Decide(Ruling::Approve), "{number}");
        }
    }

    /// A change of a good request, and what the denial says then.
    type Case = (fn(&mut Spec), &'static str);

    fn check_denials(cases: &[Case]) {
        for (edit, expected) in cases {
            let text = denied(edit);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_user_who_is_neither_kubelet_nor_multus_is_denied() {
        check_denials(&[
            (
                |spec| spec.username = None,
                "spec.username is \"\", and must be system:node:NODE or system:multus:NODE",
            ),
            (|spec| spec.username = Some("alice".to_owned()), "spec.username is \"alice\", and must be"),
            (
                |spec| spec.username = Some("system:nodes:n1".to_owned()),
                "spec.username is \"system:nodes:n1\"",
            ),
            (|spec| spec.username = Some("x system:node:n1".to_owned()), "spec.username is \"x system"),
            (|spec| spec.username = Some("system:node:".to_owned()), "must end with the name of a node"),
            (
                |spec| spec.username = Some("system:node:N1".to_owned()),
                "must end with the name of a node: \"N1\"",
            ),
            (
                |spec| spec.username = Some("system:multus:x:n1".to_owned()),
                "must end with the name of a node: \"x:n1\"",
            ),
            (
                |spec| spec.username = Some("system:node:a\nb".to_owned()),
                "spec.username is \"system:node:a\\nb\"",
            ),
        ]);
    }

    #[test]
    fn a_denial_names_the_key_and_what_was_found_and_expected() {
        check_denials(&[
            (
                |spec| spec.usages = None,
                "spec.usages are none, and must be \"digital signature\", \"client auth\"",
            ),
            (|spec| spec.usages = texts(&["client auth"]), "spec.usages are \"client auth\", and"),
            (
                |spec| spec.usages = texts(&["digital signature", "client auth", "server auth"]),
                "\"client auth\", \"server auth\", and must be",
            ),
            (
                |spec| spec.groups = texts(&["system:nodes", "system:masters"]),
                "spec.groups has \"system:masters\", and may have only \"system:nodes\", \"system:multus\", \"system:authenticated\"",
            ),
            (
                |spec| spec.request = with_subject(&["system:multus:n2"], &["system:multus"]),
                "the common name in spec.request is \"system:multus:n2\", and must be \"system:multus:n1\"",
            ),
            (
                |spec| spec.request = with_subject(&["system:multus"], &["system:multus"]),
                "is \"system:multus\", and",
            ),
            (
                |spec| spec.request = with_subject(&["system:multus-x:n1"], &["system:multus"]),
                "is \"system:multus-x:n1\", and",
            ),
            (
                |spec| spec.request = with_subject(&["system:multus:n1"], &[]),
                "the organizations in spec.request are none, and",
            ),
            (
                |spec| spec.request = with_subject(&["system:multus:n1"], &["system:masters"]),
                "are \"system:masters\", and must be \"system:multus\" alone",
            ),
            (
                |spec| spec.expiration_seconds = None,
                "spec.expirationSeconds is missing, and must be at most 31536000 (365 days)",
            ),
            (
                |spec| spec.expiration_seconds = Some(LONGEST + 1),
                "spec.expirationSeconds is 31536001, and must be",
            ),
            (
                |spec| spec.expiration_seconds = Some(i32::MAX),
                "spec.expirationSeconds is 2147483647, and must be",
            ),
        ]);
    }

    #[test]
    fn two_names_are_denied_whichever_comes_first() {
        for names in [["system:multus:n1", "admin"], ["admin", "system:multus:n1"], ["system:multus:n1"; 2]] {
            let text = denied(|spec| spec.request = with_subject(&names, &["system:multus"]));
            assert!(text.starts_with("spec.request has 2 common names (\""), "{text}");
        }
        for names in [["system:multus", "system:masters"], ["system:masters", "system:multus"]] {
            let text = denied(|spec| spec.request = with_subject(&["system:multus:n1"], &names));
            assert!(text.starts_with("the organizations in spec.request are \"system:m"), "{text}");
        }
    }

    #[test]
    fn requests_of_others_are_left_to_others() {
        let other = |name: &str| Spec {
            request: with_subject(&[name], &["system:multus"]),
            ..request("c", "n1").spec
        };
        for name in
            ["alice", "xsystem:multus:n1", "system:node:n1", "System:multus:n1", " system:multus:n1", ""]
        {
            assert_eq!(verdict(|spec| *spec = other(name)), Verdict::Leave(Reason::OtherUser), "{name}");
        }
        let nameless =
            verdict(|spec| spec.request.0 = pem(&[(DnType::OrganizationName, GROUP.into())]).into_bytes());
        assert_eq!(nameless, Verdict::Leave(Reason::OtherUser));
        let signer =
            verdict(|spec| spec.signer_name = "kubernetes.io/kube-apiserver-client-kubelet".to_owned());
        assert_eq!(signer, Verdict::Leave(Reason::OtherSigner));
        let rubbish = verdict(|spec| spec.request.0 = b"rubbish".to_vec());
        assert_eq!(rubbish, Verdict::Leave(Reason::Unreadable(SubjectError::NoRequest)));
    }

    #[test]
    fn what_is_decided_is_left_alone() {
        for decided in [Decided::Approved, Decided::Denied, Decided::Failed] {
            let mut request = request("csr-1", "n1");
            let conditions = Some(vec![condition(decided.condition())]);
            request.status.get_or_insert_default().conditions = conditions;
            assert_eq!(decide(&request), Verdict::Leave(Reason::Decided(decided)));
        }
        let mut request = request("csr-1", "n1");
        request.status.get_or_insert_default().conditions = Some(vec![condition("Other")]);
        assert_eq!(decide(&request), Verdict::Decide(Ruling::Approve));
    }

    #[test]
    fn a_message_stays_short_and_has_no_control_characters() {
        let text = denied(|spec| spec.username = Some(format!("\u{1b}[31m{}", "x".repeat(100_000))));
        assert!(text.len() < 500 && !text.contains('\u{1b}'), "{text}");
        let text = denied(|spec| spec.groups = Some(vec!["g\n".to_owned(); 10_000]));
        assert!(text.len() < 500 && !text.contains('\n'), "{text}");
        let text = denied(|spec| spec.request = with_subject(&["system:multus:\u{202e}\r"], &[GROUP]));
        assert!(text.contains("system:multus:\\u{202e}\\r"), "{text}");
    }
}
