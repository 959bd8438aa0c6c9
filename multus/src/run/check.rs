//! CHECK: checks every recorded network, in order.

use cni::env::Attachment;
use cni::plugin::Call;
use cni::{CniError, Code, Version};
use node::deadline::Deadline;

use super::sandbox::{DelegateRef, Sandbox};
use crate::conf::Conf;
use crate::error::Error;
use crate::record;
use crate::request::pod::pod_of_del;

/// Checks the recorded networks. One with a `cniVersion` before 0.4.0 is skipped, because CHECK came with 0.4.0.
pub(crate) fn check(
    conf: &Conf,
    attachment: &Attachment,
    call: &Call,
    deadline: Deadline,
) -> Result<(), Error> {
    let Attachment { container_id, if_name, .. } = attachment;
    let record = record::read(&conf.cni_dir, container_id, if_name)?.ok_or_else(|| {
        CniError::new(
            Code::UnknownContainer,
            format!("sandbox {container_id} has no record in {}: it is not attached", conf.cni_dir.display()),
        )
    })?;
    let pod = pod_of_del(&call.args);
    let netns = attachment.netns.to_string_lossy();
    let sandbox = Sandbox::new(conf, container_id, &netns, pod.as_ref(), &call.args);
    // Antrea's agent attaches some networks by itself; another program may have recorded them.
    let ours = record.delegates.iter().filter(|recorded| recorded.network.antrea_network_type().is_none());
    for recorded in ours.filter(|recorded| recorded.network.list.cni_version >= Version::V0_4_0) {
        let failed =
            |e: CniError| e.context(sandbox.prefix(&recorded.network.list, "error checking network"));
        sandbox.chain(DelegateRef::from(recorded), &sandbox.args, deadline).check().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
