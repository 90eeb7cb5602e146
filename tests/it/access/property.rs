//! For random grants and estates: whatever anything tells a caller, the caller could get; what it could get and find, it
//! is told; and a refusal never tells what exists.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use globset::GlobBuilder;
use proptest::prelude::*;
use sidekey::broker::{Filter, Told};
use sidekey::vaults::Vault as _;
use sidekey::vaults::memory::Attributes;

use super::{Estate, ask, caller, resolve};

const NAMES: &[&str] = &["db", "db-x", "api", "key"];
const VAULTS: &[&str] = &["a:pay", "a:hr", "a:ops!", "b:pay", "b:hr", "b:gov"];
const VAULT_GLOBS: &[&str] =
    &["*", "pay", "p*", "h?", "gov", "ops", "b:*", "b:pay", "a:pay", "{a,b}:hr", "*:*", "b:gov"];
const NAME_GLOBS: &[&str] = &["*", "db", "db*", "k?y", "api", "[ad]*"];

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let one = (prop::sample::select(VAULT_GLOBS), prop::sample::select(NAME_GLOBS));
    prop::collection::vec(one.prop_map(|(vault, name)| format!("{vault}/{name}")), 0..4)
}

fn estates() -> impl Strategy<Value = Vec<(&'static str, Vec<&'static str>)>> {
    let vault = |id: &'static str| {
        prop::option::weighted(0.7, prop::sample::subsequence(NAMES, 0..=NAMES.len()))
            .prop_map(move |names| (id, names))
    };
    let vaults: Vec<_> = VAULTS.iter().map(|id| vault(id)).collect();
    vaults.prop_map(|vaults| vaults.into_iter().filter_map(|(id, names)| Some((id, names?))).collect())
}

/// What the patterns say, by another's reading of globs.
struct Granted<'g>(&'g [String]);

impl Granted<'_> {
    fn covers(&self, vault: &str, name: &str) -> bool {
        let is = |glob: &str, text: &str| {
            GlobBuilder::new(glob).literal_separator(false).build().unwrap().compile_matcher().is_match(text)
        };
        self.0.iter().any(|pattern| {
            let (of_vault, of_name) = pattern.split_once('/').unwrap();
            is(of_vault, vault) && is(of_name, name)
        })
    }
}

