use axum::http::StatusCode;
use sidekey::api::model::SecretDocument;
use sidekey::vaults::memory::Attributes;
use sidekey::vaults::{Outage, VaultErrorKind};
use time::macros::datetime;

use super::{House, ask, get};

const JSON: (&str, &str) = ("accept", "application/json");

#[tokio::test]
async fn the_body_is_the_value_and_not_one_byte_more() {
    let house = House::new(&["pay"]);
    let values: [&[u8]; 8] = [
        b"hunter2",
        b"",
        b"ends with a newline\n",
        b"\r\n two\nlines ",
        b"nul \0 inside",
        "ключ 🔑".as_bytes(),
        b"\"quoted\" $HOME `x` \\",
        &[b'x'; 25_000],
    ];
    for (n, value) in values.iter().enumerate() {
        house.set("pay", &format!("s{n}"), *value);
    }
    house.set("pay", "bytes", [0xff, 0x00, 0xfe]);
    let router = house.open().await;
    for (n, value) in values.iter().enumerate() {
        for path in [format!("/v1/vaults/pay/secrets/s{n}"), format!("/v1/secrets/s{n}")] {
            let answer = get(&router, &path).await;
            assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, *value), "{path}");
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        }
        let document: SecretDocument =
            serde_json::from_slice(&ask(&router, "GET", &format!("/v1/secrets/s{n}"), &[JSON]).await.body).unwrap();
        assert_eq!(document.value.expose(), *value);
    }
    let bytes = get(&router, "/v1/secrets/bytes").await;
    assert_eq!((bytes.header("content-type"), &bytes.body[..]), (Some("application/octet-stream"), &b"\xff\0\xfe"[..]));
    ask(&router, "GET", "/v1/secrets/bytes", &[JSON]).await.problem(406, "not-acceptable");
}

#[tokio::test]
async fn the_document_has_the_fields_that_the_contract_names() {
    let house = House::new(&["pay"]);
    let attributes = Attributes {
        content_type: Some("text/x".into()),
        expires: Some(datetime!(2027-01-02 03:04:05 UTC)),
        tags: [("team".to_owned(), "pay".to_owned())].into(),
        ..Attributes::default()
    };
    let told = house.vault("pay").shelf.set(&"Db-Password".parse().unwrap(), "hunter2", attributes);
    let router = house.open().await;
    let document = ask(&router, "GET", "/v1/vaults/PAY/secrets/DB-password", &[JSON]).await.json();
    let mut keys: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    let expected = [
        "content_type",
        "created_on",
        "enabled",
        "expires_on",
        "name",
        "not_before",
        "reference",
        "tags",
        "updated_on",
        "value",
        "vault",
        "version",
    ];
    assert_eq!(keys, expected);
    assert_eq!(document["vault"], "pay");
    assert_eq!(document["name"], "db-password");
    assert_eq!(document["value"], "hunter2");
    assert_eq!(document["version"], told.version.unwrap().as_str());
    assert_eq!(document["expires_on"], "2027-01-02T03:04:05Z");
    assert_eq!(document["not_before"], serde_json::Value::Null);
    assert_eq!(document["tags"]["team"], "pay");
    assert_eq!(document["reference"], "secret://pay/db-password");
}

#[tokio::test]
async fn an_answer_tells_its_vault_its_version_its_age_and_where_it_came_from() {
    let house = House::new(&["pay"]);
    let version = house.set("pay", "a", "1").version.unwrap();
    let router = house.open().await;
    let miss = get(&router, "/v1/secrets/a").await;
    assert_eq!(miss.header("cache-status"), Some("sidekey; fwd=miss"));
    let hit = get(&router, "/v1/secrets/a").await;
    assert!(hit.header("cache-status").unwrap().starts_with("sidekey; hit; ttl="), "{:?}", hit.headers);
    assert_eq!(hit.header("sidekey-vault"), Some("pay"));
    assert_eq!(hit.header("etag"), Some(format!("\"{version}\"").as_str()));
    assert_eq!(hit.header("age"), Some("0"));
    assert_eq!(hit.header("sidekey-incomplete"), None);
    let forced = ask(&router, "GET", "/v1/secrets/a", &[("cache-control", "no-cache")]).await;
    assert_eq!(forced.header("cache-status"), Some("sidekey; fwd=request"));
}

