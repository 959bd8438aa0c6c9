use std::time::Duration;

use futures::StreamExt as _;

use super::script::{Piece, Scripted, error_event, event, line, object, ok, page, refuse, scripted};
use super::{Change, MetadataOnly, Parts, Selection, pods, reflect, reflect_while_allowed};

/// The items of a stream, its requests, and their times in ms.
struct Run {
    items: Vec<String>,
    requests: Vec<String>,
    at: Vec<u128>,
    timeouts: Vec<u64>,
}

/// Runs until the server has no more responses, for at most a simulated hour.
async fn run(responses: Vec<Scripted>) -> Run {
    fastrand::seed(1);
    let wanted = responses.len() + 1;
    let (client, script) = scripted(responses).await;
    let selection = Selection::all(Parts::Metadata);
    let mut changes = Box::pin(reflect::<MetadataOnly>(client, pods(), selection));
    let mut items = Vec::new();
    let name = |object: MetadataOnly| object.metadata.name.unwrap();
    while script.requests().len() < wanted {
        let change = tokio::time::timeout(Duration::from_secs(10), changes.next()).await;
        items.extend(change.ok().flatten().map(|change| match change.map(name) {
            Change::Restarted => "[".to_owned(),
            Change::Put(name) => format!("+{name}"),
            Change::Gone(name) => format!("-{name}"),
            Change::Synced => "]".to_owned(),
        }));
        assert!(script.requests().iter().all(|request| request.at < 3_600_000), "{:?}", script.whats());
    }
    let requests = script.requests();
    assert!(requests.iter().all(|request| request.accept.contains("as=PartialObjectMetadata")));
    Run {
        items,
        requests: script.whats(),
        at: requests.iter().map(|request| request.at).collect(),
        timeouts: requests
            .iter()
            .filter_map(|request| request.param("timeoutSeconds")?.parse().ok())
            .collect(),
    }
}

