//! How callers are known, through real sockets.

use std::sync::Arc;

use sidekey::access::{Access, AccessSettings, Client, Known, OVERFLOW, Peer};

use super::{Estate, Site, client, next, own_gid, own_uid};

const SECRET: &str = "/v1/vaults/pay/secrets/db";

async fn estate() -> Estate {
    Estate::of(&[("a:pay", &["db", "api"]), ("a:hr", &["db"])]).await
}

fn of_uid(uid: u32, client: Client) -> Client {
    Client { uid: Some(uid), ..client }
}

fn with_token(file: &str, client: Client) -> Client {
    Client { token_file: Some(file.into()), ..client }
}

#[tokio::test]
async fn without_clients_who_may_connect_may_do_everything_and_tcp_needs_the_token() {
    let estate = estate().await;
    let site = Site::start(&estate, []).await;
    assert_eq!(site.unix(SECRET, None).await.text(), "a:pay/db");
    // The socket's mode is the gate: what is sent as a token there is nobody's business.
    assert_eq!(site.unix(SECRET, Some("nonsense")).await.status, 200);
    assert_eq!(site.tcp(SECRET, None).await.status, 401);
    assert_eq!(site.tcp(SECRET, Some("nonsense-and-long-enough")).await.status, 401);
    assert_eq!(site.tcp(SECRET, Some(&site.token("token"))).await.status, 200);
    for path in ["/livez", "/readyz"] {
        assert_eq!(site.tcp(path, None).await.status, 200, "{path}");
    }
    assert_eq!(site.tcp("/readyz?verbose", None).await.status, 401);
}

#[tokio::test]
async fn a_peer_is_known_by_its_user_and_its_group_and_nobody_else_is() {
    let estate = estate().await;
    let app = client("app", &["pay/*"], &[]);
    let site = Site::start(&estate, [of_uid(own_uid(), app.clone())]).await;
    assert_eq!(site.unix(SECRET, None).await.status, 200);
    assert_eq!(site.unix("/v1/vaults/hr/secrets/db", None).await.status, 403);
    assert_eq!(site.tcp(SECRET, None).await.status, 401, "over TCP nobody shows a user");

    let site = Site::start(&estate, [Client { gid: Some(own_gid()), ..app.clone() }]).await;
    assert_eq!(site.unix(SECRET, None).await.status, 200);
    // By one of its other groups as well, if the test's user has one.
    let groups: Vec<u32> = rustix::process::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
    if let Some(other) = groups.iter().find(|group| **group != own_gid()) {
        let site = Site::start(&estate, [Client { gid: Some(*other), ..app.clone() }]).await;
        assert_eq!(site.unix(SECRET, None).await.status, 200);
    }
    let not_in = (1..).find(|gid| *gid != own_gid() && !groups.contains(gid));
    let both = Client { gid: not_in, ..of_uid(own_uid(), app) };
    let site = Site::start(&estate, [both]).await;
    assert_eq!(site.unix(SECRET, None).await.status, 401, "both must hold");
}

#[tokio::test]
async fn what_is_not_known_gets_the_probes_alone_and_only_if_it_is_our_own_user() {
    let estate = estate().await;
    let site = Site::start(&estate, [of_uid(own_uid() + 1, client("other", &["*/*"], &["*/*"]))]).await;
    for (path, status) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/readyz?verbose", 401),
        (SECRET, 401),
        ("/v1/secrets/db", 401),
        ("/v1/search", 401),
        ("/v1/vaults", 401),
        ("/metrics", 401),
        ("/openapi.json", 401),
        ("/nowhere", 401),
    ] {
        let answer = site.unix(path, None).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(status == 200 || !answer.text().contains("pay"), "{path}: {}", answer.text());
    }
    assert!(estate.asked().is_empty());
}

#[tokio::test]
async fn a_token_makes_its_client_known_on_every_listener_and_a_wrong_one_nobody() {
    let estate = estate().await;
    let clients =
        [of_uid(own_uid(), client("peer", &["pay/*"], &[])), with_token("hr-token", client("hr", &["hr/*"], &[]))];
    let site = Site::start(&estate, clients).await;
    let token = site.token("hr-token");
    assert_eq!(site.tcp("/v1/vaults/hr/secrets/db", Some(&token)).await.status, 200);
    assert_eq!(site.tcp(SECRET, Some(&token)).await.status, 403, "over TCP it is the token's client alone");
    // On the socket both are known: their grants unite.
    assert_eq!(site.unix(SECRET, Some(&token)).await.status, 200);
    assert_eq!(site.unix("/v1/vaults/hr/secrets/db", Some(&token)).await.status, 200);
    assert_eq!(site.unix("/v1/vaults/hr/secrets/db", None).await.status, 403);
    // A wrong one is never passed over, though the peer alone would do.
    let mut off = token.clone().into_bytes();
    off[0] ^= 1;
    let off = String::from_utf8(off).unwrap();
    for wrong in [off.as_str(), "x", &format!("{token}x"), &token[1..]] {
        assert_eq!(site.unix(SECRET, Some(wrong)).await.status, 401, "{wrong}");
        assert_eq!(site.tcp("/v1/vaults/hr/secrets/db", Some(wrong)).await.status, 401, "{wrong}");
    }
    // Nor is the one that is the gate where there are no clients.
    assert!(!site.folder.path().join("token").exists());
}

