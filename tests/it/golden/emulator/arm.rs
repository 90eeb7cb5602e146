use reqwest::Method;
use serde_json::{Value, json};

use crate::emulator::support::{ARM, ESTATE, Lab};
use crate::golden::recording::{Recording, covers, shape};

const PRODUCTION: &str = "aaaa0000-0000-4000-8000-00000000000a";

/// The sizes of the pages of the long recorded walk.
fn recorded_walk() -> Vec<usize> {
    let recording = Recording::of("arm_vaults_paged_2019_457pages");
    let mut sizes = Vec::new();
    for exchange in &recording.interactions {
        let of_walk =
            exchange.uri.contains("/providers/Microsoft.KeyVault/vaults?") && !exchange.uri.contains("resourceGroups");
        if !of_walk || exchange.status != 200 {
            continue;
        }
        let body = exchange.json();
        sizes.push(body["value"].as_array().unwrap().len());
        if body["nextLink"].is_null() {
            return sizes;
        }
    }
    panic!("the walk does not end")
}

#[tokio::test]
async fn the_recorded_walk_of_153_pages_for_24_vaults_can_be_told_again() {
    let sizes = recorded_walk();
    let longest = sizes.split(|size| *size > 0).map(<[usize]>::len).max().unwrap();
    let (pages, vaults) = (sizes.len(), sizes.iter().sum::<usize>());
    // The last page is empty too: with it the last run would be as long, but nothing comes after it.
    assert_eq!((pages, vaults), (153, 24));
    assert!(longest >= 112, "{longest}");
    let many = ESTATE.replace("name = \"alpha\"", "name = \"vault-{}\"\ncount = 24");
    let lab = Lab::of(&format!("{many}\n[arm]\npages = {sizes:?}\n"));
    let token = lab.token(ARM).await;
    let url = format!(
        "https://management.azure.com/subscriptions/{PRODUCTION}/providers/Microsoft.KeyVault/vaults?api-version=2026-02-01"
    );
    let (walked, items) = lab.walk(&url, &token).await;
    assert_eq!(walked, sizes);
    assert_eq!(items.len(), 24);
}

#[tokio::test]
async fn vaults_and_subscriptions_have_all_that_the_recorded_ones_have() {
    let lab = Lab::new();
    let token = lab.token(ARM).await;
    let recorded = Recording::of("arm_vault_crud_2023");
    let recorded =
        recorded.interactions.iter().find(|one| one.method == "GET" && one.uri.contains("/vaults/my")).unwrap();
    let group = format!("https://management.azure.com/subscriptions/{PRODUCTION}/resourceGroups/default");
    let url = format!("{group}/providers/Microsoft.KeyVault/vaults/alpha?api-version=2023-02-01");
    let vault = lab.get(&url, &token).await.json();
    assert!(covers(&shape(&vault), &shape(&recorded.json())), "{vault}");
    assert_eq!(vault["properties"]["vaultUri"], "https://alpha.vault.azure.net/");

    let recorded = Recording::of("arm_subscriptions").find("/subscriptions?", 200).json();
    let subscriptions =
        lab.get("https://management.azure.com/subscriptions?api-version=2022-12-01", &token).await.json();
    assert_eq!(shape(&subscriptions), shape(&recorded));
    assert_eq!(subscriptions["count"]["value"], 2);
}

