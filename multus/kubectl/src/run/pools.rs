//! `kubectl multus pools`.

use multus::explain::json;
use node::client::ApiError;

use super::answer::Answer;
use crate::cluster::Cluster;
use crate::definition::{Definition, read};
use crate::failure::Failure;
use crate::options::{Format, Holders, Options};
use crate::pools::{gather, render};

/// Shows the pools of these names, or all.
pub(super) async fn pools(
    options: &Options,
    names: &[String],
    holders: Holders,
    cluster: Cluster<'_>,
) -> Result<Answer, Failure> {
    let namespace = options.namespace.as_ref();
    let (pools, claims) = (cluster.pools(namespace).await?, cluster.claims(namespace).await?);
    let mut all = gather(&pools, &claims, &definitions(cluster).await?);
    if !names.is_empty() {
        let unknown = names.iter().find(|name| !all.iter().any(|pool| pool.name == **name));
        if let Some(name) = unknown {
            return Err(Failure::NoSuchPool { name: name.clone() });
        }
        all.retain(|pool| names.contains(&pool.name));
    }
    if holders == Holders::Counted {
        all.iter_mut().for_each(|pool| pool.holders.clear());
    }
    let text = match options.format {
        Format::Table => render(&all, holders, node::clock::now()),
        Format::Json => json(&all),
    };
    Ok(Answer::right(text))
}

/// The definitions; none for a user who may not read them: they only narrow the windows down.
async fn definitions(cluster: Cluster<'_>) -> Result<Vec<Definition>, Failure> {
    match cluster.definitions(None).await {
        Ok(all) => {
            Ok(all.iter().map(|(nad_ref, definition)| read(nad_ref, &definition.spec.config)).collect())
        }
        Err(ApiError::Denied { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}
