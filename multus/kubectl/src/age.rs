//! How long ago something was, as kubectl shows it.

use k8s_openapi::jiff::Timestamp;

/// "40s", "12m", "5h", "3d"; empty without a time. A time in the future is "0s": clocks differ.
pub fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    let Some(since) = since else { return String::new() };
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_one_unit() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let of = |seconds: i64| age(Timestamp::from_second(1_000_000 - seconds).ok(), now);
        assert_eq!([0, 119, 120, 7199, 7200, 172_800].map(of), ["0s", "119s", "2m", "119m", "2h", "2d"]);
        assert_eq!((of(-5), age(None, now)), ("0s".to_owned(), String::new()));
    }
}
