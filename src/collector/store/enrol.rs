//! A host comes in: its token is used and the host is there, or neither.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Refusal, StoreError};
use crate::collector::auth::{Token, same};
use crate::wire::chain::Hash;
use crate::wire::collector::{About, Code};

/// Who asks to be let in, and the hash of the credential that it is given then.
#[derive(Debug)]
pub struct Entrant {
    pub token: Token,
    /// 32 lower-case hex digits.
    pub agent_id: String,
    pub public_key: Hash,
    pub about: About,
    pub credential_sha256: Hash,
}

/// Within a transaction.
///
/// # Errors
/// `Refused` with a reason that is for the log only.
pub(super) fn enrol(conn: &Connection, asks: &Entrant, now: i64) -> Result<(), StoreError> {
    let (token, id) = (asks.token.id(), asks.agent_id.as_str());
    let refuse =
        |why: &str| Err(StoreError::Refused(Refusal { code: Code::TokenRefused, why: format!("agent {id}, token {token}: {why}") }));
    let found = conn
        .prepare("SELECT secret_sha256, expires_at, uses >= max_uses, revoked_at IS NOT NULL FROM tokens WHERE id = ?1")?
        .query_row([token], |r| Ok((r.get::<_, Hash>(0)?, r.get::<_, i64>(1)?, r.get(2)?, r.get(3)?)))
        .optional()?;
    let Some((secret, expires_at, used_up, revoked)) = found else { return refuse("there is no such token") };
    if !same(&secret, &asks.token.secret_sha256()) {
        return refuse("its secret is another one");
    }
    if revoked {
        return refuse("it was revoked");
    }
    // Also for who asks again: an old token must not open the door of an agent for good.
    if expires_at <= now {
        return refuse("it has expired");
    }
    let known = conn
        .prepare(
            "SELECT public_key, revoked_at IS NOT NULL OR quarantined_at IS NOT NULL,
                    EXISTS (SELECT 1 FROM token_uses u WHERE u.token_id = ?2 AND u.agent_id = a.id AND u.public_key = a.public_key)
             FROM agents a WHERE id = ?1",
        )?
        .query_row([id, token], |r| Ok((r.get::<_, Hash>(0)?, r.get(1)?, r.get(2)?)))
        .optional()?;
    let about = &asks.about;
    match known {
        Some((_, true, _)) => refuse("this agent was revoked or is quarantined"),
        Some((key, _, _)) if key != asks.public_key => refuse("an agent of this name has another key"),
        Some((_, _, false)) => refuse("this agent came in by another token"),
        // Its answer was lost: it is answered again, and no second use is counted.
        Some((_, _, true)) => {
            conn.prepare("UPDATE agents SET credential_sha256 = ?2, hostname = ?3, version = ?4, boot_id = ?5 WHERE id = ?1")?
                .execute(params![id, asks.credential_sha256, about.hostname, about.version, about.boot_id])?;
            Ok(())
        }
        None if used_up => refuse("it was used as often as it may be"),
        None => {
            let used = conn
                .prepare("UPDATE tokens SET uses = uses + 1 WHERE id = ?1 AND uses < max_uses AND expires_at > ?2 AND revoked_at IS NULL")?
                .execute(params![token, now])?;
            if used != 1 {
                return refuse("it cannot be used any more");
            }
            conn.prepare("INSERT INTO token_uses(token_id, agent_id, public_key, at) VALUES(?1, ?2, ?3, ?4)")?.execute(params![
                token,
                id,
                asks.public_key,
                now
            ])?;
            conn.prepare(
                "INSERT INTO agents(id, public_key, credential_sha256, hostname, version, boot_id, enrolled_at)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                id,
                asks.public_key,
                asks.credential_sha256,
                about.hostname,
                about.version,
                about.boot_id,
                now
            ])?;
            Ok(())
        }
    }
}
