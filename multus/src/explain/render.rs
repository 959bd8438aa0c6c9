//! What a node knows about a pod, as text.

use super::page::Page;
use super::sandboxes::{Left, Network, OnNode, Plugin, Sandbox, State};

/// The text for a person.
pub(super) fn render(found: &OnNode) -> String {
    let mut page = Page::default();
    if found.sandboxes.is_empty() && found.left.is_empty() {
        page.paragraph(
            "",
            &format!("pod {}: this node has no record of it. It runs on another node, its networks are deleted, or multus did not run for it.", found.pod),
        );
    }
    found.sandboxes.iter().for_each(|sandbox| add_sandbox(&mut page, &found.pod, sandbox));
    found.left.iter().for_each(|left| add_left(&mut page, &found.pod, left));
    for file in &found.unreadable {
        page.paragraph("cannot be read, and may be of this pod: ", file);
    }
    page.into_text()
}

fn add_sandbox(page: &mut Page, pod: &str, sandbox: &Sandbox) {
    let uid = if sandbox.pod_uid.is_empty() { "unknown" } else { &sandbox.pod_uid };
    page.line(&format!("pod {pod}, UID {uid}, container {}", sandbox.container_id));
    if let Some(seconds) = sandbox.first_del_seconds_ago {
        page.paragraph("    ", &format!("it is being deleted: its first DEL was {seconds} s ago, and some plugins have not succeeded since"));
    }
    let row = |network: &Network| {
        let plugins: Vec<String> = network.plugins.iter().map(shown).collect();
        [
            network.interface.clone(),
            network.network.clone(),
            network.addresses.join(","),
            network.mac.clone(),
            plugins.join(", "),
        ]
    };
    let rows: Vec<[String; 5]> = sandbox.networks.iter().map(row).collect();
    page.table(["INTERFACE", "NETWORK", "ADDRESSES", "MAC", "PLUGINS"], &rows);
    for network in &sandbox.networks {
        for plugin in network.plugins.iter().filter(|plugin| plugin.state == State::Refused) {
            page.paragraph(
                &format!("refused by {} on {}: ", plugin.plugin, network.interface),
                &plugin.error,
            );
        }
    }
    page.space();
}

fn shown(plugin: &Plugin) -> String {
    let state = match plugin.state {
        State::Done => "done",
        State::Refused => "refused",
        State::Begun => "begun, end unknown",
        State::NotBegun => "not begun",
        State::Unknown => "perhaps begun",
        State::Deleted => "deleted",
    };
    format!("{} ({state})", plugin.plugin)
}

fn add_left(page: &mut Page, pod: &str, left: &Left) {
    let Left { container_id, network, interface, plugins, reason } = left;
    page.line(&format!("pod {pod}, container {container_id}: deleted, but something may be left"));
    page.paragraph("    ", &format!("{network} on {interface}, plugins {}: {reason}", plugins.join(", ")));
    page.paragraph(
        "    to do: ",
        "remove the cause; the next DEL on this node tries again, and removes the tombstone when it succeeds",
    );
    page.space();
}
