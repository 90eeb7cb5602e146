//! F6 and F27: one vault of several is out, and discovery that is wrong, short, or silent.

use std::collections::BTreeSet;
use std::time::Duration;

use sidekey::emulator::{Change, Effect, Endpoint, Fault, Respond};

use super::cable::Wire;
use super::outage::LONGEST_READ;
use super::site::{COLD, Site, leap};

/// Between two rounds of discovery, with its spread.
const ROUND: u64 = 660;

/// The vaults that the sidecar knows.
async fn known(site: &Site) -> BTreeSet<String> {
    let told = site.get("/v1/vaults").await.json();
    told["vaults"].as_array().unwrap().iter().map(|vault| vault["name"].as_str().unwrap().to_owned()).collect()
}

fn both() -> BTreeSet<String> {
    ["alpha", "beta"].map(str::to_owned).into()
}

#[tokio::test]
async fn a_search_names_the_vault_that_is_out_and_tells_what_was_known_of_it() {
    for wire in [Wire::Cut, Wire::Silent] {
        let site = Site::new().await;
        site.vaults["alpha"].set(wire).await;
        site.live(100).await;
        let found = site.get("/v1/search?q=only-").await.json();
        let hits: Vec<_> =
            found["hits"].as_array().unwrap().iter().map(|hit| hit["reference"].as_str().unwrap()).collect();
        assert_eq!(hits, ["secret://alpha/only-alpha", "secret://beta/only-beta"]);
        assert_eq!((&found["complete"], &found["unanswered"][0]["vault"]), (&false.into(), &"alpha".into()), "{found}");
        assert!(found["unanswered"][0]["known_age"].as_u64().is_some_and(|age| (40..=160).contains(&age)), "{found}");
    }
}

#[tokio::test]
async fn a_read_that_names_no_vault_passes_over_none_in_silence() {
    for wire in [Wire::Cut, Wire::Silent] {
        let site = Site::new().await;
        site.vaults["alpha"].set(wire).await;
        site.live(100).await;
        let found = site.get("/v1/secrets/only-beta").await;
        found.is("beta-only-beta");
        assert!(found.header("sidekey-incomplete").is_some_and(|vaults| vaults.contains("alpha")), "{found:?}");
        let nowhere = site.get("/v1/secrets/nowhere").await.is_problem(503, "incomplete");
        assert_eq!(nowhere["unanswered"][0]["vault"], "alpha", "{nowhere}");
        site.get("/v1/secrets/warm").await.is_problem(409, "ambiguous");
        site.vaults["alpha"].set(Wire::Whole).await;
        site.live(70).await;
        site.get("/v1/secrets/nowhere").await.is_problem(404, "secret-not-found");
        site.get("/v1/secrets/only-alpha").await.is("alpha-only-alpha");
    }
}

#[tokio::test]
async fn a_vault_with_a_hundred_readers_waiting_for_it_keeps_nobody_from_another() {
    let site = Site::new().await;
    site.vaults["alpha"].set(Wire::Silent).await;
    let waiting = (1..=COLD).flat_map(|number| [number; 3]).map(|number| {
        let site = &site;
        async move { site.read(&format!("alpha/cold-{number}")).await }
    });
    let ended = || site.counted("sidekey_upstream_calls_total{operation=\"get\",outcome=\"timed-out\"}");
    let others = async {
        site.still().await;
        for number in 1..=COLD {
            site.read(&format!("beta/cold-{number}")).await.is(&format!("beta-cold-{number}"));
        }
        assert_eq!(ended(), 0, "nobody had to give up before the others were answered");
        for _ in 0..2 * LONGEST_READ {
            leap(Duration::from_secs(1)).await;
            site.still().await;
        }
    };
    let (waited, ()) = futures::future::join(futures::future::join_all(waiting), others).await;
    for answer in waited {
        answer.is_problem(504, "vault-timeout");
    }
}

#[tokio::test]
async fn while_resource_manager_is_out_or_wrong_no_vault_is_lost() {
    let empty =
        serde_json::json!({ "totalRecords": 0, "count": 0, "data": [], "value": [], "resultTruncated": "false" });
    for effect in [
        Effect::Respond(Respond::status(503)),
        Effect::Respond(Respond { status: 429, retry_after: Some("3600".into()), ..Respond::default() }),
        Effect::Respond(Respond::status(403)),
        Effect::Reset,
        Effect::Hang,
        Effect::Garbage,
        Effect::Truncate,
        Effect::HugeBytes(100_000_000),
        Effect::Swap(serde_json::json!({ "value": "swapped" })),
    ] {
        let site = Site::new().await;
        let told = format!("{effect:?}");
        for endpoint in [Endpoint::Graph, Endpoint::Subscriptions, Endpoint::Vaults] {
            site.fault(Fault::new(effect.clone()).on(endpoint));
        }
        for _ in 0..2 * ROUND / 60 {
            leap(Duration::from_secs(60)).await;
            site.still().await;
        }
        assert_eq!(known(&site).await, both(), "{told}");
        site.read("alpha/cold-1").await.is("alpha-cold-1");
    }
    // One round that is whole and shows nothing is not enough either.
    let site = Site::new().await;
    site.fault(Fault::new(Effect::Swap(empty)).on(Endpoint::Graph).times(1));
    leap(Duration::from_secs(ROUND)).await;
    site.until(|| site.control.calls().endpoint(Endpoint::Graph) == 2).await;
    site.still().await;
    assert_eq!(known(&site).await, both());
    site.read("alpha/cold-1").await.is("alpha-cold-1");
}

#[tokio::test]
async fn a_vault_that_one_round_does_not_show_stays_and_one_that_two_do_not_show_leaves() {
    let site = Site::new().await;
    site.read("alpha/warm").await.is("alpha-warm");
    let hide = |on| site.change(Change::Hide { vault: "alpha".into(), on });
    let round = async |rounds: u64| {
        leap(Duration::from_secs(ROUND)).await;
        site.until(|| site.control.calls().endpoint(Endpoint::Graph) == rounds).await;
        site.still().await;
    };
    hide(true);
    round(2).await;
    assert_eq!(known(&site).await, both(), "once");
    site.read("alpha/warm").await.is_held("alpha-warm");
    hide(false);
    round(3).await;
    hide(true);
    round(4).await;
    assert_eq!(known(&site).await, both(), "once again, and seen between");
    round(5).await;
    assert_eq!(known(&site).await, ["beta".to_owned()].into(), "twice, ten minutes apart");
    site.read("alpha/warm").await.is_problem(404, "vault-not-found");
    hide(false);
    round(6).await;
    site.live(1).await;
    site.read("alpha/warm").await.is_held("alpha-warm");
}
