//! F4 and F5: a vault that is throttled, fails, or does both by turns. What the gates of budgets and circuits add is in
//! `tests/it/budget`.

use sidekey::emulator::{Change, Effect, Endpoint, Fault, Respond};

use super::outage::{LONGEST_RECOVERY, Told, lived_through, lived_through_fault};
use super::site::Site;

const THROTTLED: Told = Told { cold: (503, "vault-throttled"), stale: "vault-throttled" };
const FAILING: Told = Told { cold: (503, "vault-unavailable"), stale: "vault-unavailable" };

fn respond(status: u16, retry_after: Option<&str>) -> Effect {
    Effect::Respond(Respond { status, retry_after: retry_after.map(str::to_owned), ..Respond::default() })
}

#[tokio::test]
async fn a_429_that_does_not_say_when_to_come_back() {
    lived_through_fault(THROTTLED, respond(429, None)).await;
}

#[tokio::test]
async fn a_429_that_says_so() {
    lived_through_fault(THROTTLED, respond(429, Some("10"))).await;
}

#[tokio::test]
async fn a_429_for_ten_years() {
    lived_through_fault(THROTTLED, respond(429, Some("315360000"))).await;
}

#[tokio::test]
async fn a_vault_that_has_had_enough_of_everybody() {
    let site = Site::new().await;
    let throttle = |on| site.change(Change::Throttle { vault: "alpha".into(), on });
    lived_through(&site, THROTTLED, async || throttle(true), async || throttle(false)).await;
}

#[tokio::test]
async fn a_reader_is_told_when_to_come_back_within_reason() {
    let site = Site::new().await;
    for (at, (asked, told)) in [
        (None, "10"),
        (Some("17"), "17"),
        (Some("0"), "1"),
        (Some("86400"), "300"),
        (Some("99999999999999999999999"), "10"),
        (Some("-5"), "10"),
        (Some("soon"), "10"),
        (Some("Fri, 01 Jan 2100 00:00:00 GMT"), "300"),
        (Some("Fri, 01 Jan 2021 00:00:00 GMT"), "1"),
    ]
    .into_iter()
    .enumerate()
    {
        let fault = site.fault(Fault::new(respond(429, asked)).vault("alpha").on(Endpoint::Get));
        let (answer, _) = site.read_as_time_goes_by(&format!("alpha/cold-{}", at + 1)).await;
        answer.is_problem(503, "vault-throttled");
        assert_eq!(answer.header("retry-after"), Some(told), "{asked:?}");
        site.control.clear_fault(fault);
        // However long a wait was wished for, it binds no key for good.
        site.live_until(LONGEST_RECOVERY, async || site.read(&format!("alpha/cold-{}", at + 1)).await.status == 200)
            .await;
    }
}

#[tokio::test]
async fn a_throttled_vault_is_asked_less_and_less_however_much_its_readers_want() {
    let site = Site::new().await;
    site.read("alpha/warm").await.is("alpha-warm");
    site.change(Change::Throttle { vault: "alpha".into(), on: true });
    site.live(300).await;
    site.control.reset_calls();
    for _ in 0..600 {
        site.live(1).await;
        site.read("alpha/warm").await.is_held("alpha-warm");
    }
    let gets = site.gets("alpha", "warm");
    // Each minute or so, or twice, as the waits are jittered down.
    assert!((5..=25).contains(&gets), "{gets} calls in ten minutes");
}

#[tokio::test]
async fn a_vault_that_fails_with_any_5xx() {
    for status in [500, 502, 504] {
        lived_through_fault(FAILING, respond(status, None)).await;
    }
}

#[tokio::test]
async fn a_vault_that_is_not_available_and_says_for_how_long() {
    lived_through_fault(FAILING, respond(503, Some("120"))).await;
}

#[tokio::test]
async fn a_read_that_fails_once_is_tried_again_in_one_layer_and_its_reader_does_not_notice() {
    let site = Site::new().await;
    site.fault(Fault::new(respond(503, None)).vault("alpha").secret("cold-1").times(1));
    let (answer, _) = site.read_as_time_goes_by("alpha/cold-1").await;
    answer.is("alpha-cold-1");
    assert_eq!(site.gets("alpha", "cold-1"), 2);

    site.fault(Fault::new(respond(503, None)).vault("alpha").secret("cold-2"));
    let (answer, _) = site.read_as_time_goes_by("alpha/cold-2").await;
    answer.is_problem(503, "vault-unavailable");
    assert!(site.gets("alpha", "cold-2") <= 3, "{}", site.gets("alpha", "cold-2"));
}

#[tokio::test]
async fn a_vault_that_flaps_costs_no_held_read_and_is_fresh_soon_after_the_last_time() {
    let site = Site::new().await;
    let names: Vec<_> = (1..=10).map(|number| format!("cold-{number}")).collect();
    for name in &names {
        site.read(&format!("alpha/{name}")).await.is(&format!("alpha-{name}"));
    }
    // Up for 7 s, down for 11 s, each time in another way.
    for effect in [respond(500, None), Effect::Reset, respond(429, Some("2")), Effect::Truncate].iter().cycle().take(60)
    {
        site.live(7).await;
        let fault = site.fault(Fault::new(effect.clone()).vault("alpha"));
        site.live(11).await;
        for name in &names {
            site.read(&format!("alpha/{name}")).await.is_held(&format!("alpha-{name}"));
        }
        site.control.clear_fault(fault);
    }
    site.live(LONGEST_RECOVERY).await;
    for name in &names {
        let answer = site.read(&format!("alpha/{name}")).await;
        assert_eq!(answer.stale(), None, "{answer:?}");
    }
}
