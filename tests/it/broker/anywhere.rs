use sidekey::broker::{BrokerOptions, Error};
use sidekey::vaults::VaultErrorKind;

use super::scripted::{DENIED, DOWN, House, Scripted, ask};

fn incomplete(error: Error) -> Vec<(String, String)> {
    match error {
        Error::Incomplete { unanswered, .. } => told(unanswered),
        other => panic!("expected incomplete, got {other:?}"),
    }
}

fn told(unanswered: Vec<sidekey::catalog::Unanswered>) -> Vec<(String, String)> {
    unanswered.into_iter().map(|one| (one.vault.unwrap().to_string(), one.reason.to_owned())).collect()
}

fn pair(vault: &str, reason: &str) -> (String, String) {
    (vault.to_owned(), reason.to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_only_holder_answers_and_is_named_and_no_other_vault_is_asked() {
    let (pay, shop) = (Scripted::new("s", "pay"), Scripted::new("s", "shop"));
    shop.set("redis", "x");
    let house = House::of(&[&pay, &shop]).await;
    let reading = house.broker.get(&ask("redis")).await.unwrap();
    assert_eq!(reading.vault.as_str(), "shop");
    assert_eq!(reading.reference().to_string(), "secret://shop/redis");
    assert!(reading.incomplete.is_empty());
    assert_eq!((pay.gets(), shop.gets()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn several_holders_are_an_error_with_candidates_unless_the_order_decides() {
    let (pay, shop) = (Scripted::new("s", "pay"), Scripted::new("s", "shop"));
    pay.set("redis", "p");
    shop.set("redis", "s");
    pay.disable("redis");
    let house = House::of(&[&pay, &shop]).await;
    let Err(Error::Ambiguous { candidates, .. }) = house.broker.get(&ask("redis")).await else {
        panic!("two vaults hold it, one copy disabled");
    };
    let candidates: Vec<_> = candidates.iter().map(ToString::to_string).collect();
    assert_eq!(candidates, ["secret://pay/redis", "secret://shop/redis"]);
    assert_eq!(pay.gets() + shop.gets(), 0, "nobody needs to be asked for that");

    let order = vec!["shop".parse().unwrap(), "pay".parse().unwrap()];
    let house = House::with(&[&pay, &shop], BrokerOptions { order, ..BrokerOptions::default() }).await;
    assert_eq!(house.broker.get(&ask("redis")).await.unwrap().vault.as_str(), "shop");
}

#[tokio::test(start_paused = true)]
async fn a_version_finds_the_one_vault_that_has_it() {
    let (pay, shop) = (Scripted::new("s", "pay"), Scripted::new("s", "shop"));
    pay.set("redis", "p");
    let version = shop.set("redis", "s");
    let house = House::of(&[&pay, &shop]).await;
    let reading = house.broker.get(&ask(&format!("redis@{version}"))).await.unwrap();
    assert_eq!((reading.vault.as_str(), &*reading.secret.value.expose()), ("shop", &b"s"[..]));
    let nowhere = house.broker.get(&ask(&format!("redis@{}", "0".repeat(32)))).await;
    assert!(matches!(nowhere, Err(Error::VersionNotFound { .. })), "{nowhere:?}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_nowhere_to_be_found_is_what_is_told_of() {
    let version = "0".repeat(32);
    let (pay, closed) = (Scripted::new("s", "pay"), Scripted::new("s", "closed"));
    pay.set("redis", "p");
    closed.fail_lists(Some(DOWN));
    let house = House::of(&[&pay, &closed]).await;
    let error = house.broker.get(&ask(&format!("redis@{version}"))).await.unwrap_err();
    let told = error.to_string();
    assert!(
        told.starts_with(&format!("whether version {version} of secret redis exists cannot be told, as not")),
        "{told}"
    );
    assert_eq!(incomplete(error), [pair("closed", "connection-failed")]);

    // Where the vault that might hold it may not be listed, that the secret is missing is not known.
    closed.fail_lists(Some(DENIED));
    let house = House::of(&[&closed]).await;
    let error = house.broker.get(&ask(&format!("redis@{version}"))).await.unwrap_err();
    assert!(matches!(error, Error::VersionNotFound { .. }), "{error}");
    let error = house.broker.get(&ask(&format!("closed/redis@{version}"))).await.unwrap_err();
    assert!(matches!(error, Error::VersionNotFound { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_is_down_is_named_and_nothing_is_called_not_found_meanwhile() {
    let (pay, down) = (Scripted::new("s", "pay"), Scripted::new("s", "down"));
    pay.set("redis", "p");
    down.fail_lists(Some(DOWN));
    let house = House::of(&[&pay, &down]).await;
    let reading = house.broker.get(&ask("redis")).await.unwrap();
    assert_eq!(told(reading.incomplete), [pair("down", "connection-failed")]);
    let error = house.broker.get(&ask("other")).await.unwrap_err();
    assert_eq!(incomplete(error), [pair("down", "connection-failed")]);
    assert_eq!(down.gets(), 0, "a vault that is known to be down keeps no reader waiting");
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_may_be_read_but_not_listed_is_asked_for_the_secret_itself() {
    let (pay, closed) = (Scripted::new("s", "pay"), Scripted::new("s", "closed"));
    closed.set("redis", "c");
    closed.fail_lists(Some(DENIED));
    let house = House::of(&[&pay, &closed]).await;
    assert_eq!(house.broker.get(&ask("redis")).await.unwrap().vault.as_str(), "closed");
    let missing = house.broker.get(&ask("absent")).await;
    assert!(matches!(missing, Err(Error::SecretNotFound { .. })), "everybody answered: {missing:?}");
    pay.set("later", "x");
    closed.fail_gets_of("other", Some(VaultErrorKind::TimedOut));
    assert_eq!(incomplete(house.broker.get(&ask("other")).await.unwrap_err()), [pair("closed", "timed-out")]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_deleted_since_the_listing_is_passed_over() {
    let (pay, shop) = (Scripted::new("s", "pay"), Scripted::new("s", "shop"));
    pay.set("redis", "p");
    shop.set("redis", "s");
    let order = vec!["pay".parse().unwrap(), "shop".parse().unwrap()];
    let house = House::with(&[&pay, &shop], BrokerOptions { order, ..BrokerOptions::default() }).await;
    pay.delete("redis");
    assert_eq!(house.broker.get(&ask("redis")).await.unwrap().vault.as_str(), "shop");
    shop.delete("redis");
    let error = house.broker.get(&ask("s:pay/redis")).await.unwrap_err();
    assert!(matches!(error, Error::SecretNotFound { .. }));
}

#[tokio::test(start_paused = true)]
async fn vaults_of_one_name_in_two_sources_never_mix() {
    let (first, second) = (Scripted::new("one", "pay"), Scripted::new("two", "pay"));
    first.set("redis", "1");
    second.set("redis", "2");
    let house = House::of(&[&first, &second]).await;
    for _ in 0..2 {
        for (address, value) in [("pay/redis", "1"), ("one:pay/redis", "1"), ("two:pay/redis", "2")] {
            let reading = house.broker.get(&ask(address)).await.unwrap();
            assert_eq!(reading.secret.value.expose(), value.as_bytes(), "{address}");
        }
    }
}
