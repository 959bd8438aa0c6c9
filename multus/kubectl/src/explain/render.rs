//! An explanation as text.

use multus::explain::Page;

use super::asked::{Asked, NetworkState};
use super::attached::{Attached, ClaimOf, Claimed};
use super::model::Explanation;
use super::refused::Refused;

/// The text for a person.
pub fn render(explanation: &Explanation) -> String {
    let mut page = Page::default();
    let Explanation { pod, uid, node, phase, .. } = explanation;
    let on = if node.is_empty() { "no node yet".to_owned() } else { format!("node {node}") };
    page.line(&format!("pod {pod}: {phase}, {on}, UID {uid}"));
    page.space();
    if let Some(network) = &explanation.default_network {
        page.line(&format!("asked for, in place of the cluster's default network: {network}"));
        page.space();
    }
    asked(&mut page, &explanation.asked);
    attached(&mut page, &explanation.attached);
    claims(&mut page, &explanation.claims);
    if let Some(last) = &explanation.refused {
        refused(&mut page, last);
    }
    for problem in &explanation.problems {
        page.paragraph("wrong: ", &problem.message);
        page.paragraph("    to do: ", &problem.remedy);
        page.space();
    }
    for note in &explanation.notes {
        page.paragraph("note: ", note);
        page.space();
    }
    if explanation.problems.is_empty() && explanation.refused.is_none() {
        page.line("nothing is wrong");
    }
    page.into_text()
}

fn asked(page: &mut Page, asked: &[Asked]) {
    if asked.is_empty() {
        page.line("asked for: the default network only");
        page.space();
        return;
    }
    page.line("asked for, besides the default network:");
    let row = |asked: &Asked| {
        let state = match asked.state {
            NetworkState::Attached => "attached",
            NetworkState::NotAttached => "not attached",
            NetworkState::LeftToAntrea => "left to antrea-agent",
        };
        [
            asked.network.clone(),
            asked.interface.clone(),
            asked.requests.join(", "),
            asked.plugins.join(","),
            asked.masters.join(","),
            asked.ranges.join(","),
            state.to_owned(),
        ]
    };
    let rows: Vec<[String; 7]> = asked.iter().map(row).collect();
    page.table(["NETWORK", "INTERFACE", "REQUESTS", "PLUGINS", "MASTER", "RANGE", "STATE"], &rows);
    page.space();
}

fn attached(page: &mut Page, attached: &[Attached]) {
    if attached.is_empty() {
        page.line("attached, by network-status: nothing");
        page.space();
        return;
    }
    page.line("attached, by network-status:");
    let row = |entry: &Attached| {
        let network =
            if entry.default { format!("{} (default)", entry.network) } else { entry.network.clone() };
        [
            entry.interface.clone(),
            network,
            entry.ips.join(","),
            entry.mac.clone(),
            entry.mtu.clone(),
            entry.gateway.join(","),
        ]
    };
    let rows: Vec<[String; 6]> = attached.iter().map(row).collect();
    page.table(["INTERFACE", "NETWORK", "ADDRESSES", "MAC", "MTU", "GATEWAY"], &rows);
    page.space();
}

fn claims(page: &mut Page, claims: &[Claimed]) {
    if claims.is_empty() {
        return;
    }
    page.line("addresses claimed for it:");
    let row = |claim: &Claimed| {
        let age = match claim.of {
            ClaimOf::ThisPod => claim.age.clone(),
            ClaimOf::EarlierPod => format!("{} (of an earlier pod of this name)", claim.age),
        };
        [claim.address.clone(), claim.interface.clone(), claim.pool.clone(), claim.node.clone(), age]
    };
    let rows: Vec<[String; 5]> = claims.iter().map(row).collect();
    page.table(["ADDRESS", "INTERFACE", "POOL", "NODE", "AGE"], &rows);
    page.space();
}

fn refused(page: &mut Page, refused: &Refused) {
    let Refused { message, count, age, cause, remedy } = refused;
    let age = if age.is_empty() { "at an unknown time".to_owned() } else { format!("{age} ago") };
    let often = if *count > 1 { format!(", reported {count} times") } else { String::new() };
    page.line(&format!("last failed ADD ({age}{often}):"));
    page.paragraph("    ", message);
    if cause.is_empty() {
        page.paragraph(
            "    to do: ",
            "the text comes from a plugin that is not ours, or says all that is known: see its documentation",
        );
    } else {
        page.paragraph("    means: ", cause);
        page.paragraph("    to do: ", remedy);
    }
    page.space();
}
