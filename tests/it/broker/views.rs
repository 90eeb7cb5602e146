use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sidekey::broker::{ViewError, view};
use sidekey::secret::{Metadata, Pointer, Secret, SecretValue};

fn secret(value: &str) -> Secret {
    Secret { metadata: Metadata::new("s".parse().unwrap()), value: SecretValue::new(value) }
}

#[test]
fn a_field_is_a_strings_text_or_the_json_of_anything_else() {
    let held = secret(r#"{"a/b":{"c":["x\ny",{"d":1}]},"e":null}"#);
    for (pointer, expected) in [("/a~1b/c/0", "x\ny"), ("/a~1b/c/1", r#"{"d":1}"#), ("/e", "null")] {
        let pointer: Pointer = pointer.parse().unwrap();
        assert_eq!(view::field(&held, &pointer).ok().unwrap().expose(), expected.as_bytes());
    }
    let nowhere: Pointer = "/nope".parse().unwrap();
    for (value, reason) in [("not json hunter2", "not JSON"), (r#"{"a":1}"#, "nothing at that place")] {
        let error = view::field(&secret(value), &nowhere).err().unwrap().to_string();
        assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_certificate_kept_as_pfx_comes_out_as_pem_with_the_same_key() {
    let made = rcgen::generate_simple_self_signed(["pay.example".to_owned()]).unwrap();
    let (key_der, certificate_der) = (made.signing_key.serialize_der(), made.cert.der().to_vec());
    let mut store = KeyStore::new();
    let chain = PrivateKeyChain::new(
        "1",
        PrivateKey::from_der(&key_der).unwrap(),
        [Certificate::from_der(&certificate_der).unwrap()],
    );
    store.add_entry("pay", KeyStoreEntry::PrivateKeyChain(chain));
    let pfx = STANDARD.encode(store.writer("").write().unwrap());

    let pem = view::pem(&secret(&pfx)).ok().unwrap();
    assert_eq!(PrivateKeyDer::from_pem_slice(&pem.expose()).unwrap().secret_der(), key_der);
    assert_eq!(CertificateDer::from_pem_slice(&pem.expose()).unwrap().as_ref(), certificate_der);
    let again = view::pem(&secret(std::str::from_utf8(&pem.expose()).unwrap())).ok().unwrap();
    assert_eq!(*again.expose(), *pem.expose(), "PEM is given as it is");

    for no_certificate in ["hunter2", "aHVudGVyMg=="] {
        let error = view::pem(&secret(no_certificate)).err().unwrap();
        assert!(matches!(error, ViewError::NotCertificate(_)));
        assert!(!error.to_string().contains(no_certificate));
    }
}
