//! CHECK: every recorded network, in order.

use cni::env::Attachment;
use cni::plugin::Call;
use cni::{CniError, Code, Version};
use node::deadline::Deadline;

use crate::conf::Conf;
use crate::error::Error;
use crate::pod::PodRef;
use crate::record;
use crate::sandbox::{Part, Sandbox};

/// Checks what was attached. A network of a version before 0.4.0 has no CHECK and is passed over.
pub fn check(conf: &Conf, attachment: &Attachment, call: &Call, deadline: Deadline) -> Result<(), Error> {
    let Attachment { container_id, if_name, .. } = attachment;
    let record = record::read(&conf.cni_dir, container_id, if_name)?.ok_or_else(|| {
        CniError::new(
            Code::UnknownContainer,
            format!("no record of sandbox {container_id} in {}: it is not attached", conf.cni_dir.display()),
        )
    })?;
    let pod = PodRef::of_removal(&call.args);
    let netns = attachment.netns.to_string_lossy();
    let sandbox = Sandbox::new(conf, container_id, &netns, pod.as_ref(), &call.args);
    for recorded in record.delegates.iter().filter(|r| r.network.list.cni_version >= Version::V0_4_0) {
        let failed = |e: CniError| e.context(sandbox.about(&recorded.network.list, "error checking network"));
        sandbox.chain(Part::from(recorded), &sandbox.args, deadline).check().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
