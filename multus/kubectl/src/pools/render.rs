//! Pools as text.

use k8s_openapi::jiff::Timestamp;
use multus::explain::Page;

use super::model::{HeldBy, PoolUse, Window};
use crate::age::age;
use crate::options::Holders;

/// What is shown for the pool of claims without one.
const NO_POOL: &str = "(no pool)";

/// The text for a person. `now` is for ages.
pub fn render(pools: &[PoolUse], holders: Holders, now: Timestamp) -> String {
    let mut page = Page::default();
    if pools.is_empty() {
        page.line("no pools: whereabouts has given no address yet");
        return page.into_text();
    }
    let rows: Vec<[String; 7]> = pools.iter().map(cells).collect();
    page.table(["POOL", "RANGE", "WINDOW", "SIZE", "USED", "FREE", "NETWORKS"], &rows);
    let unclaimed: usize = pools.iter().map(|pool| pool.unclaimed).sum();
    if unclaimed > 0 {
        page.space();
        page.paragraph("", &format!("Addresses that only an IPPool has, where Whereabouts wrote them: {unclaimed}. The leader makes a claim of each; if they stay, no whereabouts-daemon leads."));
    }
    if holders == Holders::Listed {
        let held = pools.iter().filter(|pool| !pool.holders.is_empty());
        held.for_each(|pool| list(&mut page, pool, now));
    }
    page.into_text()
}

fn shown_name(pool: &PoolUse) -> String {
    let name = if pool.name.is_empty() { NO_POOL } else { &pool.name };
    format!("{}/{name}", pool.namespace)
}

fn cells(pool: &PoolUse) -> [String; 7] {
    let of = |value: fn(&Window) -> String| pool.window.as_ref().map(value).unwrap_or_default();
    [
        shown_name(pool),
        pool.range.clone(),
        of(|window| format!("{} to {}", window.first, window.last)),
        of(|window| window.size.clone()),
        pool.used.to_string(),
        of(|window| window.free.clone()),
        pool.networks.join(","),
    ]
}

fn list(page: &mut Page, pool: &PoolUse, now: Timestamp) {
    page.space();
    page.line(&format!("{}:", shown_name(pool)));
    let rows: Vec<[String; 5]> = pool
        .holders
        .iter()
        .map(|holder| {
            let pod =
                if holder.pod.is_empty() { "(kept free by hand)".to_owned() } else { holder.pod.clone() };
            let since = match holder.held_by {
                HeldBy::Claim => age(holder.since, now),
                HeldBy::Entry => "no claim yet".to_owned(),
            };
            [holder.address.clone(), pod, holder.interface.clone(), holder.node.clone(), since]
        })
        .collect();
    page.table(["ADDRESS", "POD", "INTERFACE", "NODE", "AGE"], &rows);
}
