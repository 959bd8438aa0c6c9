use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};

use super::script::{Piece, Scripted, error_event, event, line, object, ok, page, refuse, scripted};
use super::{
    ApiError, Cause, Deadline, Freshness, ListPage, ListQuery, MetadataOnly, ObjectList, Parts, pods, soon,
};
use crate::client::watch::{Versioned, WatchEvent, WatchQuery};

const SECOND: Duration = Duration::from_secs(1);

fn query() -> WatchQuery {
    WatchQuery {
        labels: None,
        fields: None,
        parts: Parts::Whole,
        resource_version: "5".to_owned(),
        duration: 290 * SECOND,
        silence: 320 * SECOND,
    }
}

type Item = Result<Versioned<Value>, ApiError>;

/// All items of a watch with this response.
async fn watched(response: Scripted) -> Vec<Item> {
    let (client, _) = scripted(vec![response]).await;
    let changes = client.watch::<Value>(&pods(), &query(), soon()).await.unwrap();
    tokio::time::timeout(1000 * SECOND, changes.collect()).await.expect("the watch ends")
}

/// The items in short: `+name`, `-name`, `@version` of a bookmark, or the variant of the error.
fn short(items: &[Item]) -> Vec<String> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    let one = |item: &Item| match item {
        Ok(Versioned { event: WatchEvent::Put(object), .. }) => format!("+{}", name(object)),
        Ok(Versioned { event: WatchEvent::Gone(object), .. }) => format!("-{}", name(object)),
        Ok(Versioned { event: WatchEvent::Bookmark, version }) => format!("@{version}"),
        Err(error) => format!("{error:?}").split([' ', '{']).next().unwrap().to_owned(),
    };
    items.iter().map(one).collect()
}

fn some() -> String {
    [
        line("ADDED", &object("a", "6")),
        line("MODIFIED", &object("a\u{f6}", "7")),
        line("BOOKMARK", &json!({"metadata": {"resourceVersion": "8", "creationTimestamp": null}})),
        line("DELETED", &object("c", "9")),
    ]
    .concat()
}

