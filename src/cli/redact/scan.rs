//! Finding names in text: hosts, addresses, users, registries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Kind, Redactor};

/// Registries that everybody pulls from tell nothing of who pulls.
const PUBLIC_REGISTRIES: [&str; 7] = ["docker.io", "registry.k8s.io", "k8s.gcr.io", "ghcr.io", "gcr.io", "quay.io", "public.ecr.aws"];
/// Last labels by which a dotted word is a host and not a file or a unit.
const DOMAINS: [&str; 14] =
    ["com", "net", "org", "io", "internal", "intranet", "local", "lan", "corp", "cloud", "edu", "gov", "example", "invalid"];
/// Of these, those that are believed inside a longer name (`www.example.com-access.log`).
const SURE_DOMAINS: [&str; 7] = ["com", "net", "org", "internal", "intranet", "corp", "edu"];

pub(super) fn is_mask(name: &str) -> bool {
    Kind::ALL.iter().any(|k| {
        name.strip_prefix(k.as_str())
            .and_then(|r| r.strip_prefix('-'))
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// `scheme://user:password@host:port/`: who and where.
pub(super) fn urls(text: &str, r: &Redactor) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        out.push_str(&rest[..at + 3]);
        let after = &rest[at + 3..];
        let end = after.find(|c: char| c.is_whitespace() || "/\"'\\?#,;)".contains(c)).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        let host = match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str("[removed]@");
                host
            }
            None => authority,
        };
        let (name, port) = host.rsplit_once(':').filter(|(_, p)| p.bytes().all(|b| b.is_ascii_digit())).unwrap_or((host, ""));
        let keep = name.is_empty()
            || name == "localhost"
            || name.parse::<IpAddr>().is_ok()
            || PUBLIC_REGISTRIES.contains(&name)
            || name.starts_with('[');
        out.push_str(&if keep { name.to_owned() } else { r.mask(Kind::Host, name) });
        if !port.is_empty() {
            out.push(':');
            out.push_str(port);
        }
        rest = tail;
    }
    out + rest
}

/// `server:/export` and `//server/share`, as network filesystems name their source.
pub(super) fn remote_source(key: &str, text: &str, r: &Redactor) -> String {
    if key != "source" {
        return text.to_owned();
    }
    let is_name =
        |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)) && n.parse::<IpAddr>().is_err();
    if let Some((server, path)) = text.split_once(":/").filter(|(server, _)| is_name(server)) {
        return format!("{}:/{path}", r.mask(Kind::Host, server));
    }
    match text.strip_prefix("//").and_then(|rest| rest.split_once('/')) {
        Some((server, share)) if is_name(server) => format!("//{}/{share}", r.mask(Kind::Host, server)),
        _ => text.to_owned(),
    }
}

/// `registry.corp:5000/team/app:1.2`: the first part is a registry when it could be a host.
pub(super) fn registry(text: &str, r: &Redactor) -> String {
    match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) && !PUBLIC_REGISTRIES.contains(&first) => {
            format!("{}/{rest}", r.mask(Kind::Registry, first))
        }
        _ => text.to_owned(),
    }
}

/// What ends a name inside a path that stands in a sentence.
fn ends_name(c: char) -> bool {
    c == '/' || c.is_whitespace() || "\"':,;()|<>\\".contains(c)
}

/// `/home/NAME`, `/Users/NAME`.
pub(super) fn homes(text: &str, r: &Redactor) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((at, base)) = ["/home/", "/Users/"].iter().filter_map(|b| rest.find(b).map(|at| (at, b))).min() {
        let after = &rest[at + base.len()..];
        // A backslash begins an escape, which is part of the name here.
        let end = after.find(|c| ends_name(c) && c != '\\').unwrap_or(after.len());
        out.push_str(&rest[..at + base.len()]);
        out.push_str(&if end == 0 { String::new() } else { r.mask(Kind::User, &after[..end]) });
        rest = &after[end..];
    }
    out + rest
}

/// Users known from their homes, wherever they are a part of a path.
pub(super) fn users(text: &str, r: &Redactor) -> String {
    let mut out = text.to_owned();
    for user in r.users() {
        let starts = |before: Option<char>| before.is_none_or(|c| c == '/' || c.is_whitespace());
        let ends = |after: Option<char>| after.is_none_or(ends_name);
        // Elsewhere than in a path the name may be a common word.
        if out.contains('/') {
            out = replace(&out, user, starts, ends, |name| r.mask(Kind::User, name));
        }
    }
    out
}

