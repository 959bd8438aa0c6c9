//! Reading NetworkAttachmentDefinitions.

use futures::future::try_join_all;
use node::client::{ApiClient, ApiError, OnUnknown, RetryPolicy, retry};
use node::deadline::Deadline;

use super::error::SourceError;
use super::within::within;
use crate::definition::{Definitions, Lookup, NadRef};

/// Reads these definitions, all at once. One that does not exist is an answer; any other failure is an error.
///
/// # Errors
/// [`SourceError`].
pub async fn read_definitions(
    client: &ApiClient,
    wanted: &[NadRef],
    deadline: Deadline,
) -> Result<Definitions, SourceError> {
    within(deadline, async |deadline| {
        let answers = wanted.iter().map(|nad_ref| read_definition(client, nad_ref, deadline));
        Ok(try_join_all(answers).await?.into_iter().collect())
    })
    .await
}

async fn read_definition(
    client: &ApiClient,
    nad_ref: &NadRef,
    deadline: Deadline,
) -> Result<(NadRef, Lookup), SourceError> {
    let path = nad_ref.object();
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    match retry(deadline, policy, || client.get(&path, deadline)).await {
        Ok(definition) => Ok((nad_ref.clone(), Lookup::Found(definition))),
        Err(ApiError::NotFound { message, .. }) => {
            let reason = if message.is_empty() { "not found".to_owned() } else { message };
            Ok((nad_ref.clone(), Lookup::Absent(reason)))
        }
        Err(error) => Err(error.into()),
    }
}
