//! How far the first round is: counted anew when vaults come or go, and by what a listing changed when one has ended, so that
//! the first round of a thousand vaults does not look at a million. Of a vault that several sources see, who speaks may
//! have changed: then all are counted.
//!
//! All of it inside the watch's own lock, so that an older count never overwrites a newer one.

use std::sync::Arc;

use super::Shared;
use super::record::{Record, Standing};
use super::status::Progress;

/// What one vault adds to the count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    listed: bool,
    failed: bool,
    /// It has given a listing, or refused one itself. That a value was read is noted when it is.
    reached: bool,
    secrets: usize,
}

impl Counted {
    /// `speaks`: its secrets are not another entry's to tell of.
    fn of(standing: &Standing, speaks: bool) -> Self {
        let listed = standing.known.as_ref().is_some_and(|known| known.whole);
        let failed = !listed && standing.failure.is_some();
        let refused = standing.failure.as_ref().is_some_and(|error| error.kind().is_authoritative());
        Self { listed, failed, reached: listed || refused, secrets: if speaks { standing.secrets() } else { 0 } }
    }
}

/// Where the first round is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stage {
    /// Every source has finished its first round of discovery.
    pub(super) discovered: bool,
    /// And every vault was listed, or failed to be.
    pub(super) listed: bool,
}

impl Progress {
    fn add(&mut self, vault: Counted) {
        self.listed += usize::from(vault.listed);
        self.failed += usize::from(vault.failed);
        self.reached |= vault.reached;
        self.secrets += vault.secrets;
    }

    /// That one was reached stays true.
    fn take_away(&mut self, vault: Counted) {
        self.listed -= usize::from(vault.listed);
        self.failed -= usize::from(vault.failed);
        self.secrets -= vault.secrets;
    }

    fn stage(&self) -> Stage {
        let listed = self.discovery_done && self.listed + self.failed >= self.vaults;
        Stage { discovered: self.discovery_done, listed }
    }
}

impl Shared {
    /// A value was read.
    pub(super) fn note_reached(&self) {
        if !self.progress.borrow().reached {
            self.progress.send_if_modified(|progress| !std::mem::replace(&mut progress.reached, true));
        }
    }

    /// Counts all vaults anew.
    pub(super) fn count_progress(&self) {
        self.progress.send_if_modified(|progress| {
            let directory = self.directory.load();
            let mut now = Progress {
                discovery_done: directory.undone.is_empty(),
                vaults: directory.live.len(),
                listed: 0,
                failed: 0,
                secrets: 0,
                recalled: progress.recalled,
                reached: progress.reached || directory.is_known_to_be_empty(),
                explored: progress.explored,
            };
            let speaking = directory.speaking(|_| true, &self.options);
            for (entry, speaks) in directory.live.iter().zip(speaking) {
                let counted = Counted::of(&entry.record.glance(), speaks);
                entry.record.count(Some(counted));
                now.add(counted);
            }
            self.conclude(progress, now)
        });
    }

    /// The progress is that now; whether it was not.
    fn conclude(&self, progress: &mut Progress, mut now: Progress) -> bool {
        let stage = now.stage();
        now.explored |= stage.listed;
        self.stage.send_if_modified(|before| std::mem::replace(before, stage) != stage);
        std::mem::replace(progress, now) != now
    }

    /// Counts what a listing of that vault has changed.
    pub(super) fn count_listing(&self, record: &Arc<Record>) {
        let mut shared = false;
        self.progress.send_if_modified(|progress| {
            match self.directory.load().is_shared(record) {
                Some(false) => {}
                Some(true) => {
                    shared = true;
                    return false;
                }
                // It has left, and so its count has, or will have.
                None => return false,
            }
            // Without one, it is yet to be counted with all.
            let Some(before) = record.count(None) else { return false };
            let counted = Counted::of(&record.glance(), true);
            record.count(Some(counted));
            let mut now = *progress;
            now.take_away(before);
            now.add(counted);
            self.conclude(progress, now)
        });
        if shared {
            // Another entry may speak for the vault now.
            self.count_progress();
        }
    }
}
