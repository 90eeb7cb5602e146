//! `aws-credentials`, and what a sidecar tells clients of AWS.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::json;

use super::process::{Azure, sidekey};

#[test]
fn credentials_of_two_secrets_are_printed_as_the_sdks_read_them() {
    let azure = Azure::demo();
    azure.set("pay-prod", "s3-id", "AKIACANARY");
    azure.set("pay-prod", "s3", r#"{"key":"canary/+\"","token":"session"}"#);
    let run = azure.direct("aws-credentials pay-prod/s3-id secret://pay-prod/s3#/key --lifetime 90s");
    assert_eq!(run.code, 0, "{}", run.err);
    let mut document = run.json();
    let end = document.as_object_mut().unwrap().remove("Expiration").unwrap();
    let left = humantime::parse_rfc3339(end.as_str().unwrap()).unwrap();
    let left = left.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!(left <= 90, "{left}");
    let expected = json!({"Version": 1, "AccessKeyId": "AKIACANARY", "SecretAccessKey": "canary/+\""});
    assert_eq!(document, expected);
    let (serving, _) = azure.serve("");
    let run = azure.ask("aws-credentials pay-prod/s3-id pay-prod/s3#/key pay-prod/s3#/token");
    assert_eq!((run.code, &run.json()["SessionToken"]), (0, &json!("session")), "{}", run.err);
    drop(serving);
}

#[test]
fn of_credentials_that_cannot_be_had_whole_nothing_is_printed() {
    let azure = Azure::demo();
    let run = azure.direct("aws-credentials pay-prod/db-password pay-prod/nothing");
    assert_eq!((run.code, run.text()), (1, ""), "{}", run.err);
    assert!(run.err.contains("secret access key: vault pay-prod has no secret nothing"), "{}", run.err);
    assert!(!run.err.contains("access key id:") && !run.err.contains("Autumn-2026-staple"), "{}", run.err);
    let run = sidekey(["aws-credentials", "hunter2:/x", "pay-prod/y"]);
    assert_eq!((run.code, run.text()), (64, ""), "{}", run.err);
}

#[test]
fn a_sidecar_tells_what_its_configuration_names_and_a_new_one_takes_its_place() {
    let azure = Azure::demo();
    let profile = |name: &str, id: &str| {
        format!(
            "[[aws]]\nname = {name:?}\naccess_key_id = {id:?}\nsecret_access_key = \"secret://pay-prod/db-password\"\n"
        )
    };
    azure.configure(&profile("backup", "secret://pay-prod/db-password"));
    let (serving, told) = azure.begin("serve");
    told.until("first round done");
    let get = |name: &str| {
        let mut stream = UnixStream::connect(azure.socket()).unwrap();
        write!(stream, "GET /v1/aws/credentials/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<serde_json::Value>(body).unwrap()
    };
    assert_eq!(get("backup")["SecretAccessKey"], "Autumn-2026-staple");
    azure.configure(&profile("copies", "secret://pay-prod/db-password"));
    serving.signal(rustix::process::Signal::HUP);
    told.until("the new configuration is in force");
    assert_eq!(get("copies")["AccessKeyId"], "Autumn-2026-staple");
    assert_eq!(get("backup")["code"], "not-found");
}
