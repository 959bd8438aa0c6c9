//! Whether a certificate is valid, and when it is renewed: functions of its times and the time of day.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// What a certificate is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It is valid and need not be renewed.
    Good,
    /// It is valid, and it is time to renew it.
    Old,
    /// It is not valid any more, or not yet.
    Useless,
}

/// At which part of its life a certificate is renewed, in thousandths. A random part for each, so that the nodes of a cluster that start together do
/// not renew together. client-go uses the same range.
pub(super) fn random_part(random: u64) -> u32 {
    700 + (random % 201) as u32
}

impl Validity {
    /// What the certificate is good for at `now`, if it is renewed at this part of its life.
    pub(super) fn worth(&self, now: Timestamp, part: u32) -> Worth {
        if now < self.from || now >= self.to {
            return Worth::Useless;
        }
        let life = Duration::try_from(self.to.duration_since(self.from)).unwrap_or_default();
        let age = Duration::try_from(now.duration_since(self.from)).unwrap_or_default();
        if age >= life / 1000 * part { Worth::Old } else { Worth::Good }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_before_it_ends() {
        let at = |time: &str| format!("2026-11-29T{time}Z").parse::<Timestamp>().unwrap();
        let validity = Validity { from: at("10:00:00"), to: at("20:00:00") };
        for (time, worth) in [
            ("09:59:59", Worth::Useless),
            ("10:00:00", Worth::Good),
            ("16:59:59", Worth::Good),
            ("17:00:00", Worth::Old),
            ("19:59:59", Worth::Old),
            ("20:00:00", Worth::Useless),
        ] {
            assert_eq!(validity.worth(at(time), 700), worth, "{time}");
        }
        assert_eq!(validity.worth(at("18:59:59"), 900), Worth::Good);
        assert_eq!((0..1000).map(random_part).min(), Some(700));
        assert_eq!((0..1000).map(random_part).max(), Some(900));
    }
}
