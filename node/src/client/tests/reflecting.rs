use std::time::Duration;

use futures::StreamExt as _;

use super::script::{Answer, Piece, error_event, event, line, object, ok, page, refuse, scripted};
use super::{Change, MetadataOnly, Parts, Selection, pods, reflect};
use crate::entropy::replay;

/// A reflection's changes, its requests, and when it sent them.
struct Run {
    changes: Vec<String>,
    requests: Vec<String>,
    at: Vec<u128>,
    timeouts: Vec<u64>,
}

/// Runs until the service has no more responses, for at most a simulated hour.
async fn run(answers: Vec<Answer>) -> Run {
    replay(1);
    let wanted = answers.len() + 1;
    let (client, script) = scripted(answers).await;
    let selection = Selection::all(Parts::Metadata);
    let mut stream = Box::pin(reflect::<MetadataOnly>(client, pods(), selection));
    let mut changes = Vec::new();
    let name = |object: MetadataOnly| object.metadata.name.unwrap();
    while script.received().len() < wanted {
        let change = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
        changes.extend(change.ok().flatten().map(|change| match change.map(name) {
            Change::Restarted => "[".to_owned(),
            Change::Put(name) => format!("+{name}"),
            Change::Gone(name) => format!("-{name}"),
            Change::Synced => "]".to_owned(),
        }));
        assert!(script.received().iter().all(|received| received.at < 3_600_000), "{:?}", script.summaries());
    }
    let received = script.received();
    assert!(received.iter().all(|received| received.accept.contains("as=PartialObjectMetadata")));
    Run {
        changes,
        requests: script.summaries(),
        at: received.iter().map(|received| received.at).collect(),
        timeouts: received
            .iter()
            .filter_map(|received| received.param("timeoutSeconds")?.parse().ok())
            .collect(),
    }
}

