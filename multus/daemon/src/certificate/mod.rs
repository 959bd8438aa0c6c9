//! A client certificate for multus on one node (`perNodeCertificate`): requested, stored, and renewed.
//!
//! With it the API server knows which node asks, so that a policy can limit each node to its own pods. The first request uses the credentials of a
//! bootstrap kubeconfig, usually the kubelet's; `cert-approver` approves it, and the signer of Kubernetes signs it.
//!
//! | module | question it answers |
//! |---|---|
//! | `settings` | for which node, by which kubeconfig, into which folder, for how long? |
//! | `schedule` | is a certificate valid, and when is it renewed? |
//! | `store` | how do certificate and key lie in the folder? |
//! | `request` | how does a request become a certificate? |
//! | `keep` | how does the node have a valid certificate at any time? |

mod keep;
mod request;
mod schedule;
mod settings;
mod store;

pub use keep::{CertificateError, Keeper};
pub use request::RequestError;
pub use settings::{DEFAULT_DURATION, Settings, SettingsError, duration};
pub use store::{Store, StoreError, Unusable};

#[cfg(test)]
mod tests;
