//! The event that says how a request was decided.

use k8s_openapi::Resource as _;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use node::event::{Reporter, Severity, Subject, about_pod};
use node::names::{DnsLabel, DnsSubdomain, PodUid};

use super::decide::Ruling;

/// The program in events and conditions.
pub(super) const COMPONENT: &str = "cert-approver";

/// The namespace of events about objects that have none.
const NAMESPACE: &str = "default";

/// The event about a request that was decided; `None` if its name is none that an event can have.
pub(super) fn about(request: &CertificateSigningRequest, ruling: &Ruling, now: Timestamp) -> Option<Event> {
    let name = DnsSubdomain::new(request.metadata.name.as_deref()?).ok()?;
    let uid = request.metadata.uid.as_deref().and_then(|uid| PodUid::new(uid).ok());
    let (severity, reason, message) = match ruling {
        Ruling::Approve => (Severity::Normal, "CSRApproved", format!("{COMPONENT} approved {name}")),
        Ruling::Deny(broken) => {
            (Severity::Warning, "CSRDenied", format!("{COMPONENT} denied {name}: {broken}"))
        }
    };
    let subject = Subject { namespace: DnsLabel::new(NAMESPACE).ok()?, name, uid };
    let reporter = Reporter { component: COMPONENT, host: "" };
    let mut event = about_pod(&subject, severity, reason, &message, reporter, now);
    event.involved_object.api_version = Some(CertificateSigningRequest::API_VERSION.to_owned());
    event.involved_object.kind = Some(CertificateSigningRequest::KIND.to_owned());
    event.involved_object.namespace = None;
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approver::decide::Broken;
    use crate::approver::testing::request;

    #[test]
    fn an_event_names_the_request_and_the_rule_that_it_breaks() {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let mut request = request("csr-1", "n1");
        request.metadata.uid = Some("u-1".to_owned());
        let approved = about(&request, &Ruling::Approve, now).unwrap();
        assert_eq!(approved.reason.as_deref(), Some("CSRApproved"));
        assert_eq!(approved.type_.as_deref(), Some("Normal"));
        let denied = about(&request, &Ruling::Deny(Broken::NoExpiration), now).unwrap();
        let denied = serde_json::to_value(denied).unwrap();
        assert_eq!((&denied["reason"], &denied["type"]), (&"CSRDenied".into(), &"Warning".into()));
        let message = denied["message"].as_str().unwrap();
        assert!(
            message.starts_with("cert-approver denied csr-1: spec.expirationSeconds is missing"),
            "{message}"
        );
        assert_eq!(denied["metadata"]["namespace"], "default");
        assert_eq!(denied["source"]["component"], "cert-approver");
        let object = serde_json::json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "name": "csr-1", "uid": "u-1",
        });
        assert_eq!(denied["involvedObject"], object);
    }
}
