//! `readinessindicatorfile`: the file that appears when the default network is ready.

use std::time::Duration;

use cni::{CniError, Code};
use node::deadline::Deadline;

use crate::conf::Conf;
use crate::error::Error;

/// Longest time that ADD waits for the file.
const READY_LIMIT: Duration = Duration::from_secs(45);
/// The time between two looks at the file.
const READY_POLL: Duration = Duration::from_millis(100);

/// Waits for the file, if the configuration names one.
pub(super) fn wait_until_ready(conf: &Conf, deadline: Deadline) -> Result<(), Error> {
    let Some(file) = &conf.readiness_file else { return Ok(()) };
    let deadline = deadline.child(READY_LIMIT);
    while !file.exists() {
        if deadline.expired() {
            return Err(Error::NotReady(file.clone()));
        }
        std::thread::sleep(READY_POLL.min(deadline.remaining()));
    }
    Ok(())
}

/// Fails with code 50 if the configuration names a file that does not exist.
pub(super) fn check_ready(conf: &Conf) -> Result<(), CniError> {
    match conf.readiness_file.as_ref().filter(|file| !file.exists()) {
        Some(file) => {
            let file = file.display();
            let msg =
                format!("the default network is not ready: readinessindicatorfile {file} does not exist");
            Err(CniError::new(Code::NotAvailable, msg))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::call;

    #[test]
    fn add_waits_for_the_readiness_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ready");
        let conf = json!({"name": "n", "clusterNetwork": "c", "readinessindicatorfile": file});
        let conf = Conf::read(&call(&conf, "/bin", "")).unwrap();
        let error = wait_until_ready(&conf, Deadline::after(Duration::from_millis(250))).unwrap_err();
        let want = format!(
            "have you checked that your default network is ready? still waiting for readinessindicatorfile @ {}. pollimmediate error: timed \
             out waiting for the condition",
            file.display()
        );
        assert_eq!((error.to_string(), error.to_cni().code), (want, Code::TryAgainLater));
        assert_eq!(check_ready(&conf).unwrap_err().code, Code::NotAvailable);
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(150));
            std::fs::File::create(file).unwrap();
        });
        wait_until_ready(&conf, Deadline::after(Duration::from_secs(10))).unwrap();
        writer.join().unwrap();
        check_ready(&conf).unwrap();
    }
}
