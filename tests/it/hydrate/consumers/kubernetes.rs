//! A Secret's manifest: its schema, kubectl, and what the API server decodes.

use sidekey::hydrate::Format;

use super::{Trip, has, left_out, print, program_with, reader, told_as_left_out};

#[test]
fn a_secret_s_readers_get_what_went_in() {
    let trip = Trip::of(Format::K8sSecret);
    trip.refuses(|_| false);
    let python = reader("read.py");
    if has("python3", &[&python, "has", "yaml", "kubernetes_validate"]) {
        trip.read_by("python3", &[&python, "secret", "{}"]);
    } else if has("python3", &[&python, "has", "yaml"]) {
        trip.read_by("python3", &[&python, "secret_unchecked", "{}"]);
    }
    if has("go-readers", &[]) {
        trip.read_by("go-readers", &["secret", "{}"]);
    }
}

/// kubectl itself, without a cluster: it parses the manifest and says what it took.
#[test]
fn kubectl_takes_the_manifest() {
    if !program_with("kubectl", "", &["version", "--client"]).output().is_ok_and(|run| run.status.success()) {
        return told_as_left_out("kubectl");
    }
    let trip = Trip::of(Format::K8sSecret);
    let template =
        "go-template={{range $name, $value := .data}}{{$name}}={{$value | base64decode}}{{\"\\x00\"}}{{end}}";
    trip.read_by("kubectl", &["label", "--local", "checked=yes", "--filename={}", "--output", template]);
}

#[test]
fn odd_keys_are_taken_or_refused_as_kubernetes_does() {
    let longest = "k".repeat(253);
    let names = ["a", "A.B", "a-b", "_", "-", ".a", "no", "1", "0x1f", "null", "a..b", "a.", &longest];
    let given: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, b"\xff\x00".split_last().unwrap().1)).collect();
    let trip = Trip::of_these(Format::K8sSecret, &given);
    if has("go-readers", &[]) {
        trip.read_by("go-readers", &["secret", "{}"]);
    } else {
        left_out("Kubernetes' own types");
    }
    for name in ["", ".", "..", "..a", "a b", "a/b", "é", "a\nb", "a\"", &"k".repeat(254)] {
        assert!(print(Format::K8sSecret, &[(name, b"x")]).is_err(), "{name:?}");
    }
    let half = vec![b'x'; 512 * 1024];
    assert!(print(Format::K8sSecret, &[("A", &half), ("B", &half)]).is_ok(), "1 MiB in all is taken");
    let told = print(Format::K8sSecret, &[("A", &half), ("B", &half), ("C", b"x")]).unwrap_err();
    assert!(told.starts_with("C: "), "{told}");
}
