//! `kubectl multus migrate`.

use std::io::Write;

use multus::explain::json;

use super::answer::{Answer, Outcome};
use super::change_over::take;
use super::migrate_facts::facts;
use super::pace::Pace;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::migrate::{Code, Direction, Report, blocks, plan, render};
use crate::options::{Act, Format, Migrate, Options};

/// Says what would be done, or does it.
pub(super) async fn migrate(
    options: &Options,
    request: &Migrate,
    cluster: Cluster<'_>,
    pace: Pace,
    progress: &mut dyn Write,
) -> Result<Answer, Failure> {
    let accepted = accepted(&request.accepted)?;
    let pace = Pace { step: request.timeout, ..pace };
    let direction = match request.act {
        Act::Show | Act::Apply => Direction::Apply,
        Act::Back => Direction::Back,
    };
    let before = facts(cluster, pace).await?;
    let mut report = report_of(&before, direction, &request.image);
    let blocking: Vec<String> =
        report.blocking(&accepted).iter().map(|block| block.code.to_string()).collect();
    if request.act == Act::Show || report.plan.steps.is_empty() {
        let outcome = if blocking.is_empty() { Outcome::Right } else { Outcome::Wrong };
        return Ok(answer(options, &report, outcome));
    }
    if !blocking.is_empty() {
        report.fault = Some(format!(
            "nothing was changed: {} (see above); --accept goes on all the same",
            blocking.join(", ")
        ));
        return Ok(answer(options, &report, Outcome::Wrong));
    }
    let ended = take(&report.plan, &before, cluster, pace, progress).await?;
    let outcome = if ended.fault.is_some() { Outcome::Wrong } else { Outcome::Right };
    // What is there now; who lost the API server meanwhile still learns what was done.
    if let Ok(after) = facts(cluster, pace).await {
        report = report_of(&after, direction, &request.image);
    }
    (report.done, report.fault) = (ended.done, ended.fault);
    Ok(answer(options, &report, outcome))
}

fn report_of(facts: &crate::migrate::Facts, direction: Direction, image: &str) -> Report {
    let chosen = plan(facts, direction, image);
    let found = blocks(facts, &chosen, image);
    Report::of(facts, chosen, plan(facts, Direction::Back, image), found)
}

fn accepted(texts: &[String]) -> Result<Vec<Code>, Failure> {
    let code = |text: &String| Code::of(text).ok_or_else(|| Failure::UnknownCode { code: text.clone() });
    texts.iter().map(code).collect()
}

fn answer(options: &Options, report: &Report, outcome: Outcome) -> Answer {
    let text = match options.format {
        Format::Table => render(report),
        Format::Json => json(report),
    };
    Answer { text, outcome }
}
