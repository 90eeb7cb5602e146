use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::doors::{Door, Shown};

/// What a request shows of who asks.
#[derive(Debug)]
pub struct Credential {
    /// Whole lines of the head.
    pub headers: String,
    /// What is put behind the path.
    pub query: String,
    /// Where certificates are asked for: which one it shows.
    pub shown: Shown,
}

impl Credential {
    /// What the door asks for.
    pub fn right(door: &Door) -> Self {
        // Where none is asked for, one that is sent is a wrong one.
        Self::of(if door.asks_for_a_token() { bearer(door.token()) } else { String::new() })
    }

    /// The same as clients of AWS send it, where it is right too.
    pub fn bare(door: &Door) -> Self {
        Self::of(if door.asks_for_a_token() { format!("Authorization: {}\r\n", door.token()) } else { String::new() })
    }

    /// Whether it is that.
    pub fn is_bare(&self, door: &Door) -> bool {
        self.headers == Self::bare(door).headers && !self.headers.is_empty() && self.shown == Shown::Right
    }

    fn of(headers: String) -> Self {
        Self { headers, query: String::new(), shown: Shown::Right }
    }
}

/// No, an empty, a wrong one, one that is a bit off, doubled, in the query, in a cookie, under another name, by another
/// scheme: everything but the right one. Where certificates are asked for: no, another authority's, a stranger's, an expired
/// one, with all else right.
pub fn wrong(door: &Door) -> Vec<Credential> {
    let mut all = Vec::new();
    if door.asks_for_a_token() {
        all.extend(wrong_tokens(door));
    }
    if door.asks_for_a_certificate() {
        for shown in [Shown::None, Shown::AnotherAuthoritys, Shown::Strangers, Shown::Expired] {
            let sent =
                [Credential::right(door).headers, String::new(), bearer(door.token()), bearer(door.token_of_another())];
            all.extend(sent.map(|headers| Credential { shown, ..Credential::of(headers) }));
        }
    }
    all
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn wrong_tokens(door: &Door) -> Vec<Credential> {
    let token = door.token();
    let mut heads = vec![
        String::new(),
        "Authorization:\r\n".to_owned(),
        "Authorization: \r\n".to_owned(),
        "Authorization: Bearer\r\n".to_owned(),
        bearer(""),
        bearer("wrong"),
        bearer(door.token_of_another()),
        bearer(&token[..token.len() - 1]),
        bearer(&token[1..]),
        bearer(&format!("{token}x")),
        bearer(&format!("x{token}")),
        bearer(&format!("\"{token}\"")),
        bearer(&token.to_ascii_uppercase()),
        bearer(&STANDARD.encode(token)),
        bearer(&token.repeat(2)),
        bearer(&format!("{token} {token}")),
        bearer(&format!("{token},{token}")),
        bearer(&format!("{token}, Bearer {token}")),
        bearer(token).repeat(2),
        bearer("wrong") + &bearer(token),
        bearer(token) + &bearer("wrong"),
        bearer(token) + "Authorization:\r\n",
        bearer(&format!("wrong\r\n {token}")),
        bearer(&format!("{token}\u{e9}")),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Bearer{token}\r\n"),
        format!("Authorization: Bearer:{token}\r\n"),
        format!("Authorization: Bearer\t{token}\r\n"),
        format!("Authorization: Token {token}\r\n"),
        format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("sidekey:{token}"))),
        format!("Authorization: Negotiate {token}\r\n"),
        // As long as the right one's name.
        format!("Authorization: Digest {token}\r\n"),
        format!("Cookie: token={token}; Authorization=Bearer {token}\r\n"),
        format!("Cookie: Authorization=Bearer%20{token}\r\n"),
    ];
    let elsewhere = [
        "Proxy-Authorization",
        "X-Authorization",
        "X-Api-Key",
        "X-Auth-Token",
        "X-Vault-Token",
        "X-Aws-Parameters-Secrets-Token",
        "Dapr-Api-Token",
        "Authentication",
        "Authorizatio",
        "Token",
        "Sidekey-Token",
        "WWW-Authenticate",
    ];
    heads.extend(elsewhere.map(|name| format!("{name}: Bearer {token}\r\n")));
    heads.extend(elsewhere.map(|name| format!("{name}: {token}\r\n")));
    heads.extend([0, token.len() / 2, token.len() - 1].map(|place| bearer(&off_by_a_bit(token, place))));
    let mut all: Vec<_> = heads.into_iter().map(Credential::of).collect();
    for name in ["token", "access_token", "authorization", "key"] {
        all.push(Credential { query: format!("{name}={token}"), ..Credential::of(String::new()) });
    }
    all.push(Credential { query: format!("authorization=Bearer%20{token}"), ..Credential::of(String::new()) });
    all
}

/// The lowest bit that leaves a character that may stand there.
fn off_by_a_bit(token: &str, place: usize) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let good = |bit: &u8| (bytes[place] ^ bit).is_ascii_graphic();
    bytes[place] ^= [1, 2, 4].into_iter().find(good).unwrap();
    String::from_utf8(bytes).unwrap()
}