#[tokio::test(start_paused = true)]
async fn age_grows_ttl_falls_and_the_caller_may_want_it_younger() {
    let house = House::new(&["pay"]);
    house.set("pay", "a", "old");
    let router = house.open().await;
    get(&router, "/v1/secrets/a").await;
    house.set("pay", "a", "new");
    tokio::time::advance(std::time::Duration::from_secs(88)).await;
    let held = ask(&router, "GET", "/v1/secrets/a", &[("cache-control", "max-age=90")]).await;
    assert_eq!((held.header("age"), held.header("cache-status")), (Some("88"), Some("sidekey; hit; ttl=212")));
    assert_eq!(&held.body[..], b"old");
    let younger = ask(&router, "GET", "/v1/secrets/a", &[("cache-control", "max-age=60")]).await;
    assert_eq!((younger.header("age"), &younger.body[..]), (Some("0"), &b"new"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_not_held_says_why() {
    let house = House::new(&["pay"]);
    house.set("pay", "a", "1");
    house.set("pay", "b", "1");
    let router = house.open().await;
    let status = async |name: &str, control: &str| {
        let headers = [("cache-control", control)];
        let answer = ask(&router, "GET", &format!("/v1/vaults/pay/secrets/{name}"), &headers).await;
        answer.header("cache-status").unwrap().to_owned()
    };
    // Nothing is held: that the reader wants it young changes nothing.
    assert_eq!(status("a", "max-age=60").await, "sidekey; fwd=miss");
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    assert_eq!(status("a", "max-age=60").await, "sidekey; fwd=request");
    assert_eq!(status("a", "max-age=60").await, "sidekey; hit; ttl=300");
    tokio::time::advance(std::time::Duration::from_secs(301)).await;
    assert_eq!(status("a", "max-age=600").await, "sidekey; hit; ttl=-1; detail=stale-expired");
    assert_eq!(status("a", "no-cache").await, "sidekey; fwd=request");
    assert_eq!(status("b", "no-cache").await, "sidekey; fwd=request");
    // Too old to be served at all.
    tokio::time::advance(std::time::Duration::from_secs(24 * 3600 + 1)).await;
    assert_eq!(status("b", "").await, "sidekey; fwd=stale");
}

#[tokio::test]
async fn readers_of_one_cold_name_share_a_read_and_are_told_so() {
    let mut house = House::new(&["pay"]);
    house.set("pay", "slow", "1");
    let (reached, released) = house.gate("slow");
    let router = house.open().await;
    let both = async { tokio::join!(get(&router, "/v1/secrets/slow"), get(&router, "/v1/secrets/slow")) };
    let release = async {
        reached.notified().await;
        released.notify_one();
    };
    let ((a, b), ()) = tokio::join!(both, release);
    let mut told = [a.header("cache-status").unwrap(), b.header("cache-status").unwrap()];
    told.sort_unstable();
    assert_eq!(told, ["sidekey; fwd=miss", "sidekey; fwd=miss; collapsed"]);
}

#[tokio::test]
async fn what_the_caller_holds_is_not_sent_again() {
    let house = House::new(&["pay"]);
    house.set("pay", "a", r#"{"user":"u"}"#);
    let router = house.open().await;
    let raw = get(&router, "/v1/secrets/a").await.header("etag").unwrap().to_owned();
    for condition in [raw.clone(), format!("W/{raw}"), format!("\"x\", {raw}"), "*".to_owned()] {
        let answer = ask(&router, "GET", "/v1/secrets/a", &[("if-none-match", &condition)]).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::NOT_MODIFIED, 0), "{condition}");
        assert_eq!(answer.header("etag"), Some(raw.as_str()));
        assert_eq!(answer.header("sidekey-vault"), Some("pay"));
        assert_eq!(answer.header("content-type"), None);
    }
    // Other views of the same version are other representations.
    let json = ask(&router, "GET", "/v1/secrets/a", &[JSON]).await.header("etag").unwrap().to_owned();
    let field = get(&router, "/v1/secrets/a?field=/user").await.header("etag").unwrap().to_owned();
    assert!(raw != json && raw != field && json != field, "{raw} {json} {field}");
    let mismatch = ask(&router, "GET", "/v1/secrets/a", &[("if-none-match", &raw), JSON]).await;
    assert_eq!(mismatch.status, StatusCode::OK);
    let matching = ask(&router, "GET", "/v1/secrets/a", &[("if-none-match", &json), JSON]).await;
    assert_eq!(matching.status, StatusCode::NOT_MODIFIED);
    // A new version is.
    house.set("pay", "a", "2");
    let headers = [("if-none-match", raw.as_str()), ("cache-control", "no-cache")];
    assert_eq!(&ask(&router, "GET", "/v1/secrets/a", &headers).await.body[..], b"2");
}

#[tokio::test]
async fn attributes_that_move_without_a_new_version_change_the_documents_tag_only() {
    let house = House::new(&["pay"]);
    house.set("pay", "a", "1");
    let router = house.open().await;
    let raw = get(&router, "/v1/secrets/a").await.header("etag").unwrap().to_owned();
    let json = ask(&router, "GET", "/v1/secrets/a", &[JSON]).await.header("etag").unwrap().to_owned();
    house.vault("pay").shelf.update(&"a".parse().unwrap(), None, |metadata| {
        metadata.tags = [("k".to_owned(), "v".to_owned())].into();
    });
    let again = ("cache-control", "no-cache");
    assert_eq!(ask(&router, "GET", "/v1/secrets/a", &[again]).await.header("etag"), Some(raw.as_str()));
    let moved = ask(&router, "GET", "/v1/secrets/a", &[again, JSON, ("if-none-match", &json)]).await;
    assert_eq!(moved.status, StatusCode::OK);
}

#[tokio::test]
async fn a_version_is_honoured_in_every_way_of_asking() {
    let house = House::new(&["pay", "hr"]);
    let old = house.set("pay", "a", "old").version.unwrap();
    house.set("pay", "a", "new");
    let router = house.open().await;
    assert_eq!(&get(&router, "/v1/secrets/a").await.body[..], b"new");
    for path in [
        format!("/v1/secrets/a?version={old}"),
        format!("/v1/vaults/pay/secrets/a/versions/{old}"),
        format!("/v1/vaults/pay/secrets/a/versions/{}", old.as_str().to_uppercase()),
    ] {
        let answer = get(&router, &path).await;
        assert_eq!(&answer.body[..], b"old", "{path}");
        assert_eq!(answer.header("etag"), Some(format!("\"{old}\"").as_str()));
    }
    let none = "0".repeat(32);
    get(&router, &format!("/v1/vaults/pay/secrets/a/versions/{none}")).await.problem(404, "version-not-found");
}

#[tokio::test]
async fn a_field_of_a_json_value() {
    let house = House::new(&["pay"]);
    house.set("pay", "a", r#"{"user":"ann","port":5432,"a/b":{"c":[true]}}"#);
    house.set("pay", "plain", "hunter2");
    let router = house.open().await;
    for (pointer, expected) in [("/user", "ann"), ("/port", "5432"), ("/a~1b/c/0", "true"), ("/a~1b", "{\"c\":[true]}")]
    {
        let answer = get(&router, &format!("/v1/secrets/a?field={pointer}")).await;
        assert_eq!(&answer.body[..], expected.as_bytes(), "{pointer}");
    }
    let document = ask(&router, "GET", "/v1/vaults/pay/secrets/a?field=/user", &[JSON]).await.json();
    assert_eq!((&document["value"], &document["reference"]), (&"ann".into(), &"secret://pay/a#/user".into()));
    get(&router, "/v1/secrets/a?field=/nothing").await.problem(404, "field-not-found");
    let problem = get(&router, "/v1/secrets/plain?field=/x").await.problem(404, "field-not-found");
    assert!(!problem.to_string().contains("hunter2"));
    get(&router, "/v1/secrets/plain?format=pem").await.problem(404, "field-not-found");
}

#[tokio::test]
async fn head_tells_the_same_without_the_value() {
    let house = House::new(&["pay"]);
    house.set("pay", "a", "hunter2");
    let router = house.open().await;
    let (head, full) = (ask(&router, "HEAD", "/v1/secrets/a", &[]).await, get(&router, "/v1/secrets/a").await);
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), Some("7"));
    assert_eq!(head.header("etag"), full.header("etag"));
    assert_eq!(ask(&router, "HEAD", "/v1/secrets/none", &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_vault_that_could_not_be_asked_is_named_beside_the_value() {
    let house = House::new(&["pay", "hr", "ops"]);
    house.set("pay", "a", "1");
    house.list_fails("hr", VaultErrorKind::Unavailable(Outage::Firewall));
    house.get_fails("hr", "a", VaultErrorKind::Unavailable(Outage::Firewall));
    let router = house.open().await;
    let answer = get(&router, "/v1/secrets/a").await;
    assert_eq!((&answer.body[..], answer.header("sidekey-incomplete")), (&b"1"[..], Some("hr;reason=firewall")));
    // Where the vault was named, no other matters.
    assert_eq!(get(&router, "/v1/vaults/pay/secrets/a").await.header("sidekey-incomplete"), None);
}
