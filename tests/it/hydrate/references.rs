//! References in all their forms, alone and within longer texts, with generated names, texts and values.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use sidekey::hydrate::Template;
use sidekey::secret::{Reference, SecretValue};

const SUFFIXES: [&str; 5] = [
    "vault.azure.net",
    "vault.azure.cn",
    "vault.usgovcloudapi.net",
    "vault.microsoftazure.de",
    "vault.local.azurestack.external",
];

fn address() -> impl Strategy<Value = (String, String, Option<String>)> {
    ("[a-zA-Z][a-zA-Z0-9-]{0,22}", "[a-zA-Z0-9-]{1,127}", proptest::option::of("[0-9a-fA-F]{32}"))
}

/// Each way to write it, all of which mean the same.
fn forms(vault: &str, name: &str, version: Option<&str>, suffix: &str) -> Vec<String> {
    let at = version.map(|version| format!("@{version}")).unwrap_or_default();
    let behind = version.map(|version| format!("/{version}")).unwrap_or_default();
    let part = version.map(|version| format!(";SecretVersion={version}")).unwrap_or_default();
    let first = version.map(|version| format!("secretversion = {version} ; ")).unwrap_or_default();
    let url = format!("https://{vault}.{suffix}/secrets/{name}{behind}");
    vec![
        format!("secret://{vault}/{name}{at}"),
        format!("akv://{vault}/{name}{at}"),
        format!("@Microsoft.KeyVault(SecretUri={url})"),
        format!("@Microsoft.KeyVault(SecretUri={url}/)"),
        format!("@Microsoft.KeyVault(VaultName={vault};SecretName={name}{part})"),
        format!("@microsoft.keyvault( {first}SECRETNAME={name}; VaultName={vault}; )"),
        format!("{url}/"),
        url,
    ]
}

fn rendered(text: &str, value: &[u8]) -> Vec<u8> {
    let value = SecretValue::new(value);
    let template = Template::parse(text).unwrap_or_else(|bad| panic!("{text:?}: {bad}"));
    template.render(|_| &value).unwrap_or_else(|bad| panic!("{bad}")).expose().to_vec()
}

fn references(text: &str) -> Vec<Reference> {
    Template::parse(text).unwrap_or_else(|bad| panic!("{text:?}: {bad}")).references().cloned().collect()
}

