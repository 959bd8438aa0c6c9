//! Reading NetworkAttachmentDefinitions.

use node::client::{ApiClient, ApiError, OnUnknown, RetryPolicy, retry};
use node::deadline::Deadline;

use super::error::SourceError;
use super::within::within;
use crate::definition::{Definitions, Lookup, NadRef};

/// Reads these definitions, one after the other: at once, each would make a connection of its own, and a TLS handshake costs several times as
/// much as a read. One that does not exist is an answer; any other failure is an error.
///
/// # Errors
/// [`SourceError`].
pub async fn read_definitions(
    client: &ApiClient,
    wanted: &[NadRef],
    deadline: Deadline,
) -> Result<Definitions, SourceError> {
    within(deadline, async |deadline| {
        let mut definitions = Definitions::new();
        for nad_ref in wanted {
            definitions.insert(nad_ref.clone(), read_definition(client, nad_ref, deadline).await?);
        }
        Ok(definitions)
    })
    .await
}

async fn read_definition(
    client: &ApiClient,
    nad_ref: &NadRef,
    deadline: Deadline,
) -> Result<Lookup, SourceError> {
    let path = nad_ref.object();
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    match retry(deadline, policy, || client.get(&path, deadline)).await {
        Ok(definition) => Ok(Lookup::Found(definition)),
        Err(ApiError::NotFound { message, .. }) => {
            let reason = if message.is_empty() { "not found".to_owned() } else { message };
            Ok(Lookup::Absent(reason))
        }
        Err(error) => Err(error.into()),
    }
}