fn gaps(at: &[u128]) -> Vec<u128> {
    at.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reflection_is_all_pages_and_then_the_events() {
    let run = run(vec![
        page(&["a", "b"], Err("t1")),
        page(&["c"], Err("t2")),
        page(&[], Ok("5")),
        ok(vec![event("ADDED", "d", "6"), event("MODIFIED", "a", "7"), event("DELETED", "b", "8")]),
    ])
    .await;
    assert_eq!(run.changes, ["[", "+a", "+b", "+c", "]", "+d", "+a", "-b"]);
    assert_eq!(run.requests, ["list", "list@t1", "list@t2", "watch@5", "watch@8"]);
    assert!(run.timeouts.iter().all(|seconds| (280..=290).contains(seconds)), "{:?}", run.timeouts);
}

#[tokio::test(start_paused = true)]
async fn the_first_list_requests_the_latest_in_pages_of_500() {
    let (client, script) = scripted(vec![page(&[], Ok("5"))]).await;
    let selection =
        Selection { labels: Some("a=b".to_owned()), fields: Some("c=d".to_owned()), parts: Parts::Whole };
    let changes = reflect::<MetadataOnly>(client, pods(), selection);
    assert_eq!(changes.take(2).collect::<Vec<_>>().await, [Change::Restarted, Change::Synced]);
    let received = script.received().remove(0);
    assert_eq!((received.param("limit"), received.param("resourceVersion")), (Some("500"), None));
    assert_eq!(
        (received.param("labelSelector"), received.param("fieldSelector")),
        (Some("a%3Db"), Some("c%3Dd"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_next_watch_begins_after_the_last_event_or_bookmark() {
    let bookmark = || Piece::Text(line("BOOKMARK", &object("", "20")));
    let quiet = Piece::Wait(Duration::from_secs(2));
    let run = run(vec![
        page(&["a"], Ok("5")),
        ok(vec![event("ADDED", "b", "6"), bookmark()]),
        ok(vec![quiet]),
        ok(vec![event("ADDED", "c", "30")]),
    ])
    .await;
    assert_eq!(run.changes, ["[", "+a", "]", "+b", "+c"]);
    assert_eq!(run.requests, ["list", "watch@5", "watch@20", "watch@20", "watch@30"]);
    // An orderly end is no failure: no back-off.
    assert_eq!(run.at, [0, 0, 0, 2000, 2000]);
}

#[tokio::test(start_paused = true)]
async fn a_410_starts_a_new_list_as_status_and_as_event() {
    for gone in [refuse(410), ok(vec![event("ADDED", "b", "6"), error_event(410)])] {
        let has_b = gone.code == 200;
        let run = run(vec![page(&["a"], Ok("5")), gone, page(&["c"], Ok("9")), ok(vec![Piece::Hang])]).await;
        let expected = if has_b {
            vec!["[", "+a", "]", "+b", "[", "+c", "]"]
        } else {
            vec!["[", "+a", "]", "[", "+c", "]"]
        };
        assert_eq!(run.changes, expected);
        assert_eq!(run.requests[..4], ["list", "watch@5", "list", "watch@9"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_restarts_the_list() {
    let run =
        run(vec![page(&["a"], Err("t1")), refuse(410), page(&["b"], Err("t2")), page(&["c"], Ok("9"))]).await;
    assert_eq!(run.changes, ["[", "+a", "[", "+b", "+c", "]"]);
    assert_eq!(run.requests, ["list", "list@t1", "list", "list@t2", "watch@9"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_fails_is_requested_again_and_the_list_goes_on() {
    let run = run(vec![page(&["a"], Err("t1")), refuse(503), page(&["b"], Ok("9"))]).await;
    assert_eq!(run.changes, ["[", "+a", "+b", "]"]);
    assert_eq!(run.requests, ["list", "list@t1", "list@t1", "watch@9"]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_loses_no_event() {
    let next = line("ADDED", &object("c", "7"));
    let half = Piece::Text(next[..next.len() - 3].to_owned());
    let run = run(vec![
        page(&["a"], Ok("5")),
        ok(vec![event("ADDED", "b", "6"), half, Piece::Break]),
        ok(vec![Piece::Text(next), event("ADDED", "d", "8")]),
    ])
    .await;
    assert_eq!(run.changes, ["[", "+a", "]", "+b", "+c", "+d"]);
    assert_eq!(run.requests, ["list", "watch@5", "watch@6", "watch@8"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_opened_again() {
    let run = run(vec![page(&["a"], Ok("5")), ok(vec![event("ADDED", "b", "6"), Piece::Hang])]).await;
    assert_eq!(run.requests, ["list", "watch@5", "watch@6"]);
    assert!((310_000..=321_100).contains(&run.at[2]), "{:?}", run.at);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_event_starts_a_new_list() {
    let torn = Piece::Text("{\"type\":\"ADDED\",\"object\":7}\n".to_owned());
    let run = run(vec![page(&["a"], Ok("5")), ok(vec![torn]), page(&["b"], Ok("9"))]).await;
    assert_eq!(run.changes, ["[", "+a", "]", "[", "+b", "]"]);
}

#[tokio::test(start_paused = true)]
async fn the_back_off_doubles_up_to_ten_seconds() {
    let run = run(vec![refuse(500); 12]).await;
    let mut ceiling = 100;
    for gap in gaps(&run.at) {
        assert!(gap >= ceiling / 2 && gap <= ceiling + 1, "{gap} of {ceiling}: {:?}", run.at);
        ceiling = (2 * ceiling).min(10_000);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_resets_the_back_off() {
    let failing = vec![ok(vec![Piece::Break]); 6];
    let mut answers = vec![page(&["a"], Ok("5"))];
    answers.extend(failing);
    answers.push(ok(vec![event("ADDED", "b", "6"), Piece::Break]));
    let run = run(answers).await;
    let gaps = gaps(&run.at);
    assert!(gaps[6] >= 1600 && gaps[7] <= 100, "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_are_reopened_with_back_off() {
    let mut answers = vec![page(&["a"], Ok("5"))];
    answers.extend(vec![ok(vec![]); 8]);
    let run = run(answers).await;
    assert!(*run.at.last().unwrap() > 5000, "{:?}", run.at);
    assert_eq!(run.changes, ["[", "+a", "]"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_has_the_same_back_off() {
    let answers =
        || vec![refuse(500), refuse(410), page(&["a"], Ok("5")), ok(vec![Piece::Break]), refuse(503)];
    let (first, second) = (run(answers()).await, run(answers()).await);
    assert_eq!((first.at, first.timeouts), (second.at, second.timeouts));
}

#[tokio::test(start_paused = true)]
async fn a_400_for_a_token_or_version_restarts_the_list() {
    let run = run(vec![page(&["a"], Err("t1")), refuse(400), page(&["b"], Ok("5")), refuse(400)]).await;
    assert_eq!(run.requests, ["list", "list@t1", "list", "watch@5", "list"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_server_never_reaches_starts_a_new_list() {
    let mut answers = vec![page(&["a"], Ok("900"))];
    answers.extend(vec![refuse(504); 6]);
    answers.push(page(&["b"], Ok("7")));
    let run = run(answers).await;
    assert_eq!(run.requests[1..7], ["watch@900"; 6]);
    assert_eq!(run.requests[7..], ["list", "watch@7"]);
    assert_eq!(run.changes, ["[", "+a", "]", "[", "+b", "]"]);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_server_does_not_restart_the_list() {
    let mut answers = vec![page(&["a"], Ok("5"))];
    answers.extend(vec![ok(vec![Piece::Break]); 9]);
    let run = run(answers).await;
    assert_eq!(run.requests[1..], ["watch@5"; 10]);
}
