//! One vault that two sources have found: two identities, one holder.

use std::sync::Arc;

use sidekey::broker::{BrokerOptions, Error, Steer};
use sidekey::catalog::Query;

use super::scripted::{DENIED, DOWN, House, Scripted, ask, steered};

const PAY: &str = "https://pay.vault.azure.net/";

/// The vault `pay` as two sources see it, with a secret in it.
fn twins() -> [Arc<Scripted>; 2] {
    // Sources may write it in more ways than one.
    let twins = [Scripted::at("one", "pay", PAY), Scripted::at("two", "pay", "https://PAY.vault.azure.net")];
    for (vault, value) in twins.iter().zip(["through one", "through two"]) {
        vault.set("redis", value);
    }
    twins
}

async fn read(house: &House, address: &str) -> Result<(String, Vec<u8>), Error> {
    let reading = house.broker.get(&ask(address)).await?;
    assert!(reading.incomplete.is_empty(), "{:?}", reading.incomplete);
    Ok((reading.vault.to_string(), reading.secret.value.expose().to_vec()))
}

fn answer(vault: &str, value: &str) -> (String, Vec<u8>) {
    (vault.to_owned(), value.into())
}

fn hits(house: &House, vault: Option<&str>) -> (Vec<String>, bool) {
    let query = Query { vault: vault.map(str::to_owned), ..Query::default() };
    let page = house.broker.catalog().search(&query).unwrap();
    (page.hits.iter().map(|hit| format!("{}/{}", hit.vault, hit.metadata.name)).collect(), page.complete)
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_two_sources_see_is_one_holder_and_one_hit_and_the_earlier_source_serves_it() {
    let [one, two] = twins();
    let house = House::of(&[&one, &two]).await;
    assert_eq!(read(&house, "redis").await.unwrap(), answer("pay", "through one"));
    assert_eq!(two.gets(), 0);
    assert_eq!(hits(&house, None), (vec!["pay/redis".to_owned()], true));
    // Whoever asks for the other by its address gets it, and finds it.
    assert_eq!(read(&house, "two:pay/redis").await.unwrap(), answer("two:pay", "through two"));
    assert_eq!(hits(&house, Some("two:*")).0, ["two:pay/redis"]);
    let duplicates: Vec<_> = house.broker.catalog().vaults().into_iter().map(|vault| vault.duplicate_of).collect();
    assert_eq!(duplicates, [None, Some("pay".parse().unwrap())]);
    assert_eq!(house.broker.catalog().progress().borrow().secrets, 1);
}

#[tokio::test(start_paused = true)]
async fn the_source_that_may_list_speaks_for_the_vault_and_nothing_is_missing() {
    for refusal in [DENIED, DOWN] {
        let [one, two] = twins();
        one.fail_lists(Some(refusal));
        let house = House::of(&[&one, &two]).await;
        assert_eq!(read(&house, "redis").await.unwrap(), answer("two:pay", "through two"));
        assert_eq!(hits(&house, None), (vec!["two:pay/redis".to_owned()], true));
        assert!(matches!(read(&house, "absent").await, Err(Error::SecretNotFound { .. })));
        assert_eq!(one.gets(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn where_one_identity_may_not_read_the_other_does_and_the_value_is_held_then() {
    let [one, two] = twins();
    one.fail_gets_of("redis", Some(DENIED));
    let house = House::of(&[&one, &two]).await;
    for _ in 0..3 {
        assert_eq!(read(&house, "redis").await.unwrap(), answer("two:pay", "through two"));
    }
    assert_eq!((one.gets(), two.gets()), (1, 1), "the one that is refused is not asked again and again");
    let held = Steer { only_if_cached: true, ..Steer::default() };
    assert!(house.broker.get(&steered("redis", held)).await.is_ok());
    // An address means that source's identity and no other.
    assert!(matches!(read(&house, "pay/redis").await, Err(Error::Vault { .. })));
}

#[tokio::test(start_paused = true)]
async fn where_neither_may_list_both_are_tried_and_one_refusal_is_no_gap() {
    let [one, two] = twins();
    one.fail_lists(Some(DENIED));
    two.fail_lists(Some(DENIED));
    one.fail_gets_of("redis", Some(DENIED));
    let house = House::of(&[&one, &two]).await;
    assert_eq!(read(&house, "redis").await.unwrap(), answer("two:pay", "through two"));
    two.fail_gets_of("other", Some(DENIED));
    one.fail_gets_of("other", Some(DENIED));
    let Err(Error::Incomplete { unanswered, .. }) = read(&house, "other").await else { panic!("nobody was let in") };
    assert_eq!(unanswered.len(), 1, "it is one vault");
}

#[tokio::test(start_paused = true)]
async fn the_search_order_may_name_it_by_either_address_and_other_vaults_still_compete() {
    let [one, two] = twins();
    one.fail_lists(Some(DENIED));
    let shop = Scripted::at("one", "shop", "https://shop.vault.azure.net/");
    shop.set("redis", "s");
    let house = House::of(&[&one, &shop, &two]).await;
    assert!(matches!(read(&house, "redis").await, Err(Error::Ambiguous { candidates, .. }) if candidates.len() == 2));
    let order = vec!["pay".parse().unwrap()];
    let house = House::with(&[&one, &shop, &two], BrokerOptions { order, ..BrokerOptions::default() }).await;
    assert_eq!(read(&house, "redis").await.unwrap(), answer("two:pay", "through two"));
}

#[tokio::test(start_paused = true)]
async fn who_may_read_the_later_sources_view_alone_reads_finds_and_is_told_by_that() {
    use futures::FutureExt as _;
    use sidekey::broker::{Filter, Told};
    use sidekey::rights::Rights;
    let [one, two] = twins();
    let house = House::of(&[&one, &two]).await;
    let granted = |patterns: &[&str]| {
        let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        Rights::granted(&patterns, &patterns)
    };
    let (theirs, both) = (granted(&["two:*/*"]), granted(&["*/*"]));
    let reading = house.broker.within(&theirs).get(&ask("redis")).await.unwrap();
    assert_eq!((reading.vault.as_str(), &*reading.secret.value.expose()), ("two:pay", &b"through two"[..]));
    assert_eq!(one.gets(), 0, "the other identity is not theirs to use");
    let found = house.broker.within(&theirs).search(&Query::default()).unwrap();
    assert_eq!((found.total, found.hits[0].vault.as_str(), found.complete), (1, "two:pay", true));
    let watch = |rights| house.broker.within(rights).watch(Filter::default(), None).unwrap();
    let (mut of_theirs, mut of_both) = (watch(&theirs), watch(&both));
    for vault in [&one, &two] {
        vault.set("new", "value");
    }
    house.broker.catalog().refresh(None).await;
    for (watch, address) in [(&mut of_theirs, "two:pay"), (&mut of_both, "pay")] {
        let Some(Told::Event(_, event)) = watch.next().now_or_never() else { panic!("{address}: nothing was told") };
        assert_eq!((event.vault.as_str(), event.name.as_ref().unwrap().as_str()), (address, "new"));
        assert!(watch.next().now_or_never().is_none(), "{address}: told twice");
    }
}