#[tokio::test]
async fn a_token_beside_a_user_is_a_second_factor_and_worth_nothing_over_tcp() {
    let estate = estate().await;
    let clients = [
        with_token("mine", of_uid(own_uid(), client("mine", &["pay/*"], &[]))),
        with_token("theirs", of_uid(own_uid() + 1, client("theirs", &["*/*"], &[]))),
    ];
    let site = Site::start(&estate, clients).await;
    let (mine, theirs) = (site.token("mine"), site.token("theirs"));
    assert_eq!(site.unix(SECRET, None).await.status, 401);
    assert_eq!(site.unix(SECRET, Some(&mine)).await.status, 200);
    assert_eq!(site.unix(SECRET, Some(&theirs)).await.status, 401, "another user's token");
    for token in [&mine, &theirs] {
        assert_eq!(site.tcp(SECRET, Some(token)).await.status, 401);
    }
    assert_eq!(site.unix("/livez", None).await.status, 200);
}

#[tokio::test]
async fn a_connection_keeps_its_caller_and_follows_new_rules() {
    let estate = estate().await;
    let granted = of_uid(own_uid(), client("app", &["pay/*"], &[]));
    let site = Site::start(&estate, [granted]).await;
    let mut stream = tokio::net::UnixStream::connect(&site.socket).await.unwrap();
    let mut status = async || next(&mut stream, &format!("GET {SECRET} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert_eq!((status().await, status().await), (200, 200));
    let clients = vec![of_uid(own_uid(), client("app", &["hr/*"], &[]))];
    site.access.replace(&Access::load(&AccessSettings { clients, token_file: None }).unwrap());
    assert_eq!(status().await, 403);
    site.access.replace(&Access::from(None));
    assert_eq!(status().await, 200);
}

fn access(clients: Vec<Client>) -> Access {
    Access::load(&AccessSettings { clients, token_file: None }).unwrap()
}

#[test]
fn several_clients_that_fit_one_peer_are_one_caller_with_all_their_grants() {
    let groups = |gid| Client { gid: Some(gid), ..client("ops", &["ops/*"], &["*/*"]) };
    let access =
        access(vec![of_uid(1001, client("orders", &["pay/*"], &[])), groups(50), of_uid(7, client("x", &[], &[]))]);
    let peer = |uid, gid, groups: &[u32]| Peer { uid, gid, groups: groups.into() };
    let both = access.of_peer(&peer(1001, 1, &[2, 50])).unwrap();
    assert_eq!((both.name(), both.known()), ("orders+ops", &Known { peer: true, ..Known::default() }));
    assert_eq!(both.known().to_string(), "peer");
    let may = |vault: &str| both.may(sidekey::access::Verb::Read, &vault.parse().unwrap(), &"n".parse().unwrap());
    assert!(may("pay") && may("ops") && !may("hr"));
    assert_eq!(access.of_peer(&peer(9, 50, &[])).unwrap().name(), "ops");
    assert!(access.of_peer(&peer(9, 9, &[51])).is_none());
    // Nobody's user and group are nobody, even if a rule named them.
    let nobody = Client { uid: Some(OVERFLOW), ..client("n", &["*/*"], &[]) };
    let none = Client { gid: Some(OVERFLOW), ..client("g", &["*/*"], &[]) };
    let access = self::access(vec![nobody, none]);
    assert!(access.of_peer(&peer(OVERFLOW, OVERFLOW, &[OVERFLOW])).is_none());
}

#[test]
fn a_certificate_is_known_by_one_of_its_names_as_a_whole() {
    let of = |name: &str| Client { certificate: Some(name.to_owned()), ..client("app", &["*/*"], &[]) };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let dns = access(vec![of("Orders.internal")]);
    assert_eq!(dns.of_certificate(&names(&["x", "orders.INTERNAL"])).unwrap().name(), "app");
    for others in [&["orders.internal.evil"][..], &["a.orders.internal"], &["*.internal"], &[]] {
        assert!(dns.of_certificate(&names(others)).is_none(), "{others:?}");
    }
    let uri = access(vec![of("spiffe://prod/orders")]);
    assert!(uri.of_certificate(&names(&["spiffe://prod/orders"])).is_some());
    assert!(uri.of_certificate(&names(&["spiffe://prod/Orders"])).is_none());
    assert!(uri.of_peer(&Peer { uid: 0, gid: 0, groups: Arc::new([]) }).is_none());
}

#[tokio::test]
async fn a_peer_that_nobody_could_ever_be_is_let_go_before_it_is_heard() {
    // Our own user is heard, as it probes: what is decided of others is asked here.
    let visitor = |access: &Access, uid| {
        let peer = Peer { uid, gid: 5, groups: Arc::new([]) };
        access.visitor(sidekey::access::Evidence::Socket(Some(peer)))
    };
    let stranger = own_uid() + 17;
    let by_uid = access(vec![of_uid(own_uid() + 1, client("a", &[], &[]))]);
    assert!(visitor(&by_uid, stranger).is_hopeless());
    assert!(!visitor(&by_uid, own_uid() + 1).is_hopeless() && !visitor(&by_uid, own_uid()).is_hopeless());
    assert!(!visitor(&Access::from(None), stranger).is_hopeless());
    // A token of anybody's could make it known; one that goes with another user could not.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t").display().to_string();
    let token = access(vec![with_token(&file, client("t", &[], &[]))]);
    assert!(!visitor(&token, stranger).is_hopeless());
    let factor = access(vec![with_token(&file, of_uid(own_uid() + 1, client("t", &[], &[])))]);
    assert!(visitor(&factor, stranger).is_hopeless() && !visitor(&factor, own_uid() + 1).is_hopeless());
}

#[tokio::test]
async fn a_peer_that_the_kernel_tells_nothing_of_fits_no_client() {
    let access = access(vec![of_uid(own_uid(), client("a", &["*/*"], &[]))]);
    let visitor = access.visitor(sidekey::access::Evidence::Socket(None));
    assert!(visitor.is_hopeless() && visitor.caller(None).is_err());
}