fn gaps(at: &[u128]) -> Vec<u128> {
    at.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn the_objects_of_all_pages_come_before_the_changes() {
    let run = run(vec![
        page(&["a", "b"], Err("t1")),
        page(&["c"], Err("t2")),
        page(&[], Ok("5")),
        ok(vec![event("ADDED", "d", "6"), event("MODIFIED", "a", "7"), event("DELETED", "b", "8")]),
    ])
    .await;
    assert_eq!(run.items, ["[", "+a", "+b", "+c", "]", "+d", "+a", "-b"]);
    assert_eq!(run.requests, ["list", "list@t1", "list@t2", "watch@5", "watch@8"]);
    assert!(run.timeouts.iter().all(|seconds| (280..=290).contains(seconds)), "{:?}", run.timeouts);
}

#[tokio::test(start_paused = true)]
async fn the_first_list_requests_the_latest_objects_in_pages_of_500() {
    let (client, script) = scripted(vec![page(&[], Ok("5"))]).await;
    let selection =
        Selection { labels: Some("a=b".to_owned()), fields: Some("c=d".to_owned()), parts: Parts::Whole };
    let changes = reflect::<MetadataOnly>(client, pods(), selection);
    assert_eq!(changes.take(2).collect::<Vec<_>>().await, [Change::Restarted, Change::Synced]);
    let request = script.requests().remove(0);
    assert_eq!((request.param("limit"), request.param("resourceVersion")), (Some("500"), None));
    assert_eq!(
        (request.param("labelSelector"), request.param("fieldSelector")),
        (Some("a%3Db"), Some("c%3Dd"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_watch_continues_after_the_last_event_or_bookmark() {
    let bookmark = || Piece::Text(line("BOOKMARK", &object("", "20")));
    let quiet = Piece::Wait(Duration::from_secs(2));
    let run = run(vec![
        page(&["a"], Ok("5")),
        ok(vec![event("ADDED", "b", "6"), bookmark()]),
        ok(vec![quiet]),
        ok(vec![event("ADDED", "c", "30")]),
    ])
    .await;
    assert_eq!(run.items, ["[", "+a", "]", "+b", "+c"]);
    assert_eq!(run.requests, ["list", "watch@5", "watch@20", "watch@20", "watch@30"]);
    // The end of a watch is not a failure: there is no back-off.
    assert_eq!(run.at, [0, 0, 0, 2000, 2000]);
}

#[tokio::test(start_paused = true)]
async fn a_410_status_or_event_starts_a_new_list() {
    for gone in [refuse(410), ok(vec![event("ADDED", "b", "6"), error_event(410)])] {
        let has_event = gone.code == 200;
        let run = run(vec![page(&["a"], Ok("5")), gone, page(&["c"], Ok("9")), ok(vec![Piece::Hang])]).await;
        let expected = if has_event {
            vec!["[", "+a", "]", "+b", "[", "+c", "]"]
        } else {
            vec!["[", "+a", "]", "[", "+c", "]"]
        };
        assert_eq!(run.items, expected);
        assert_eq!(run.requests[..4], ["list", "watch@5", "list", "watch@9"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expired_starts_a_new_list() {
    let run =
        run(vec![page(&["a"], Err("t1")), refuse(410), page(&["b"], Err("t2")), page(&["c"], Ok("9"))]).await;
    assert_eq!(run.items, ["[", "+a", "[", "+b", "+c", "]"]);
    assert_eq!(run.requests, ["list", "list@t1", "list", "list@t2", "watch@9"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_fails_is_requested_again() {
    let run = run(vec![page(&["a"], Err("t1")), refuse(503), page(&["b"], Ok("9"))]).await;
    assert_eq!(run.items, ["[", "+a", "+b", "]"]);
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
    assert_eq!(run.items, ["[", "+a", "]", "+b", "+c", "+d"]);
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
    assert_eq!(run.items, ["[", "+a", "]", "[", "+b", "]"]);
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
    let mut responses = vec![page(&["a"], Ok("5"))];
    responses.extend(failing);
    responses.push(ok(vec![event("ADDED", "b", "6"), Piece::Break]));
    let run = run(responses).await;
    let gaps = gaps(&run.at);
    assert!(gaps[6] >= 1600 && gaps[7] <= 100, "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_back_off() {
    let mut responses = vec![page(&["a"], Ok("5"))];
    responses.extend(vec![ok(vec![]); 8]);
    let run = run(responses).await;
    assert!(*run.at.last().unwrap() > 5000, "{:?}", run.at);
    assert_eq!(run.items, ["[", "+a", "]"]);
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_the_waits() {
    let responses =
        || vec![refuse(500), refuse(410), page(&["a"], Ok("5")), ok(vec![Piece::Break]), refuse(503)];
    let (first, second) = (run(responses()).await, run(responses()).await);
    assert_eq!((first.at, first.timeouts), (second.at, second.timeouts));
}

#[tokio::test(start_paused = true)]
async fn a_400_for_a_token_or_version_starts_a_new_list() {
    let run = run(vec![page(&["a"], Err("t1")), refuse(400), page(&["b"], Ok("5")), refuse(400)]).await;
    assert_eq!(run.requests, ["list", "list@t1", "list", "watch@5", "list"]);
}

#[tokio::test(start_paused = true)]
async fn six_server_errors_for_one_version_start_a_new_list() {
    let mut responses = vec![page(&["a"], Ok("900"))];
    responses.extend(vec![refuse(504); 6]);
    responses.push(page(&["b"], Ok("7")));
    let run = run(responses).await;
    assert_eq!(run.requests[1..7], ["watch@900"; 6]);
    assert_eq!(run.requests[7..], ["list", "watch@7"]);
    assert_eq!(run.items, ["[", "+a", "]", "[", "+b", "]"]);
}

#[tokio::test(start_paused = true)]
async fn broken_connections_do_not_start_a_new_list() {
    let mut responses = vec![page(&["a"], Ok("5"))];
    responses.extend(vec![ok(vec![Piece::Break]); 9]);
    let run = run(responses).await;
    assert_eq!(run.requests[1..], ["watch@5"; 10]);
}

/// The kinds of changes until the stream ends, and the requests.
async fn while_allowed(responses: Vec<Scripted>) -> (Vec<&'static str>, Vec<String>) {
    let (client, script) = scripted(responses).await;
    let changes = reflect_while_allowed::<MetadataOnly>(client, pods(), Selection::all(Parts::Metadata));
    let kind = |change: Change<MetadataOnly>| match change {
        Change::Restarted => "[",
        Change::Put(_) => "+",
        Change::Gone(_) => "-",
        Change::Synced => "]",
    };
    (changes.map(kind).collect().await, script.whats())
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_list_or_watch_ends_the_stream_of_one_who_can_do_without() {
    let (changes, requests) = while_allowed(vec![refuse(403)]).await;
    assert_eq!((changes.len(), requests.as_slice()), (0, &["list".to_owned()][..]));
    let responses = vec![refuse(401), page(&["a"], Ok("5")), refuse(503), ok(vec![]), refuse(403)];
    let (changes, requests) = while_allowed(responses).await;
    assert_eq!(changes, ["[", "+", "]"]);
    assert_eq!(requests, ["list", "list", "watch@5", "watch@5", "watch@5"]);
}
