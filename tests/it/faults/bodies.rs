//! F3: answers that are not what was asked for. Each is an outage of that vault, nothing of it is ever kept, and no more
//! of it is taken in than a secret could be.

use sidekey::emulator::{Change, Effect, Endpoint, Fault, Respond};

use super::outage::{LONGEST_RECOVERY, Told, lived_through, lived_through_fault};
use super::site::{COLD, Site};

const WRONG: Told = Told { cold: (503, "vault-unavailable"), stale: "vault-unavailable" };
const CUT_OFF: Told = Told { cold: (503, "vault-unavailable"), stale: "vault-unavailable" };

#[tokio::test]
async fn a_body_that_drips() {
    lived_through_fault(Told { cold: (504, "vault-timeout"), stale: "vault-timeout" }, Effect::DripMs(60_000)).await;
}

#[tokio::test]
async fn a_body_that_ends_before_its_length() {
    lived_through_fault(CUT_OFF, Effect::Truncate).await;
}

#[tokio::test]
async fn a_length_that_ends_before_its_body() {
    lived_through_fault(WRONG, Effect::ShortLength).await;
}

#[tokio::test]
async fn a_body_that_is_no_json() {
    lived_through_fault(WRONG, Effect::Garbage).await;
}

#[tokio::test]
async fn a_body_of_another_secret() {
    let site = Site::new().await;
    let begin = async || {
        site.fault(Fault::new(Effect::WrongId("cold-2".into())).vault("alpha").on(Endpoint::Get));
        site.fault(Fault::new(Effect::Garbage).vault("alpha").on(Endpoint::List));
    };
    lived_through(&site, WRONG, begin, async || site.control.clear_faults()).await;
}

#[tokio::test]
async fn a_redirect() {
    lived_through_fault(WRONG, Effect::Redirect("https://evil.example/secrets/warm".into())).await;
}

#[tokio::test]
async fn a_body_that_tells_two_values() {
    let id = "https://alpha.vault.azure.net/secrets/cold-1/0123456789abcdef0123456789abcdef";
    let twice = format!(
        r#"{{"value":"one","value":"two","id":"{id}","attributes":{{"enabled":true,"created":1,"updated":1}}}}"#
    );
    lived_through_fault(WRONG, Effect::Respond(Respond { status: 200, body: Some(twice), ..Respond::default() })).await;
}

/// More than the sockets between the two ends hold, and much less than what is on its way.
const TAKEN_IN: u64 = 24 * 1024 * 1024;

/// That answer is cut off early: what the services managed to send is far less than all of it.
async fn cut_off(effect: Effect) {
    let site = Site::new().await;
    site.fault(Fault::new(effect).vault("alpha").on(Endpoint::Get));
    let before = site.vaults["alpha"].sent();
    site.read("alpha/cold-2").await.is_problem(503, "vault-unavailable");
    site.still().await;
    let sent = site.vaults["alpha"].sent() - before;
    assert!(sent < TAKEN_IN, "{sent} bytes were taken in");
    site.control.clear_faults();
    site.read("alpha/cold-2").await.is("alpha-cold-2");
}

#[tokio::test]
async fn a_body_of_a_hundred_megabytes() {
    lived_through_fault(CUT_OFF, Effect::HugeBytes(100 * 1024 * 1024)).await;
}

#[tokio::test]
async fn no_more_is_taken_in_of_a_body_without_end_than_a_secret_can_have() {
    cut_off(Effect::HugeBytes(1 << 50)).await;
}

#[tokio::test]
async fn a_small_body_that_unpacks_to_a_hundred_megabytes() {
    lived_through_fault(CUT_OFF, Effect::GzipBombMb(100)).await;
}

#[tokio::test]
async fn no_more_is_unpacked_of_a_body_than_a_secret_can_have() {
    // A hundred megabytes on the wire, and a hundred gigabytes once they are unpacked.
    cut_off(Effect::GzipBombMb(100_000)).await;
}

#[tokio::test]
async fn a_listing_of_the_same_kind_tells_nothing_and_takes_nothing_away() {
    for effect in [
        Effect::Truncate,
        Effect::Garbage,
        Effect::HugeBytes(100 * 1024 * 1024),
        Effect::GzipBombMb(100),
        Effect::NextLink("https://evil.example/secrets".into()),
        Effect::Swap(serde_json::json!({ "value": "swapped" })),
    ] {
        let site = Site::new().await;
        site.read("alpha/warm").await.is("alpha-warm");
        let told = format!("{effect:?}");
        site.fault(Fault::new(effect).vault("alpha").on(Endpoint::List));
        site.live(150).await;
        let listing = site.get("/v1/vaults/alpha/secrets?limit=1000").await.json();
        assert_eq!(
            (listing["secrets"].as_array().map(Vec::len), &listing["complete"]),
            (Some(COLD + 2), &false.into()),
            "{told}"
        );
        site.read("alpha/cold-1").await.is("alpha-cold-1");
        assert_eq!(site.control.calls().leaked_tokens, 0, "{told}");
    }
}

