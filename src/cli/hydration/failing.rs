//! What fails again and again: told once, and tried less and less often until it goes well.

use std::time::Duration;

use crate::cli::pauses::Pauses;

/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What has failed last, since it went well.
#[derive(Debug)]
pub(super) struct Failing {
    told: String,
    pauses: Pauses,
}

impl Failing {
    /// Nothing has.
    pub(super) fn new() -> Self {
        Self { told: String::new(), pauses: Pauses::between(FIRST_PAUSE, LONGEST_PAUSE) }
    }

    /// It went well, whether there was something to do or not.
    pub(super) fn not_any_more(&mut self) {
        self.told.clear();
        self.pauses.begin_anew();
    }

    /// It has failed for this reason: what is new of it, to be told, and for how long to leave it.
    pub(super) fn so(&mut self, why: String) -> (Option<String>, Duration) {
        let news = (why != self.told).then(|| why.clone());
        self.told = why;
        (news, self.pauses.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_once_and_tried_less_often_until_it_goes_well() {
        let mut failing = Failing::new();
        let mut told = Vec::new();
        for why in ["denied", "denied", "gone", "gone", "denied", "denied"] {
            told.extend(failing.so(why.to_owned()).0);
        }
        assert_eq!(told, ["denied", "gone", "denied"]);
        assert!(failing.so("denied".to_owned()).1 > FIRST_PAUSE);
        failing.not_any_more();
        let (news, pause) = failing.so("denied".to_owned());
        assert!(news.is_some() && pause <= FIRST_PAUSE, "{news:?} {pause:?}");
    }
}