async fn check(vaults: &[(&str, Vec<&str>)], read: &[String], list: &[String]) {
    let vaults: Vec<(&str, &[&str])> = vaults.iter().map(|(id, names)| (*id, names.as_slice())).collect();
    let estate = Estate::of(&vaults).await;
    let (read_texts, list_texts): (Vec<&str>, Vec<&str>) =
        (read.iter().map(String::as_str).collect(), list.iter().map(String::as_str).collect());
    let app = caller(&read_texts, &list_texts);
    let router = estate.router();
    let (may_read, may_list) = (Granted(read), Granted(list));
    let address: BTreeMap<String, String> = estate
        .catalog
        .vaults()
        .into_iter()
        .map(|status| (status.info.id().to_string(), status.address.to_string()))
        .collect();
    let all = estate.all(&vaults);

    // Every address and name that may or may not exist: a read is let through by the grant's text alone.
    let mut refusal = None;
    let mut gettable: BTreeSet<(String, String)> = BTreeSet::new();
    let mut addresses: BTreeSet<String> = VAULTS.iter().map(|id| id.trim_end_matches('!').to_owned()).collect();
    addresses.extend(["pay", "hr", "ops", "gov", "none", "b:none"].map(str::to_owned));
    for vault in &addresses {
        for name in NAMES.iter().chain(&["other"]) {
            estate.asked();
            let answer = ask(&router, &app, &format!("/v1/vaults/{vault}/secrets/{name}")).await;
            if may_read.covers(vault, name) {
                assert!(matches!(answer.status, 200 | 404), "{vault}/{name}: {answer:?}");
                if answer.status == 200 {
                    gettable.insert((vault.clone(), (*name).to_owned()));
                }
            } else {
                assert_eq!(answer.status, 403, "{vault}/{name}");
                assert_eq!(*refusal.get_or_insert_with(|| answer.clone()), answer, "{vault}/{name}");
                assert!(estate.asked().is_empty(), "{vault}/{name} was asked for");
            }
        }
    }
    let could = |reference: &str| {
        let (vault, name) = reference.strip_prefix("secret://").unwrap().split_once('/').unwrap();
        gettable.contains(&(vault.to_owned(), name.to_owned()))
    };

    // A bare name: never another vault than those that could be read, and never a refusal that depends on them.
    for name in NAMES.iter().chain(&["other"]) {
        estate.asked();
        let answer = ask(&router, &app, &format!("/v1/secrets/{name}")).await;
        let granted = read
            .iter()
            .any(|pattern| Granted(&[format!("x/{}", pattern.split_once('/').unwrap().1)]).covers("x", name));
        assert_eq!(answer.status == 403, !granted, "{name}: {answer:?}");
        let may =
            |id: &String| may_read.covers(id, name) || address.get(id).is_some_and(|at| may_read.covers(at, name));
        for (id, asked) in estate.asked() {
            assert!(asked == *name && may(&id), "{id}/{asked}");
        }
        match answer.status {
            200 => {
                let vault = answer.headers.iter().find(|(name, _)| name == "sidekey-vault").unwrap();
                assert!(could(&format!("secret://{}/{name}", vault.1)), "{name}: {answer:?}");
                assert!(answer.headers.iter().all(|(name, _)| name != "sidekey-incomplete"));
            }
            409 => {
                let told = answer.json()["candidates"].as_array().unwrap().clone();
                assert!(told.len() > 1 && told.iter().all(|one| could(one.as_str().unwrap())), "{answer:?}");
            }
            404 => assert!(!gettable.iter().any(|(_, held)| held == name), "{name} could be got"),
            403 => assert_eq!(refusal.get_or_insert_with(|| answer.clone()), &answer),
            _ => panic!("{name}: {answer:?}"),
        }
    }

    // Found: exactly what may be listed and read under one of the vault's addresses, where it could be listed.
    let unlisted = |id: &str| vaults.iter().any(|(vault, _)| *vault == format!("{id}!"));
    let shown = |id: &String, name: &String| {
        [&address[id], id].into_iter().find(|at| may_read.covers(at, name) && may_list.covers(at, name)).cloned()
    };
    let expected: BTreeSet<String> = all
        .iter()
        .filter(|(id, _)| !unlisted(id))
        .filter_map(|(id, name)| Some(format!("secret://{}/{name}", shown(id, name)?)))
        .collect();
    for query in
        ["limit=1000", "q=d", "match=prefix&q=db", "match=glob&q=*b*", "sort=vault", "sort=-name", "enabled=true"]
    {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        let limit = if query.starts_with("limit") { "" } else { "&limit=2" };
        let total = loop {
            let page = ask(&router, &app, &format!("/v1/search?{query}{limit}{cursor}")).await.json();
            let hits = page["hits"].as_array().unwrap().clone();
            found.extend(hits.iter().map(|hit| hit["reference"].as_str().unwrap().to_owned()));
            for one in page["unanswered"].as_array().unwrap() {
                let vault = one["vault"].as_str().unwrap();
                let any =
                    |granted: &Granted<'_>| NAMES.iter().chain(&["other"]).any(|name| granted.covers(vault, name));
                assert!(any(&may_read) && any(&may_list), "{page}");
            }
            let Some(next) = page["next"].as_str() else { break page["total"].as_u64().unwrap() };
            cursor = format!("&cursor={next}");
        };
        let wanted = |reference: &&String| match query {
            "q=d" => reference.rsplit('/').next().unwrap().contains('d'),
            "match=prefix&q=db" => reference.rsplit('/').next().unwrap().starts_with("db"),
            "match=glob&q=*b*" => reference.rsplit('/').next().unwrap().contains('b'),
            _ => true,
        };
        let set: BTreeSet<String> = found.iter().cloned().collect();
        assert_eq!(set, expected.iter().filter(wanted).cloned().collect(), "{query}");
        assert_eq!((set.len(), total), (found.len(), found.len() as u64), "{query}: told twice, or counted otherwise");
        assert!(found.iter().all(|reference| could(reference)), "{query}: {found:?}");
    }

    // Vaults and their listings.
    let told = ask(&router, &app, "/v1/vaults").await.json();
    for vault in told["vaults"].as_array().unwrap() {
        let (name, source) = (vault["name"].as_str().unwrap(), vault["source"].as_str().unwrap());
        let id = format!("{source}:{}", name.rsplit(':').next().unwrap());
        let any = |granted: &Granted<'_>| NAMES.iter().chain(&["other"]).any(|one| granted.covers(name, one));
        assert!(any(&may_read) && any(&may_list), "{vault}");
        let count = all.iter().filter(|(of, name)| *of == id && shown(of, name).is_some()).count();
        assert!(unlisted(&id) || vault["listing"]["secrets"] == count, "{vault}: {count}");
    }
    for vault in &addresses {
        let answer = ask(&router, &app, &format!("/v1/vaults/{vault}/secrets?limit=1000")).await;
        let any = |granted: &Granted<'_>| NAMES.iter().chain(&["other"]).any(|name| granted.covers(vault, name));
        assert_eq!(answer.status == 403, !(any(&may_read) && any(&may_list)), "{vault}: {answer:?}");
        if answer.status == 200 {
            let page = answer.json();
            let rows = page["secrets"].as_array().unwrap();
            assert!(rows.iter().all(|row| could(row["reference"].as_str().unwrap())), "{vault}: {page}");
            assert!(rows.iter().all(|row| may_list.covers(vault, row["name"].as_str().unwrap())), "{vault}: {page}");
            assert_eq!(page["total"], rows.len(), "{vault}");
        } else {
            assert!(answer.status == 404 || answer.status == 403, "{vault}: {answer:?}");
        }
    }

    // Resolved: what could be got by itself, and failures that name no other.
    for vault in &addresses {
        let refs = BTreeMap::from([("K".to_owned(), format!("secret://{vault}/db"))]);
        let answer = resolve(&router, &app, &refs).await;
        assert_eq!(answer.status == 200, could(&format!("secret://{vault}/db")), "{vault}: {answer:?}");
    }

    // Told of changes: of what could be got, and found, and nothing else.
    let within = estate.broker.within(app.rights());
    let mut watch = within.watch(Filter::default(), None).unwrap();
    for shelf in &estate.shelves {
        for name in NAMES {
            shelf.inner.set(&name.parse().unwrap(), "changed", Attributes::default());
        }
    }
    estate.catalog.refresh(None).await;
    let mut changed = BTreeSet::new();
    while let Some(told) = watch.next().now_or_never() {
        let Told::Event(_, event) = told else { panic!("nothing was missed") };
        match &event.name {
            Some(name) => drop(changed.insert(format!("secret://{}/{name}", event.vault))),
            None => assert!(within.may_find_in(&event.vault), "{event:?}"),
        }
    }
    for reference in &changed {
        let (vault, name) = reference.strip_prefix("secret://").unwrap().split_once('/').unwrap();
        assert!(may_read.covers(vault, name) && may_list.covers(vault, name), "{reference}");
    }
    let gone: BTreeSet<_> = expected.difference(&changed).collect();
    // What is held is told of when its new value is read: it was read above.
    assert!(gone.iter().all(|reference| could(reference)), "{gone:?}");
    for shelf in estate.shelves.iter().filter(|shelf| !shelf.unlisted.load(std::sync::atomic::Ordering::Relaxed)) {
        let id = shelf.info().id().to_string();
        for name in NAMES.iter().map(|name| (*name).to_owned()) {
            let is_new = !all.contains(&(id.clone(), name.clone()));
            if let Some(at) = shown(&id, &name).filter(|_| is_new) {
                let told = changed.contains(&format!("secret://{at}/{name}"));
                // One whose absence was asked for is told of once that is forgotten.
                assert!(told || may_read.covers(&at, &name), "{at}/{name} was added");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_tells_a_caller_what_it_could_not_get(vaults in estates(), read in patterns(), list in patterns()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&vaults, &read, &list));
    }
}