#[tokio::test]
async fn a_link_is_percent_encoded_and_the_last_page_has_none_or_a_null_one() {
    let small = Recording::of("arm_vaults_paged_2019_small");
    let links = small
        .interactions
        .iter()
        .filter(|one| one.uri.contains("/vaults?$top=1"))
        .map(|one| one.json()["nextLink"].clone());
    assert!(links.clone().any(|link| link.as_str().is_some_and(|link| link.contains("%24skiptoken="))));
    assert!(links.clone().any(|link| link.is_null()), "and absent in the last");
    for (end, key_present) in [("absent", false), ("null", true)] {
        let lab = Lab::of(&format!("{ESTATE}\n[arm]\npage_size = 2\nend = \"{end}\"\n"));
        let token = lab.token(ARM).await;
        let shared = "aaaa0000-0000-4000-8000-00000000000b";
        let mut url = format!(
            "https://management.azure.com/subscriptions/{shared}/providers/Microsoft.KeyVault/vaults?api-version=2026-02-01"
        );
        loop {
            let page = lab.get(&url, &token).await.json();
            match page["nextLink"].as_str() {
                Some(link) => {
                    let mark = link.split_once("%24skiptoken=").unwrap().1;
                    assert!(mark.contains("%2B") && mark.contains("%3D"), "{link}");
                    url = link.to_owned();
                }
                None => {
                    assert_eq!(page.get("nextLink").is_some(), key_present);
                    break;
                }
            }
        }
    }
}

async fn ask(lab: &Lab, token: &str, body: Value) -> crate::emulator::support::Reply {
    let url = "https://management.azure.com/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01";
    lab.send(Method::POST, url, Some(token), Some(body)).await.unwrap()
}

#[tokio::test]
async fn resource_graph_answers_in_the_recorded_shape_with_its_quota() {
    let lab = Lab::new();
    let token = lab.token(ARM).await;
    for file in ["arg_basic", "arg_basic_object_array", "arg_facets"] {
        let recorded = Recording::of(file).interactions.remove(0);
        let reply = ask(&lab, &token, json!({"query": "project id, tags, location, properties | limit 2"})).await;
        let (mut emulated, mut real) = (reply.json(), recorded.json());
        assert_eq!(emulated["count"], 2);
        assert!(emulated["data"][0]["id"].is_string() && real["data"][0]["id"].is_string());
        for body in [&mut emulated, &mut real] {
            body["data"] = json!([]);
            body["facets"] = json!([]);
        }
        assert_eq!(shape(&emulated), shape(&real));
        assert_eq!(emulated["resultTruncated"], real["resultTruncated"]);
        for header in ["x-ms-user-quota-remaining", "x-ms-user-quota-resets-after"] {
            assert_eq!(reply.header(header).len(), recorded.headers[header].len(), "{header}");
        }
    }
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_refused_in_the_recorded_shape() {
    let recorded = Recording::of("arg_bad_query_400").interactions.remove(0);
    let lab = Lab::new();
    let token = lab.token(ARM).await;
    let reply = ask(&lab, &token, json!({"query": "project id, location | where where"})).await;
    assert_eq!(reply.status, recorded.status);
    let (emulated, real) = (reply.json(), recorded.json());
    for index in 0..2 {
        let (ours, theirs) = (&emulated["error"]["details"][index], &real["error"]["details"][index]);
        assert_eq!(shape(ours), shape(theirs));
        assert_eq!(ours["code"], theirs["code"]);
    }
    assert_eq!(emulated["error"]["code"], real["error"]["code"]);
}

#[tokio::test]
async fn a_page_that_is_not_the_last_has_a_token_beside_the_string_false() {
    let lab = Lab::new();
    let token = lab.token(ARM).await;
    let query = "resources | where type =~ 'microsoft.keyvault/vaults' | project id, name | order by id asc";
    let (mut names, mut skip) = (Vec::new(), Value::Null);
    loop {
        let mut options = json!({"resultFormat": "objectArray", "$top": 2});
        if !skip.is_null() {
            options["$skipToken"] = skip;
        }
        let body = ask(&lab, &token, json!({"query": query, "options": options})).await.json();
        assert_eq!(body["resultTruncated"], "false");
        assert_eq!(body["totalRecords"], 6);
        names.extend(body["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()));
        skip = body["$skipToken"].clone();
        if skip.is_null() {
            break;
        }
    }
    names.sort();
    assert_eq!(names, ["alpha", "busy", "foreign", "policies", "private", "walled"], "not the hidden one");
}