pub(super) fn own_names(text: &str, r: &Redactor) -> String {
    let mut out = text.to_owned();
    for host in &r.hosts {
        let starts = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == '\\'));
        let ends = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
        out = replace(&out, host, starts, ends, |name| r.mask(Kind::Host, name));
    }
    out
}

/// Replaces what stands between two fitting neighbours. A character that is the end of an escape (`\x0a`) is a neighbour that fits:
/// it is not part of the name.
fn replace(
    text: &str,
    name: &str,
    starts: impl Fn(Option<char>) -> bool,
    ends: impl Fn(Option<char>) -> bool,
    with: impl Fn(&str) -> String,
) -> String {
    let mut out = String::new();
    let mut from = 0;
    for (at, _) in text.match_indices(name) {
        let escape = at >= 4 && text.as_bytes()[at - 4..].starts_with(b"\\x");
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        if at >= from && (escape || starts(before)) && ends(after) {
            out.push_str(&text[from..at]);
            out.push_str(&with(name));
            from = at + name.len();
        }
    }
    out + &text[from..]
}

/// Addresses and foreign hosts, word by word. An escape separates words and is passed on as it is.
pub(super) fn words(text: &str, r: &Redactor) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || ".:-_@%".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(escape) = rest.get(..4).filter(|e| e.starts_with("\\x")) {
            out.push_str(escape);
            rest = &rest[4..];
        } else if is_part(c) {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let whole = &rest[..end];
            let trimmed = whole.trim_end_matches(['.', ':', '-', '@']);
            out.push_str(&word(trimmed, r));
            out.push_str(&whole[trimmed.len()..]);
            rest = &rest[end..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

fn word(word: &str, r: &Redactor) -> String {
    if let Some((local, domain)) = word.split_once('@') {
        return if !local.is_empty() && is_domain(domain) { r.mask(Kind::Mail, word) } else { word.to_owned() };
    }
    if is_mac(word) || is_ipv6(word) {
        return r.mask(Kind::Address, word);
    }
    if PUBLIC_REGISTRIES.contains(&word) {
        return word.to_owned();
    }
    let (name, port) = word.split_once(':').unwrap_or((word, ""));
    if is_domain(name) {
        let port = if port.is_empty() { String::new() } else { format!(":{port}") };
        return r.mask(Kind::Host, name) + &port;
    }
    addresses(&inner_domain(word, r), r)
}

fn is_mac(word: &str) -> bool {
    let pairs: Vec<&str> = word.split([':', '-']).collect();
    pairs.len() == 6 && pairs.iter().all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_ipv6(word: &str) -> bool {
    let address = word.split('%').next().unwrap_or(word);
    address.matches(':').count() >= 2
        && address.bytes().any(|b| b.is_ascii_digit())
        && address.parse::<Ipv6Addr>().is_ok_and(|a| !a.is_loopback() && !a.is_unspecified())
}

fn is_domain(word: &str) -> bool {
    let labels: Vec<&str> = word.split('.').collect();
    let is_label = |l: &&str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    labels.len() > 1 && labels.iter().all(is_label) && labels.last().is_some_and(|l| DOMAINS.contains(l))
}

/// The host at the beginning of a file's name: `www.example.com-access.log`.
fn inner_domain(word: &str, r: &Redactor) -> String {
    for domain in SURE_DOMAINS {
        let dotted = format!(".{domain}");
        for (at, _) in word.match_indices(&dotted) {
            let end = at + dotted.len();
            if word[end..].starts_with(['.', '-', '_', ':']) && is_domain(&word[..end]) {
                return r.mask(Kind::Host, &word[..end]) + &word[end..];
            }
        }
    }
    word.to_owned()
}

/// IPv4 addresses anywhere in a word.
fn addresses(word: &str, r: &Redactor) -> String {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let mut out = String::new();
    let mut rest = word;
    while let Some(start) = rest.find(is_part) {
        out.push_str(&rest[..start]);
        let run = &rest[start..];
        let end = run.find(|c| !is_part(c)).unwrap_or(run.len());
        let number = run[..end].trim_end_matches('.');
        // `v1.2.3.4` and `1.2.3.4b` are versions.
        let apart = !out.ends_with(|c: char| c.is_ascii_alphabetic()) && !run[end..].starts_with(|c: char| c.is_ascii_alphabetic());
        match number.parse::<Ipv4Addr>() {
            Ok(a) if (apart || run[..end].ends_with('.')) && !a.is_loopback() && !a.is_unspecified() => {
                out.push_str(&r.mask(Kind::Address, number))
            }
            _ => out.push_str(number),
        }
        out.push_str(&run[number.len()..end]);
        rest = &run[end..];
    }
    out + rest
}