#[tokio::test]
async fn a_listing_that_says_that_there_is_nothing_ends_nothing_that_is_still_there() {
    let site = Site::new().await;
    site.read("alpha/warm").await.is("alpha-warm");
    site.fault(Fault::new(Effect::Swap(serde_json::json!({ "value": [], "nextLink": null }))).on(Endpoint::List));
    for _ in 0..60 {
        site.live(5).await;
        site.read("alpha/warm").await.is_held("alpha-warm");
    }
}

#[tokio::test]
async fn an_answer_of_another_vault_is_never_kept() {
    let site = Site::new().await;
    let begin = async || {
        let body = r#"{"value":"beta-cold-1","id":"https://beta.vault.azure.net/secrets/cold-1/0123456789abcdef0123456789abcdef","attributes":{"enabled":true}}"#;
        let respond = Respond { status: 200, body: Some(body.into()), ..Respond::default() };
        site.fault(Fault::new(Effect::Respond(respond)).vault("alpha"));
    };
    lived_through(&site, WRONG, begin, async || site.control.clear_faults()).await;
}

#[tokio::test]
async fn a_challenge_that_would_send_the_token_elsewhere() {
    lived_through_fault(WRONG, Effect::Challenge("https://evil.example".into())).await;
}

#[tokio::test]
async fn a_listing_that_breaks_off_after_its_first_page_takes_nothing_away() {
    for effect in [Effect::Reset, Effect::Truncate, Effect::Hang, Effect::Respond(Respond::status(503))] {
        let site = Site::new().await;
        let told = format!("{effect:?}");
        // On the second page of two: `warm` is there.
        site.read("alpha/warm").await.is("alpha-warm");
        for _ in 0..5 {
            site.control.clear_faults();
            site.fault(Fault::new(effect.clone()).vault("alpha").on(Endpoint::List).nth(2));
            site.live(60).await;
            let held = site.read("alpha/warm").await;
            held.is_held("alpha-warm");
            assert_ne!(held.stale(), Some("denied-once"), "{told}");
        }
        let listing = site.get("/v1/vaults/alpha/secrets?limit=1000").await.json();
        assert_eq!(listing["secrets"].as_array().map(Vec::len), Some(COLD + 2), "{told}");
    }
}

#[tokio::test]
async fn while_listings_alone_fail_values_are_kept_fresh_by_reading_them() {
    for effect in [Effect::Hang, Effect::Reset, Effect::Garbage] {
        let site = Site::new().await;
        site.read("alpha/warm").await.is("alpha-warm");
        site.fault(Fault::new(effect).vault("alpha").on(Endpoint::List));
        for _ in 0..90 {
            site.live(10).await;
            let held = site.read("alpha/warm").await;
            held.is_held("alpha-warm");
            assert_eq!(held.stale(), None, "{held:?}");
        }
        let gets = site.gets("alpha", "warm");
        assert!((3..=6).contains(&gets), "{gets} reads in a quarter of an hour");
    }
}

#[tokio::test]
async fn while_reads_alone_fail_listings_prove_what_is_held_and_what_changed_is_marked() {
    let site = Site::new().await;
    site.live(5).await;
    site.read("alpha/warm").await.is("alpha-warm");
    site.fault(Fault::new(Effect::Reset).vault("alpha").on(Endpoint::Get));
    for _ in 0..60 {
        site.live(10).await;
        let held = site.read("alpha/warm").await;
        held.is_held("alpha-warm");
        assert_eq!(held.stale(), None, "{held:?}");
        assert!(held.age() <= 80, "{held:?}");
    }
    site.change(Change::Rotate { vault: "alpha".into(), secret: "warm".into() });
    site.live(140).await;
    let held = site.read("alpha/warm").await;
    held.is_held("alpha-warm");
    assert_eq!(held.stale(), Some("vault-unavailable"), "it is known to be out of date: {held:?}");
    site.control.clear_faults();
    site.live_until(LONGEST_RECOVERY, async || site.read("alpha/warm").await.stale().is_none()).await;
    assert_ne!(site.read("alpha/warm").await.body, "alpha-warm");
}
