//! From facts to an explanation.

use k8s_openapi::jiff::Timestamp;

use super::facts::Facts;
use super::model::Explanation;
use super::{asked, attached, problems, refused};

/// Explains a pod.
pub fn explain(facts: &Facts, now: Timestamp) -> Explanation {
    let pod = &facts.pod;
    let attached = attached::rows(&pod.status);
    let (asked, mut problems) = asked::rows(facts, &attached);
    let claims = attached::claims(facts, now);
    let refused = refused::last(facts, now);
    problems.extend(problems::of(facts, &asked, &attached, refused.as_ref()));
    Explanation {
        pod: pod.pod_ref.to_string(),
        uid: pod.uid.clone(),
        node: pod.node.clone(),
        phase: pod.shown_phase().to_owned(),
        default_network: asked::default_network(facts),
        notes: problems::notes(facts, &asked),
        asked,
        attached,
        claims,
        refused,
        problems,
    }
}
