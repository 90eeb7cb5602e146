//! F14: a restart while nothing answers, with a snapshot. The file itself is in `tests/it/snapshot` and
//! `tests/it/broker/kept`.

use super::cable::Wire;
use super::outage::{LONGEST_READ, LONGEST_RECOVERY};
use super::site::{Plan, Site};

/// A sidecar that has left `warm` of both vaults behind.
async fn left_behind() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::of(Plan { kept: Some(folder.path().to_owned()), ..Plan::default() }).await;
    site.read("alpha/warm").await.is("alpha-warm");
    site.read("beta/warm").await.is("beta-warm");
    site.live(6).await;
    // The disk takes real time.
    site.until(|| site.counted("sidekey_snapshots_total{operation=\"write\",outcome=\"ok\"}") > 0).await;
    // It is not told to stop: it is gone.
    folder
}

async fn restarted(folder: &tempfile::TempDir) -> Site {
    Site::of(Plan { kept: Some(folder.path().to_owned()), in_the_dark: true, ..Plan::default() }).await
}

#[tokio::test]
async fn a_restart_in_an_outage_serves_what_was_held_marks_it_and_becomes_fresh_by_itself() {
    for wire in [Wire::Cut, Wire::Silent] {
        // Of its own: what is read at the end may come into it.
        let folder = left_behind().await;
        let site = restarted(&folder).await;
        let first = site.read("alpha/warm").await;
        first.is_held("alpha-warm");
        assert_eq!(first.stale(), Some("snapshot"), "{first:?}");
        site.all(wire).await;
        for _ in 0..40 {
            site.live(10).await;
            for vault in ["alpha", "beta"] {
                let held = site.read(&format!("{vault}/warm")).await;
                held.is_held(&format!("{vault}-warm"));
                assert!(held.stale().is_some(), "{held:?}");
                assert!(held.age() >= (held.told - first.asked).as_secs(), "{held:?}");
            }
        }
        let (cold, seconds) = site.read_as_time_goes_by("alpha/cold-1").await;
        assert!([503, 504].contains(&cold.status) && seconds <= LONGEST_READ, "{cold:?}");
        assert_eq!(site.get("/readyz").await.status, 200, "what was held stands in for what cannot be had");
        site.all(Wire::Whole).await;
        site.live_until(LONGEST_RECOVERY, async || {
            let answer = site.read("alpha/warm").await;
            answer.is_held("alpha-warm");
            answer.stale().is_none()
        })
        .await;
        site.read("alpha/cold-1").await.is("alpha-cold-1");
    }
}

#[tokio::test]
async fn a_restart_in_an_outage_leaves_the_snapshot_for_the_next_one() {
    let folder = left_behind().await;
    for _ in 0..3 {
        let site = restarted(&folder).await;
        site.live(400).await;
        site.read("beta/warm").await.is_held("beta-warm");
    }
}
