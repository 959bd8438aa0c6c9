//! `cert-approver`: decides about the requests for the client certificate of a node (`certificates.k8s.io/v1`) that multus makes.
//!
//! Multus may have a client certificate on each node in place of the token of its service account (`perNodeCertificate`). It makes a
//! certificate signing request with the credentials of the kubelet, and later with its own certificate. This program approves or denies it, and
//! the controller manager of the cluster signs what is approved.
//!
//! | module | question it answers |
//! |---|---|
//! | `subject` | which names does a certificate request have? |
//! | `decide` | is a request approved, denied, or left to somebody else? |
//! | `event` | which event says how a request was decided? |
//! | `later` | which requests must be tried again, and when? |
//! | `settle` | how does a decision get into the API server? |
//! | `rights` | what does the program need of the API server? |
//! | `run` | how does all of this start and stop? |
//! | `options` | which flags are there? |
//!
//! Several of these programs may run at once. Each write carries the resourceVersion that was decided about, so one of them decides and the
//! others find the request decided.

mod decide;
mod event;
mod later;
mod options;
mod rights;
mod run;
mod settle;
mod subject;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use options::{Options, OptionsError, USAGE, parse};
pub use rights::RIGHTS;
#[cfg(test)]
pub(crate) use run::follow;
pub use run::{ApproverError, run};
pub use subject::{Subject, SubjectError};
