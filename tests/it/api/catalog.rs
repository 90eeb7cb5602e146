use axum::http::StatusCode;
use sidekey::api::model::{SearchAnswer, SecretsPage, VaultsAnswer, VersionsAnswer};
use sidekey::vaults::{Denial, Outage, VaultErrorKind};

use super::{House, get};

fn house() -> House {
    let house = House::new(&["pay", "hr", "ops"]);
    for n in 0..25 {
        house.set("pay", &format!("redis-{n:02}"), "value-canary");
    }
    house.set("ops", "redis-main", "value-canary");
    house.list_fails("hr", VaultErrorKind::Unavailable(Outage::Firewall));
    house
}

#[tokio::test]
async fn a_search_tells_what_it_does_without_and_never_a_value() {
    let router = house().open().await;
    let answer = get(&router, "/v1/search?q=REDIS&limit=1000").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!String::from_utf8_lossy(&answer.body).contains("canary"));
    let found: SearchAnswer = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((found.hits.len(), found.total, found.complete, found.next), (26, 26, false, None));
    let missing = &found.unanswered[0];
    assert_eq!(
        (missing.vault.as_ref().unwrap().as_str(), missing.reason.as_str(), missing.known_age),
        ("hr", "firewall", None)
    );
    let hit = found.hits.iter().find(|hit| hit.vault.as_str() == "ops").unwrap();
    assert_eq!(hit.reference.to_string(), "secret://ops/redis-main");
    let whole: SearchAnswer = serde_json::from_slice(&get(&router, "/v1/search?vault=ops").await.body).unwrap();
    assert!(whole.complete && whole.unanswered.is_empty());
}

#[tokio::test]
async fn a_search_in_a_vault_that_nobody_knows_is_no_answer_and_a_pattern_tells_how_many_it_matched() {
    let house = house();
    let router = house.open().await;
    let nowhere = get(&router, "/v1/search?q=redis&vault=nowhere").await.problem(404, "vault-not-found");
    assert_eq!(nowhere["detail"], "no vault nowhere is known");
    get(&router, "/v1/search?vault=no%20where").await.problem(400, "bad-query");
    for (glob, vaults, complete) in [("*", 3, false), ("p*", 1, true), ("x*", 0, true), ("HR", 1, false)] {
        let answer = get(&router, &format!("/v1/search?vault={glob}")).await.json();
        assert_eq!((&answer["vaults"], &answer["complete"]), (&vaults.into(), &complete.into()), "{glob}");
    }
    // Before discovery nobody can tell that it is not there.
    let early = get(&house.closed(), "/v1/search?vault=nowhere").await.json();
    assert_eq!((&early["complete"], &early["unanswered"][0]["reason"]), (&false.into(), &"discovering".into()));
}

#[tokio::test]
async fn pages_follow_one_another_without_a_gap() {
    let router = house().open().await;
    for (path, total) in [("/v1/search?q=redis-", 26), ("/v1/vaults/pay/secrets?", 25)] {
        let (mut names, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let body = get(&router, &format!("{path}&limit=7{after}").replace("?&", "?")).await.json();
            let rows = body.get("hits").or(body.get("secrets")).unwrap().as_array().unwrap().clone();
            assert!(rows.len() <= 7 && body["total"] == total);
            names.extend(rows.into_iter().map(|row| row["reference"].as_str().unwrap().to_owned()));
            cursor = body["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!((names.len(), unique.len()), (total, total), "{path}");
    }
}

#[tokio::test]
async fn vaults_tell_whether_they_can_be_reached_and_read() {
    let house = house();
    house.get_fails("ops", "redis-main", VaultErrorKind::Denied(Denial::Rbac));
    let router = house.open().await;
    get(&router, "/v1/vaults/ops/secrets/redis-main").await.problem(502, "vault-denied");
    let answer: VaultsAnswer = serde_json::from_slice(&get(&router, "/v1/vaults").await.body).unwrap();
    assert!(!answer.complete);
    assert_eq!(answer.unanswered.len(), 1);
    let vault = |name: &str| answer.vaults.iter().find(|vault| vault.name.as_str() == name).unwrap();
    assert!(vault("pay").reachable && vault("pay").readable.is_none());
    assert_eq!(vault("pay").listing.unwrap().secrets, 25);
    assert_eq!(
        (vault("hr").reachable, vault("hr").reason.as_deref(), vault("hr").listing),
        (false, Some("firewall"), None)
    );
    assert_eq!((vault("ops").readable, vault("ops").read_reason.as_deref()), (Some(false), Some("denied-by-rbac")));
    assert_eq!(vault("ops").source.as_str(), "test");
}

#[tokio::test]
async fn a_vault_that_was_never_listed_says_so_instead_of_being_empty() {
    let router = house().open().await;
    let page: SecretsPage = serde_json::from_slice(&get(&router, "/v1/vaults/hr/secrets").await.body).unwrap();
    assert!(!page.complete && page.secrets.is_empty());
    assert_eq!(page.unanswered[0].reason, "firewall");
}

#[tokio::test]
async fn versions_come_newest_first_with_their_addresses() {
    let house = House::new(&["pay"]);
    let versions = ["1", "2", "3"].map(|value| house.set("pay", "a", value).version.unwrap());
    let router = house.open().await;
    let answer = get(&router, "/v1/vaults/pay/secrets/a/versions").await;
    let answer: VersionsAnswer = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.versions.len(), 3);
    for version in versions {
        let one = answer.versions.iter().find(|one| one.version.as_ref() == Some(&version)).unwrap();
        assert_eq!(one.reference.to_string(), format!("secret://pay/a@{version}"));
    }
}
