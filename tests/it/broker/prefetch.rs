//! Declared secrets are read ahead, and readiness waits for them.

use std::time::Duration;

use sidekey::broker::BrokerOptions;
use sidekey::vaults::VaultErrorKind;
use tokio::time::sleep;

use super::reads::exact;
use super::scripted::{DENIED, DOWN, HELD, House, Scripted, steered};

fn declared(patterns: &[&str]) -> BrokerOptions {
    BrokerOptions { prefetch: patterns.iter().map(|text| text.parse().unwrap()).collect(), ..exact() }
}

async fn live(n: u64) {
    for _ in 0..n {
        sleep(Duration::from_secs(1)).await;
    }
}

fn missing(house: &House) -> Vec<(String, &'static str)> {
    house.broker.missing().into_iter().map(|missing| (missing.what, missing.reason)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_glob_declares_is_held_before_anybody_asks_and_nothing_else_is_read() {
    let (pay, hr) = (Scripted::new("s", "pay"), Scripted::new("s", "hr"));
    for name in ["db-user", "db-password", "off", "other"] {
        pay.set(name, "x");
        hr.set(name, "x");
    }
    pay.set("db-off", "x");
    pay.disable("db-off");
    let house = House::with(&[&pay, &hr], declared(&["secret://pay/db-*"])).await;
    house.listed_again().await;
    live(4).await;
    assert_eq!(missing(&house), []);
    assert_eq!((pay.gets(), hr.gets()), (2, 0));
    assert!(house.broker.get(&steered("pay/db-user", HELD)).await.is_ok());
    // One that appears later is declared too.
    pay.set("db-new", "x");
    live(70).await;
    assert!(house.broker.get(&steered("pay/db-new", HELD)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn not_ready_until_each_declared_name_is_held_and_each_says_why() {
    let pay = Scripted::new("s", "pay");
    pay.fail_lists(Some(DENIED));
    for name in ["a", "b", "c"] {
        pay.set(name, "x");
    }
    pay.fail_gets_of("b", Some(DOWN));
    let house =
        House::with(&[&pay], declared(&["pay/a", "pay/b", "pay/absent", "pay/*", "nowhere/x", "nowhere*/x"])).await;
    live(4).await;
    let expected = [
        ("pay/*", "vault-not-listed"),
        ("nowhere/x", "vault-not-found"),
        ("secret://pay/absent", "not-found"),
        ("secret://pay/b", "not-read-yet"),
    ];
    assert_eq!(missing(&house), expected.map(|(what, reason)| (what.to_owned(), reason)));
    pay.fail_gets_of("b", None);
    pay.fail_lists(None);
    pay.set("absent", "here now");
    live(120).await;
    assert_eq!(missing(&house), [("nowhere/x".to_owned(), "vault-not-found")]);
    assert!(house.broker.get(&steered("pay/c", HELD)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_hammered_by_what_is_declared() {
    let pay = Scripted::new("s", "pay");
    pay.set("a", "x");
    pay.fail_gets_of("a", Some(VaultErrorKind::TimedOut));
    let house = House::with(&[&pay], declared(&["pay/a"])).await;
    live(600).await;
    assert_eq!(missing(&house).len(), 1);
    assert!(pay.gets() <= 121, "{}", pay.gets());
}
