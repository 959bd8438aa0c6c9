//! Credentials, read from a kubeconfig file or from the pod's service account, and checked.
//!
//! Every value is checked here: below, some panic and others fail at each request as if the network were down.

mod cluster;
mod error;
mod kubeconfig;
mod loaded;
mod peers;
mod person;
mod service_account;
mod token;
mod value;

use std::path::Path;

pub use cluster::{NamedCluster, cluster_in};
pub use error::{ConnectError, Place};
pub(super) use kubeconfig::namespace_in;
pub(super) use loaded::Loaded;
pub use peers::Authorities;
pub(super) use peers::{Peers, Trust};
pub use person::Person;
pub(super) use person::load as load_person;
pub(super) use service_account::authorities_in;
pub(super) use token::Token;

use super::error::Credentials;

/// Reads the files of these credentials.
pub(super) fn load(credentials: &Credentials) -> Result<(Loaded, Peers), ConnectError> {
    match credentials {
        Credentials::Kubeconfig(path) => kubeconfig::load(path),
        Credentials::InCluster => {
            service_account::load(Path::new(service_account::MOUNT), &|name| std::env::var(name).ok())
        }
    }
}
