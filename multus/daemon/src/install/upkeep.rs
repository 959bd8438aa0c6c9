//! What a node needs at any time: a kubeconfig with a valid token, and `00-multus.conf` in step with the default network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use node::files::FileError;
use serde_json::{Map, Value};

use crate::kubeconfig::{Credentials, KubeconfigError, MOUNT, Renewed, Server, Trust, User};
use crate::primary::{KUBECONFIG, KeepError, Keeper, PERIOD, Settings, SettingsError};

/// Keeps both up to date.
#[derive(Debug)]
pub struct Upkeep {
    credentials: Credentials,
    keeper: Keeper,
    watch: Watch,
    in_place: InPlace,
    /// What was logged last. Each round would log the same otherwise.
    said: String,
}

/// Whether the configuration is in place, for others to see.
#[derive(Debug, Clone, Default)]
pub struct InPlace(Arc<AtomicBool>);

impl InPlace {
    /// Whether it is.
    pub fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
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

/// What is kept up to date.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The kubeconfig.
    pub credentials: Credentials,
    /// The configuration.
    pub settings: Settings,
}

impl Plan {
    /// The plan of a daemon with this configuration: its kubeconfig has the token of the pod. `lookup` reads environment variables.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn of_daemon_config(
        config: &Map<String, Value>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, PlanError> {
        let settings = Settings::of_daemon_config(config)?;
        let credentials = Credentials {
            server: Server::of_environment(lookup)?,
            user: User::Token(format!("{MOUNT}/token").into()),
            trust: Trust::Authority(format!("{MOUNT}/ca.crt").into()),
            target: settings.conf_dir.join(KUBECONFIG),
        };
        Ok(Self { credentials, settings })
    }
}

/// A daemon's configuration gives no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A key is wrong.
    #[error("daemon configuration: {0}")]
    Setting(#[from] SettingsError),
    /// The variables of a pod are missing.
    #[error("the plugin's kubeconfig: {0}")]
    Server(#[from] KubeconfigError),
}

impl Upkeep {
    /// Writes nothing yet.
    pub fn new(credentials: Credentials, settings: Settings, watch: Watch) -> Self {
        Self {
            credentials,
            keeper: Keeper::new(settings),
            watch,
            in_place: InPlace::default(),
            said: String::new(),
        }
    }

    /// Whether the configuration is in place: a value that follows.
    pub fn in_place(&self) -> InPlace {
        self.in_place.clone()
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
        self.in_place.0.store(self.keeper.is_in_place(), Ordering::Relaxed);
        Ok(())
    }

    /// Rounds for ever, for a program that has other work too: a failure at the start is logged as well, and tried again.
    ///
    /// No round while `is_replaced`: during a rolling update two daemons run on the node, perhaps with different settings. Each would write what
    /// the other one has just replaced, and neither would become ready.
    pub async fn run(mut self, is_replaced: impl Fn() -> bool) {
        loop {
            if is_replaced() {
                self.say("a newer daemon of this node keeps 00-multus.conf and the kubeconfig".to_owned());
            } else if let Err(error) = self.round() {
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

#[cfg(test)]
mod tests {
    use node::files::write_atomic;
    use serde_json::json;

    use super::*;

    fn pod(name: &str) -> Option<String> {
        match name {
            "KUBERNETES_SERVICE_HOST" => Some("10.96.0.1".into()),
            "KUBERNETES_SERVICE_PORT" => Some("443".into()),
            _ => None,
        }
    }

    /// A node without a default network, and a pod without a token.
    fn node() -> (tempfile::TempDir, Upkeep) {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({"cniConfigDir": folder.path(), "multusAutoconfigDir": folder.path()});
        let mut plan = Plan::of_daemon_config(config.as_object().unwrap(), &pod).unwrap();
        plan.credentials.user = User::Token(folder.path().join("token"));
        plan.credentials.trust = Trust::Anybody;
        (folder, Upkeep::new(plan.credentials, plan.settings, Watch::Follow))
    }

    fn write(folder: &tempfile::TempDir, name: &str, text: &str) {
        write_atomic(&folder.path().join(name), text.as_bytes(), 0o600).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_goes_on_until_token_and_default_network_are_there() {
        let (folder, upkeep) = node();
        let (in_place, conf) = (upkeep.in_place(), folder.path().join("00-multus.conf"));
        let task = tokio::spawn(upkeep.run(|| false));
        tokio::time::sleep(2 * PERIOD).await;
        write(&folder, "token", "t");
        tokio::time::sleep(2 * PERIOD).await;
        assert!(folder.path().join(KUBECONFIG).exists() && !conf.exists() && !in_place.is_true());
        write(&folder, "10-p.conf", r#"{"cniVersion":"0.3.1","name":"p","type":"t"}"#);
        tokio::time::sleep(2 * PERIOD).await;
        assert!(conf.exists() && in_place.is_true());
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_a_newer_one_replaced_writes_nothing_more() {
        let (folder, upkeep) = node();
        let conf = folder.path().join("00-multus.conf");
        write(&folder, "token", "t");
        write(&folder, "10-p.conf", r#"{"cniVersion":"0.3.1","name":"p","type":"t"}"#);
        let replaced = Arc::<AtomicBool>::default();
        let seen = replaced.clone();
        let task = tokio::spawn(upkeep.run(move || seen.load(Ordering::Relaxed)));
        tokio::time::sleep(2 * PERIOD).await;
        std::fs::remove_file(&conf).unwrap();
        tokio::time::sleep(2 * PERIOD).await;
        assert!(conf.exists(), "alone, it writes the file again");
        replaced.store(true, Ordering::Relaxed);
        write(&folder, "00-multus.conf", "of the newer daemon");
        tokio::time::sleep(3 * PERIOD).await;
        assert_eq!(std::fs::read_to_string(&conf).unwrap(), "of the newer daemon");
        task.abort();
    }

    #[test]
    fn a_missing_token_is_an_error_before_and_a_log_entry_after_the_start() {
        let (folder, mut upkeep) = node();
        assert!(matches!(upkeep.round(), Err(UpkeepError::Kubeconfig(_))));
        write(&folder, "token", "t");
        write(&folder, "10-p.conf", r#"{"cniVersion":"0.3.1","name":"p","type":"t"}"#);
        upkeep.round().unwrap();
        std::fs::remove_file(folder.path().join("token")).unwrap();
        upkeep.round().unwrap();
        assert!(folder.path().join(KUBECONFIG).exists());
    }
}
