//! What must never leave: keys, passwords, tokens, by their form.

pub(super) const REMOVED: &str = "[removed]";

const WORDS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "credential",
    "authorization",
];

pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    WORDS.iter().any(|w| key.ends_with(w))
}

pub(super) fn remove(text: &str, mut count: impl FnMut()) -> String {
    let text = pem(text, &mut count);
    let text = assigned(&text, &mut count);
    known_forms(&text, &mut count)
}

/// `-----BEGIN X----- ... -----END X-----`, to the end of the text where the end is missing.
fn pem(text: &str, count: &mut impl FnMut()) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ") {
        count();
        out.push_str(&rest[..at]);
        out.push_str(REMOVED);
        let after = &rest[at..];
        let end = after.find("-----END ").map_or(after.len(), |end| {
            let tail = end + "-----END ".len();
            after[tail..].find("-----").map_or(after.len(), |close| tail + close + 5)
        });
        rest = &after[end..];
    }
    out + rest
}

/// `password=VALUE`, `token: VALUE`, `"secret": "VALUE"`, `Authorization: Bearer VALUE`.
fn assigned(text: &str, count: &mut impl FnMut()) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        out.push_str(&rest[..=at]);
        rest = after;
        let key_end = before.trim_end_matches(['"', '\'', ' ']);
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let key = &key_end[key_end.trim_end_matches(is_part).len()..];
        if key.is_empty() || !is_secret_key(key) || after.starts_with("//") {
            continue;
        }
        let value = after.trim_start_matches([' ', '"', '\'']);
        let value = ["Bearer ", "bearer ", "Basic ", "basic "].iter().find_map(|s| value.strip_prefix(s)).unwrap_or(value);
        let end = value.find(|c: char| c.is_whitespace() || "\"'\\,;&".contains(c)).unwrap_or(value.len());
        if end == 0 || value.starts_with(REMOVED) {
            continue;
        }
        count();
        let lead = &after[..after.len() - after.trim_start_matches([' ', '"', '\'']).len()];
        out.push_str(lead);
        out.push_str(REMOVED);
        rest = &value[end..];
    }
    out + rest
}

/// Tokens that are known by how they begin.
fn known_forms(text: &str, count: &mut impl FnMut()) -> String {
    const BEGINNINGS: [(&str, usize); 9] = [
        ("AKIA", 20),
        ("ASIA", 20),
        ("ghp_", 20),
        ("gho_", 20),
        ("github_pat_", 20),
        ("glpat-", 20),
        ("xoxb-", 15),
        ("xoxp-", 15),
        ("eyJ", 20),
    ];
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        out.push_str(&rest[..start]);
        let word = &rest[start..];
        let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
        let (token, tail) = word.split_at(end);
        let secret = BEGINNINGS.iter().any(|(begin, least)| token.starts_with(begin) && token.len() >= *least);
        let bearer = token.len() >= 8 && (out.ends_with("Bearer ") || out.ends_with("bearer "));
        if secret || bearer {
            count();
            out.push_str(REMOVED);
        } else {
            out.push_str(token);
        }
        rest = tail;
    }
    out + rest
}
