//! An explanation, as it is shown.

use serde::Serialize;

use super::asked::Asked;
use super::attached::{Attached, Claimed};
use super::problem::Problem;
use super::refused::Refused;

/// The explanation of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `<namespace>/<name>`.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// Its node; empty if none was chosen yet.
    pub node: String,
    /// Its phase, such as `Running`; "Terminating" for one that is being deleted.
    pub phase: String,
    /// The network that it asks for in place of the cluster's default network, as `<namespace>/<name>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_network: Option<String>,
    /// The networks that it asks for besides the default network, in order.
    pub asked: Vec<Asked>,
    /// The interfaces that network-status names.
    pub attached: Vec<Attached>,
    /// The addresses that are claimed for it.
    pub claims: Vec<Claimed>,
    /// The last ADD that failed, if the pod still waits for its networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// What is wrong, and what to do.
    pub problems: Vec<Problem>,
    /// What could not be read, and what is good to know.
    pub notes: Vec<String>,
}
