//! A clock for each node. All processes of a run are tasks of one thread, so the clock is set before each poll of a task.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use k8s_openapi::jiff::SignedDuration;

/// Work whose code sees a clock that is wrong by `offset`.
pub struct OnClock<'a, T> {
    offset: SignedDuration,
    work: BoxFuture<'a, T>,
}

impl<'a, T> OnClock<'a, T> {
    /// The work, by this clock.
    pub fn new(offset: SignedDuration, work: impl Future<Output = T> + Send + 'a) -> Self {
        OnClock { offset, work: Box::pin(work) }
    }
}

impl<T> Future for OnClock<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let outer = node::clock::set_offset(self.offset);
        let polled = self.work.as_mut().poll(cx);
        node::clock::set_offset(outer);
        polled
    }
}