#[tokio::test(start_paused = true)]
async fn a_watch_requests_bookmarks_a_version_and_a_duration() {
    let (client, script) = scripted(vec![ok(vec![]), ok(vec![])]).await;
    let labelled = WatchQuery { labels: Some("a=b".to_owned()), fields: Some("c=d".to_owned()), ..query() };
    drop(client.watch::<Value>(&pods(), &labelled, soon()).await.unwrap());
    let metadata = WatchQuery { parts: Parts::Metadata, ..query() };
    drop(client.watch::<MetadataOnly>(&pods(), &metadata, soon()).await.unwrap());
    let requests = script.requests();
    assert!(requests[0].url.starts_with("/api/v1/namespaces/default/pods?"), "{}", requests[0].url);
    let expected = [
        ("watch", "true"),
        ("resourceVersion", "5"),
        ("timeoutSeconds", "290"),
        ("allowWatchBookmarks", "true"),
        ("labelSelector", "a%3Db"),
        ("fieldSelector", "c%3Dd"),
    ];
    for (name, value) in expected {
        assert_eq!(requests[0].param(name), Some(value), "{name} in {}", requests[0].url);
    }
    assert_eq!(requests[0].accept, "");
    assert_eq!(requests[1].accept, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
}

#[tokio::test(start_paused = true)]
async fn events_do_not_depend_on_the_size_of_the_pieces() {
    let characters: Vec<char> = some().chars().collect();
    for size in [1, 2, 7, 50, 1000] {
        let pieces = characters.chunks(size).map(|piece| Piece::Text(piece.iter().collect())).collect();
        assert_eq!(short(&watched(ok(pieces)).await), ["+a", "+a\u{f6}", "@8", "-c"], "in pieces of {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_rejected_has_the_error_of_its_status() {
    for (code, expected) in [(410, "Gone"), (403, "Denied"), (503, "Retryable"), (400, "Invalid")] {
        let (client, _) = scripted(vec![refuse(code)]).await;
        let refused = client.watch::<Value>(&pods(), &query(), soon()).await.map(drop);
        let error = format!("{:?}", refused.unwrap_err());
        assert!(error.starts_with(expected) && error.contains("the server's message"), "{code}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_response_times_out_at_the_deadline() {
    let (client, _) = scripted(vec![]).await;
    let soon = Deadline::after(3 * SECOND);
    let error = client.watch::<Value>(&pods(), &query(), soon).await.map(drop).unwrap_err();
    assert!(
        matches!(&error, ApiError::Retryable { cause: Cause::TimedOut(t), .. } if *t == 3 * SECOND),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_event_ends_the_watch() {
    let items = watched(ok(vec![event("ADDED", "a", "6"), error_event(410), event("ADDED", "b", "7")])).await;
    assert_eq!(short(&items), ["+a", "Gone"]);
    let items = watched(ok(vec![error_event(500)])).await;
    let error = items[0].as_ref().unwrap_err();
    assert!(
        matches!(error, ApiError::Retryable { cause: Cause::Status { code: 500, message }, .. } if message == "the server's message"),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_line_at_the_end_is_an_error_and_not_an_event() {
    let whole = line("ADDED", &object("b", "7"));
    let half = Piece::Text(whole[..whole.len() / 2].to_owned());
    let unended = Piece::Text(whole.trim_end().to_owned());
    let first = event("ADDED", "a", "6");
    let table = [
        (vec![first.clone()], vec!["+a"]),
        (vec![first.clone(), half.clone()], vec!["+a", "Retryable"]),
        (vec![first.clone(), unended], vec!["+a", "Retryable"]),
        (vec![first.clone(), half, Piece::Break], vec!["+a", "Retryable"]),
        (vec![first, Piece::Break], vec!["+a", "Retryable"]),
    ];
    for (pieces, expected) in table {
        assert_eq!(short(&watched(ok(pieces.clone())).await), expected, "{pieces:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_fails_and_a_slow_one_does_not() {
    let (client, _) = scripted(vec![ok(vec![
        Piece::Wait(319 * SECOND),
        event("ADDED", "a", "6"),
        Piece::Wait(319 * SECOND),
        event("ADDED", "b", "7"),
        Piece::Hang,
    ])])
    .await;
    let started = tokio::time::Instant::now();
    let items: Vec<Item> = client.watch(&pods(), &query(), soon()).await.unwrap().collect().await;
    assert_eq!(short(&items), ["+a", "+b", "Retryable"]);
    assert_eq!(started.elapsed().as_secs(), 2 * 319 + 320);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_event_is_an_error_and_not_skipped() {
    let texts = [
        "no JSON\n".to_owned(),
        "{}\n".to_owned(),
        line("RENAMED", &object("a", "6")),
        line("ADDED", &json!({"metadata": {"name": "a"}})),
        line("BOOKMARK", &json!({"metadata": {"resourceVersion": ""}})),
    ];
    for text in texts {
        let items = watched(ok(vec![Piece::Text(text.clone()), event("ADDED", "b", "7")])).await;
        assert_eq!(short(&items), ["Unreadable"], "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_without_end_is_an_error() {
    let piece = Piece::Text("x".repeat(1 << 20));
    let items = watched(ok(vec![piece; 40])).await;
    assert_eq!(short(&items), ["Unreadable"]);
}

async fn paged(client: &super::ApiClient, page: ListPage) -> ObjectList<MetadataOnly> {
    client.list_page(&pods(), &ListQuery::all(Freshness::Latest), &page, soon()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_page_has_the_token_of_the_next() {
    let (client, script) =
        scripted(vec![page(&["a"], Err("t+1")), page(&["b"], Ok("1")), page(&[], Ok("1"))]).await;
    let first = paged(&client, ListPage { limit: 2, token: None, parts: Parts::Metadata }).await;
    let token = first.metadata.continue_;
    assert_eq!(token.as_deref(), Some("t+1"));
    let second = paged(&client, ListPage { limit: 2, token, parts: Parts::Metadata }).await;
    assert_eq!((second.items[0].metadata.name.as_deref(), second.metadata.continue_), (Some("b"), None));
    let page = ListPage { limit: 2, token: Some("t".to_owned()), parts: Parts::Whole };
    let _: ObjectList<Value> =
        client.list_page(&pods(), &ListQuery::all(Freshness::Cached), &page, soon()).await.unwrap();

    let requests = script.requests();
    assert_eq!((requests[0].param("limit"), requests[0].param("continue")), (Some("2"), None));
    assert_eq!((requests[1].param("limit"), requests[1].param("continue")), (Some("2"), Some("t%2B1")));
    assert!(requests.iter().all(|request| request.param("resourceVersion").is_none()), "{requests:?}");
    assert_eq!(requests[0].accept, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    assert_eq!(requests[2].accept, "");
}
