use std::os::unix::fs::PermissionsExt;

use sidekey::api::{Token, TokenError};

#[test]
fn a_token_is_made_once_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/token");
    let first = Token::load_or_create(&path).unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(path.as_path()), mode(path.parent().unwrap())), (0o600, 0o750));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.len() == 44 && text.ends_with('\n'), "32 bytes as base64url and a newline");
    let again = Token::load_or_create(&path).unwrap();
    assert!(first.digest().matches(text.trim().as_bytes()) && again.header() == first.header());
    assert!(!first.digest().matches(b""));
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    let other = Token::load_or_create(&directory.path().join("other")).unwrap();
    assert!(!other.digest().matches(text.trim().as_bytes()));
}

#[test]
fn those_who_make_it_together_have_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let headers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Token::load_or_create(&path).unwrap().header())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(headers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_file_that_others_may_read_or_change_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "0123456789abcdef0123456789\n").unwrap();
    for (mode, accepted) in [
        (0o600, true),
        (0o400, true),
        (0o640, true),
        (0o440, true),
        (0o644, false),
        (0o604, false),
        (0o602, false),
        (0o660, false),
    ] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        match Token::load(&path) {
            Ok(_) => assert!(accepted, "{mode:o}"),
            Err(error) => {
                assert!(!accepted && matches!(error, TokenError::Open { .. }), "{mode:o}: {error}");
                assert!(error.to_string().contains("chmod 0600"), "{error}");
            }
        }
    }
}

#[test]
fn what_is_no_token_is_refused_without_being_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    for content in [
        "",
        "\n",
        "short-canary",
        "two lines of\ncanary canary canary\n",
        "canary with spaces canary",
        &"canary".repeat(500),
    ] {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let error = Token::load_or_create(&path).err().unwrap_or_else(|| panic!("{content:?} must be refused"));
        assert!(matches!(error, TokenError::Content { .. }) && !error.to_string().contains("canary"), "{error}");
    }
    assert!(matches!(Token::load(directory.path()).err().unwrap(), TokenError::Content { .. } | TokenError::Io { .. }));
    assert!(matches!(Token::load(&directory.path().join("none")).err().unwrap(), TokenError::Io { .. }));
}
