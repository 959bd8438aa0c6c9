//! Work that ends early when something else happens first.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

/// Runs `work` to its end, unless `stop` is there first: then it is dropped where it stands. If both are ready, `stop` counts.
pub(crate) async fn unless<T>(
    stop: Pin<&mut impl Future<Output = ()>>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let (mut stop, mut work) = (stop, pin!(work));
    poll_fn(|cx| match stop.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(cx).map(Some),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::unless;
    use std::future::{pending, ready};
    use std::pin::pin;

    #[tokio::test]
    async fn the_stop_counts_first() {
        assert_eq!(unless(pin!(ready(())), ready(7)).await, None);
        assert_eq!(unless(pin!(ready(())), pending::<u8>()).await, None);
        assert_eq!(unless(pin!(pending()), ready(7)).await, Some(7));
    }
}
