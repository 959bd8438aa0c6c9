//! What a node needs at any time: a kubeconfig with a valid token, and `00-multus.conf` in step with the default network.

use node::files::FileError;

use super::kubeconfig::{Credentials, KubeconfigError, Renewed};
use crate::primary::{KeepError, Keeper, PERIOD, Settings};

/// Keeps both up to date.
#[derive(Debug)]
pub struct Upkeep {
    credentials: Credentials,
    keeper: Keeper,
    watch: Watch,
    /// What was logged last. Each round would log the same otherwise.
    said: String,
}

/// Whether the configuration follows the default network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// It does.
    Follow,
    /// It is written once.
    Once,
}

/// A round failed.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The kubeconfig cannot be written.
    #[error("failed to create multus kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// The configuration cannot be written.
    #[error("failed to create multus config: {0}")]
    Keep(#[from] KeepError),
}

impl Upkeep {
    /// Writes nothing yet.
    pub fn new(credentials: Credentials, settings: Settings, watch: Watch) -> Self {
        Self { credentials, keeper: Keeper::new(settings), watch, said: String::new() }
    }

    /// One round: writes what is not right.
    ///
    /// # Errors
    /// [`UpkeepError`], until the configuration is in place. After that a failure is logged, and the next round tries again.
    pub fn round(&mut self) -> Result<(), UpkeepError> {
        // Before the configuration: the plugin needs the kubeconfig from the first pod on.
        match self.credentials.renew() {
            Ok(renewed) => {
                self.said.clear();
                if renewed == Renewed::Written {
                    tracing::info!(file = %self.credentials.target.display(), "kubeconfig written");
                }
            }
            Err(error) if !self.keeper.is_in_place() => return Err(error.into()),
            Err(error) => self.say(format!("the kubeconfig was not renewed: {error}")),
        }
        if self.watch == Watch::Follow || !self.keeper.is_in_place() {
            self.keeper.round()?;
        }
        Ok(())
    }

    /// Rounds for ever, for a program that has other work too: a failure at the start is logged as well, and tried again.
    pub async fn run(mut self) {
        loop {
            if let Err(error) = self.round() {
                self.say(error.to_string());
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Removes the configuration; see [`Keeper::remove`].
    ///
    /// # Errors
    /// [`FileError`].
    pub fn remove(&mut self) -> Result<(), FileError> {
        self.keeper.remove()
    }

    fn say(&mut self, text: String) {
        if self.said != text {
            tracing::error!("{text}");
            self.said = text;
        }
    }
}
