//! F1, F2, F12: a vault that cannot be reached, that never answers, or whose name does not resolve.

use std::sync::Arc;

use sidekey::emulator::Effect;

use super::cable::Wire;
use super::outage::{Told, lived_through, lived_through_fault};
use super::site::{PhoneBook, Plan, Site};

const UNAVAILABLE: Told = Told { cold: (503, "vault-unavailable"), stale: "vault-unavailable" };
const TIMEOUT: Told = Told { cold: (504, "vault-timeout"), stale: "vault-timeout" };

async fn lived_through_wire(told: Told, wire: Wire) {
    let site = Site::new().await;
    let alpha = &site.vaults["alpha"];
    lived_through(&site, told, async || alpha.set(wire).await, async || alpha.set(Wire::Whole).await).await;
}

#[tokio::test]
async fn a_vault_where_nobody_listens() {
    lived_through_wire(UNAVAILABLE, Wire::Cut).await;
}

#[tokio::test]
async fn a_vault_whose_connections_are_reset() {
    lived_through_fault(UNAVAILABLE, Effect::Reset).await;
}

#[tokio::test]
async fn a_vault_that_accepts_and_is_silent_on_every_connection() {
    lived_through_wire(TIMEOUT, Wire::Silent).await;
}

#[tokio::test]
async fn a_vault_that_takes_the_request_and_never_answers() {
    lived_through_fault(TIMEOUT, Effect::Hang).await;
}

#[tokio::test]
async fn a_vault_whose_network_swallows_what_opens_a_connection() {
    lived_through_wire(TIMEOUT, Wire::Lost).await;
}

#[tokio::test]
async fn a_vault_whose_name_is_gone_is_reached_where_it_was() {
    let names = Arc::<PhoneBook>::default();
    let site = Site::of(Plan { names: Some(Arc::clone(&names)), ..Plan::default() }).await;
    site.read("alpha/warm").await.is("alpha-warm");
    names.refuse(true);
    // Whatever connection was open is not there any more.
    for cable in site.vaults.values() {
        cable.set(Wire::Cut).await;
        cable.set(Wire::Whole).await;
    }
    let asked = names.asked.load(std::sync::atomic::Ordering::Relaxed);
    site.read("alpha/cold-1").await.is("alpha-cold-1");
    site.read("beta/cold-1").await.is("beta-cold-1");
    assert!(names.asked.load(std::sync::atomic::Ordering::Relaxed) > asked, "the resolver was asked first");
}

#[tokio::test]
async fn a_vault_whose_name_never_resolved_is_out_and_nothing_else_is() {
    let names = Arc::<PhoneBook>::default();
    let site = Site::of(Plan { names: Some(Arc::clone(&names)), in_the_dark: true, ..Plan::default() }).await;
    let host = "alpha.vault.azure.net";
    let address = names.forget(host).unwrap();
    site.all(Wire::Whole).await;
    site.live_until(60, async || site.read("beta/warm").await.status == 200).await;
    let (cold, _) = site.read_as_time_goes_by("alpha/warm").await;
    assert_eq!(cold.is_problem(503, "vault-unavailable")["reason"], "dns-failure");
    names.learn(host, address);
    site.live_until(1, async || site.read("alpha/warm").await.status == 200).await;
}
