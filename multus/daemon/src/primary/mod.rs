//! The cluster's default network: which configuration file has it, and how `00-multus.conf` follows it.
//!
//! The runtime uses the alphabetically first file of its folder. `00-multus.conf` is that file. It names the default network of the primary
//! plugin (Calico, Antrea, ...), whose own file is the next one. So that file must be found, and a change of it must be taken over.
//!
//! | module | question it answers |
//! |---|---|
//! | `conf` | is this file a whole configuration of a network, and what does it say? |
//! | `elect` | which file of the folder is that of the default network? |
//! | `settings` | what did the operator choose? |
//! | `render` | what does `00-multus.conf` say? |
//! | `decide` | given what the folder holds, what must be in `00-multus.conf`? |
//! | `keep` | how does the file on the disk become and stay that? |
//!
//! All but `keep` are functions of values.
//!
//! ```no_run
//! # use daemon::primary::{Keeper, Settings};
//! # async fn run(daemon_config: serde_json::Map<String, serde_json::Value>) -> Result<(), Box<dyn std::error::Error>> {
//! let mut keeper = Keeper::new(Settings::of_daemon_config(&daemon_config)?);
//! loop {
//!     keeper.round()?;
//!     tokio::time::sleep(daemon::primary::PERIOD).await;
//! }
//! # }
//! ```

mod conf;
mod decide;
mod elect;
mod keep;
mod render;
mod settings;

pub use conf::ConfError;
pub use decide::Unready;
pub use keep::{KeepError, Keeper, PERIOD, Round};
pub use settings::{
    Auto, Election, Form, InlineForm, Isolation, LogLevel, LogTarget, Master, NameRule, PathForm, Settings,
    SettingsError, Source, VersionRule, host_path,
};
pub(crate) use settings::{KUBECONFIG, version};
