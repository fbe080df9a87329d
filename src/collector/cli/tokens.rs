//! `token create|list|revoke`: what lets hosts in.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::columns::{columns, count, utc};
use super::desk::Desk;
use crate::cli::Done;
use crate::cli::args::{CreateToken, TokenVerb};
use crate::collector::auth;
use crate::collector::store::{Changed, NewToken, Token};
use crate::wire::collector::hex;

pub(super) fn run(verb: &TokenVerb, desk: &mut Desk<'_>) -> Result<Done> {
    match verb {
        TokenVerb::Create(args) => create(args, desk),
        TokenVerb::List => list(desk),
        TokenVerb::Revoke(args) => revoke(&args.id, desk),
    }
}

fn create(args: &CreateToken, desk: &mut Desk<'_>) -> Result<Done> {
    let expires_at = desk.now.checked_add(SignedDuration::try_from(args.expires)?)?;
    let mut admin = desk.admin()?;
    let mut id = [0; 4];
    openssl::rand::rand_bytes(&mut id)?;
    let made = auth::Token::new(&hex(&id))?;
    let id = made.id();
    let token = NewToken { id, secret_sha256: made.secret_sha256(), expires_at, max_uses: args.uses };
    admin.create_token(&token, &desk.by, desk.now)?;
    // Alone on stdout: it goes into a file or a pipe, never onto a command line.
    desk.print(&(made.expose() + "\n"))?;
    desk.hint(&format!(
        "It lets {} in until {} and is not shown again; `byteport-collector token revoke {id}` ends it.",
        count(args.uses, "host"),
        utc(expires_at)
    ))?;
    Ok(Done::Well)
}

fn list(desk: &mut Desk<'_>) -> Result<Done> {
    let (tokens, now) = (desk.admin()?.tokens()?, desk.now);
    desk.show(&tokens, |tokens| {
        if tokens.is_empty() {
            return "No tokens.\n".into();
        }
        let row = |t: &Token| {
            let uses = format!("{} of {}", t.uses, t.max_uses);
            [t.id.clone(), state(t, now).into(), uses, utc(t.expires_at), utc(t.created_at), t.created_by.clone()]
        };
        columns(["ID", "STATE", "USES", "EXPIRES", "CREATED", "BY"], tokens.iter().map(row))
    })
}

fn state(token: &Token, now: Timestamp) -> &'static str {
    match token {
        Token { revoked_at: Some(_), .. } => "revoked",
        Token { uses, max_uses, .. } if uses >= max_uses => "used up",
        Token { expires_at, .. } if *expires_at <= now => "expired",
        _ => "open",
    }
}

fn revoke(id: &str, desk: &mut Desk<'_>) -> Result<Done> {
    match desk.admin()?.revoke_token(id, &desk.by, desk.now)? {
        Changed::Now => desk.line(&format!("token {id} lets nobody in any more; who is in stays in")),
        Changed::Before(_) => desk.line(&format!("token {id} was revoked before")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::start::tests::typed;
    use super::*;
    use crate::collector::store::test_file::Made;

    #[test]
    fn a_token_is_printed_once_alone_and_listed_without_its_secret() {
        let made = Made::new();
        assert_eq!(typed(&made, &["token", "list"]).well(), "No tokens.\n");
        let ran = typed(&made, &["token", "create", "--uses", "3", "--expires", "2h", "--json"]);
        assert!(ran.code == 0 && ran.out.lines().count() == 1 && ran.out.starts_with("bpj_"), "{ran:?}");
        let (id, secret) = ran.out.trim()[4..].split_once('_').unwrap();
        assert!(ran.err.contains("lets 3 hosts in until") && ran.err.contains(&format!("token revoke {id}")) && !ran.err.contains(secret));
        for words in [&["token", "list"][..], &["token", "list", "--json"]] {
            let listed = typed(&made, words).well();
            assert!(listed.contains(id) && listed.contains("ann") && !listed.contains(secret), "{listed}");
        }
        assert!(
            typed(&made, &["token", "list"]).well().contains("open     0 of 3")
                || typed(&made, &["token", "list"]).well().contains("open   0 of 3")
        );
        assert!(typed(&made, &["token", "revoke", id]).well().contains("lets nobody in"));
        assert!(typed(&made, &["token", "revoke", id]).well().contains("before"));
        assert!(typed(&made, &["token", "list"]).well().contains("revoked"));
        let ran = typed(&made, &["token", "revoke", "nope"]);
        assert!(ran.code == 2 && ran.err.contains("no token nope: `byteport-collector token list` lists them"), "{ran:?}");
    }

    #[test]
    fn a_token_is_open_until_one_thing_ends_it() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let (id, created_by) = (String::new(), String::new());
        let open = Token { id, created_at: at(0), created_by, expires_at: at(100), max_uses: 1, uses: 0, revoked_at: None };
        assert_eq!((state(&open, at(99)), state(&open, at(100))), ("open", "expired"));
        assert_eq!(state(&Token { uses: 1, ..open.clone() }, at(200)), "used up");
        assert_eq!(state(&Token { uses: 1, revoked_at: Some(at(1)), ..open }, at(200)), "revoked");
    }
}