/// What stands between references: anything but what begins one.
fn plain() -> impl Strategy<Value = String> {
    "[^$\\\\@]{0,12}".prop_filter("no reference", |text| !text.contains("://"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn every_form_means_the_same_secret_alone_and_in_braces(
        (vault, name, version) in address(), suffix in 0..SUFFIXES.len(), pointer in "(/([a-z0-9]|~[01]|é){0,4}){1,3}",
    ) {
        let expected: Reference = format!("secret://{vault}/{name}").parse().unwrap();
        let expected = Reference { version: version.as_ref().map(|version| version.parse().unwrap()), ..expected };
        for form in forms(&vault, &name, version.as_deref(), SUFFIXES[suffix]) {
            prop_assert_eq!(references(&form), vec![expected.clone()], "{}", form);
            prop_assert_eq!(references(&format!("${{{form}}}")), vec![expected.clone()], "{}", form);
            prop_assert_eq!(references(&format!("é${{{form} | url|json}}$")), vec![expected.clone()], "{}", form);
            prop_assert_eq!(rendered(&form, b"value\xff"), b"value\xff");
            // And as it stands, if it is escaped.
            prop_assert_eq!(rendered(&format!("\\{form}"), b"no"), form.as_bytes());
            prop_assert_eq!(rendered(&format!("a$${{{form}}}"), b"no"), format!("a${{{form}}}").into_bytes());
            if !form.starts_with('@') {
                let field = Reference { pointer: Some(pointer.parse().unwrap()), ..expected.clone() };
                prop_assert_eq!(references(&format!("{form}#{pointer}")), vec![field.clone()]);
                prop_assert_eq!(references(&format!("x${{{form}#{pointer}|base64}}")), vec![field]);
            }
        }
        let any: Reference = format!("secret://*/{name}").parse().unwrap();
        prop_assert_eq!(&any.vault, &None);
        prop_assert_eq!(references(&any.to_string()), vec![any]);
    }

    #[test]
    fn a_text_is_its_parts_in_order(texts in proptest::collection::vec(plain(), 2..6), value in any::<Vec<u8>>()) {
        prop_assume!(!texts.concat().trim().is_empty());
        let text = texts.join("${secret://pay/db}");
        let expected = texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>().join(value.as_slice());
        prop_assert_eq!(rendered(&text, &value), expected);
        prop_assert_eq!(references(&text).len(), texts.len() - 1);
    }

    #[test]
    fn what_is_filtered_is_what_it_was_to_its_reader(value in any::<Vec<u8>>(), text in any::<String>()) {
        let through = |filter: &str, value: &[u8]| rendered(&format!("<${{secret://a/b|{filter}}}>"), value);
        let inside = |text: Vec<u8>| String::from_utf8(text[1..text.len() - 1].to_vec()).unwrap();
        let url = inside(through("url", &value));
        prop_assert_eq!(&percent_encoding::percent_decode_str(&url).collect::<Vec<_>>(), &value);
        prop_assert!(url.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
        let parsed = url::Url::parse(&format!("pg://u:{url}@h/{url}?k={url}#{url}")).unwrap();
        prop_assert_eq!((parsed.password().unwrap_or_default(), parsed.host_str()), (url.as_str(), Some("h")));
        let json = format!("{{\"a\":\"{}\",\"b\":1}}", inside(through("json", text.as_bytes())));
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), serde_json::json!({"a": text, "b": 1}));
        prop_assert_eq!(&STANDARD.decode(inside(through("base64", &value))).unwrap(), &value);
        let lines = STANDARD.encode(&value).as_bytes().chunks(7).map(<[u8]>::to_vec).collect::<Vec<_>>().join(b"\r\n".as_slice());
        let encoded = [
            STANDARD.encode(&value).into_bytes(), STANDARD_NO_PAD.encode(&value).into_bytes(),
            URL_SAFE.encode(&value).into_bytes(), URL_SAFE_NO_PAD.encode(&value).into_bytes(), lines,
        ];
        for encoded in encoded {
            prop_assert_eq!(&rendered("${secret://a/b|base64d}", &encoded), &value);
        }
        let word: Vec<u8> = value.iter().copied().filter(|byte| *byte != 0).collect();
        let line = rendered("x ${secret://a/b|shell} y", &word);
        prop_assert_eq!(shlex::bytes::Shlex::new(&line).collect::<Vec<_>>(), vec![b"x".to_vec(), word, b"y".to_vec()]);
    }

    #[test]
    fn a_fault_is_told_where_it_is(before in "[a-zé\u{1f600} ]{1,6}", name in "[a-z0-9-]{1,20}", bad in "[_!.%é\u{1f600}]", at in 0..20_usize) {
        let at = at.min(name.len());
        let broken = format!("{}{bad}{}", &name[..at], &name[at..]);
        for start in ["secret://pay/", "secret://gov:pay/", "https://pay.vault.azure.net/secrets/", "@Microsoft.KeyVault(VaultName=a;SecretName="] {
            let end = if start.starts_with('@') { ")" } else { "" };
            let place = |text: &str| Template::parse(text).err().expect("a fault");
            let whole = place(&format!("{start}{broken}{end}"));
            prop_assert_eq!(whole.place, start.len() + at + 1);
            let within = place(&format!("{before}${{{start}{broken}{end}}}"));
            prop_assert_eq!(within.place, before.chars().count() + 2 + start.len() + at + 1);
            for told in [whole.to_string(), within.to_string()] {
                prop_assert!(!told.contains(&broken) && !told.contains(['_', '!', '%', 'é', '\u{1f600}']), "{}", told);
            }
        }
    }

    /// Settings are full of what only looks like a reference.
    #[test]
    fn what_only_looks_like_a_reference_stays_as_it_is(name in "[a-z]{1,8}") {
        for text in [
            format!("https://{name}.example.com/secrets/{name}"),
            format!("https://{name}.vault.azure.net/keys/{name}"),
            format!("https://{name}.vault.azure.net"),
            format!("https://user:{name}@{name}.vault.azure.net/secrets/{name}"),
            format!("http://{name}.vault.azure.net/secrets/{name}"),
            format!("see secret://{name}/{name}"),
            format!("secret:{name}/{name}"),
            format!("@Microsoft.KeyVault.{name}"),
            format!("${{{name}}}"),
            format!("${{{name}:-secret://a/b}}"),
            format!("$({name})"),
            format!("${name}$"),
            format!("{{{{ {name} }}}}"),
            format!("\\{name}"),
        ] {
            prop_assert_eq!(rendered(&text, b"no"), text.as_bytes());
            prop_assert_eq!(references(&text).len(), 0);
        }
    }
}
