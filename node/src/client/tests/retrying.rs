use std::cell::Cell;
use std::time::Duration;

use super::super::error::without_response;
use super::{ApiError, Cause, Deadline, OnUnknown, RequestName, RetryPolicy, Verb, pool, retry};

const MS: Duration = Duration::from_millis(1);

fn failure(verb: Verb, cause: Cause, after: Option<Duration>) -> ApiError {
    without_response(Box::new(RequestName::of_object(verb, &pool())), after, cause)
}

fn busy(after: Option<Duration>) -> ApiError {
    failure(Verb::Create, Cause::Status { code: 429, message: String::new() }, after)
}

fn unknown() -> ApiError {
    failure(Verb::Create, Cause::TimedOut(MS), None)
}

#[test]
fn waits_double_up_to_the_longest_with_jitter() {
    let policy = RetryPolicy::new(OnUnknown::Stop);
    let shortest = |n| policy.delay(&busy(None), n, 0).unwrap();
    let longest = |n| policy.delay(&busy(None), n, 1023).unwrap();
    assert_eq!((shortest(0), shortest(1), shortest(2)), (25 * MS, 50 * MS, 100 * MS));
    assert!(longest(0) > 49 * MS && longest(0) <= 50 * MS, "{:?}", longest(0));
    assert_eq!(shortest(40), 1000 * MS);
    assert!(longest(u32::MAX) <= 2000 * MS);
}

#[test]
fn retry_after_is_a_minimum() {
    let policy = RetryPolicy::new(OnUnknown::Stop);
    let delay = policy.delay(&busy(Some(3000 * MS)), 0, 512).unwrap();
    assert!(delay >= 3000 * MS && delay <= 3050 * MS, "{delay:?}");
}

#[test]
fn an_unknown_outcome_is_repeated_only_if_the_policy_says_so() {
    assert_eq!(RetryPolicy::new(OnUnknown::Stop).delay(&unknown(), 0, 0), None);
    assert!(RetryPolicy::new(OnUnknown::Repeat).delay(&unknown(), 0, 0).is_some());
    let conflict = ApiError::Conflict {
        request: Box::new(RequestName::of_object(Verb::Update, &pool())),
        message: String::new(),
    };
    assert_eq!(RetryPolicy::new(OnUnknown::Repeat).delay(&conflict, 0, 0), None);
}

#[tokio::test(start_paused = true)]
async fn retry_repeats_until_success() {
    let tries = Cell::new(0);
    let started = tokio::time::Instant::now();
    let deadline = Deadline::after(Duration::from_secs(60));
    let result = retry(deadline, RetryPolicy::new(OnUnknown::Stop), || {
        tries.set(tries.get() + 1);
        let done = tries.get() == 4;
        async move { if done { Ok("done") } else { Err(busy(Some(Duration::from_secs(1)))) } }
    })
    .await;
    assert_eq!((result.unwrap(), tries.get()), ("done", 4));
    assert!(started.elapsed() >= Duration::from_secs(3), "Retry-After was not honoured");
}

#[tokio::test(start_paused = true)]
async fn retry_stops_when_the_next_wait_would_pass_the_deadline() {
    let tries = Cell::new(0);
    let deadline = Deadline::after(Duration::from_secs(5));
    let result: Result<(), _> = retry(deadline, RetryPolicy::new(OnUnknown::Stop), || {
        tries.set(tries.get() + 1);
        assert!(tries.get() < 9, "retry does not stop");
        async { Err(busy(Some(Duration::from_secs(60)))) }
    })
    .await;
    assert!(matches!(result, Err(ApiError::Retryable { .. })));
    assert_eq!(tries.get(), 1);
}

#[tokio::test]
async fn retry_does_not_repeat_a_final_error() {
    let tries = Cell::new(0);
    let result: Result<(), _> =
        retry(Deadline::after(Duration::from_secs(5)), RetryPolicy::new(OnUnknown::Stop), || {
            tries.set(tries.get() + 1);
            async { Err(unknown()) }
        })
        .await;
    assert!(matches!(result, Err(ApiError::OutcomeUnknown { .. })));
    assert_eq!(tries.get(), 1);
}
