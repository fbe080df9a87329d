//! What opens the agents' door: a join token lets a host in once, a credential is what it speaks with from then on. Only their hashes are
//! kept. Both are 256 random bits, so a fast hash is enough.

use std::fmt;

use crate::wire::chain::Hash;

/// `bpj_<id>_<secret>`: lets as many hosts in as it was made for.
pub struct Token {
    id: String,
    secret: Secret,
}

/// `bpa_<agent id>_<secret>`: whoever has it speaks for this host.
pub struct Credential {
    agent_id: String,
    secret: Secret,
}

/// 32 random bytes as text.
struct Secret(String);

const TOKEN: &str = "bpj_";
const CREDENTIAL: &str = "bpa_";
/// 32 bytes in base64url without padding.
const SECRET_LENGTH: usize = 43;
const MOST_ID_LENGTH: usize = 64;

/// The system has no random bytes to give, or the id is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("no random bytes: {0}")]
    NoRandom(String),
    #[error("{0:?} cannot be the id of a token: 1 to 64 lower-case letters, digits and hyphens")]
    NoId(String),
}

impl Token {
    /// A new one. `id` is what people call it by: 1 to 64 lower-case letters, digits and hyphens, which is no secret.
    ///
    /// # Errors
    /// When `id` is none, or there are no random bytes.
    pub fn new(id: &str) -> Result<Self, AuthError> {
        if !is_id(id) {
            return Err(AuthError::NoId(id.to_owned()));
        }
        Ok(Self { id: id.to_owned(), secret: Secret::new()? })
    }

    /// `None` where the text has not the shape of a token.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = parts(text, TOKEN)?;
        is_id(id).then(|| Self { id: id.to_owned(), secret })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is kept of it.
    pub fn secret_sha256(&self) -> Hash {
        self.secret.sha256()
    }

    /// The whole text: shown once, to whoever made it.
    pub fn expose(&self) -> String {
        format!("{TOKEN}{}_{}", self.id, self.secret.0)
    }
}

impl Credential {
    /// A new one, for an agent whose id is 32 lower-case hex digits.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn new(agent_id: &str) -> Result<Self, AuthError> {
        Ok(Self { agent_id: agent_id.to_owned(), secret: Secret::new()? })
    }

    /// `None` where the text has not the shape of a credential.
    pub fn parse(text: &str) -> Option<Self> {
        let (agent_id, secret) = parts(text, CREDENTIAL)?;
        is_agent_id(agent_id).then(|| Self { agent_id: agent_id.to_owned(), secret })
    }

    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// What is kept of it.
    pub fn secret_sha256(&self) -> Hash {
        self.secret.sha256()
    }

    /// The whole text: sent once, to its agent.
    pub fn expose(&self) -> String {
        format!("{CREDENTIAL}{}_{}", self.agent_id, self.secret.0)
    }
}

/// In a time that does not tell where they differ.
pub fn same(one: &Hash, other: &Hash) -> bool {
    openssl::memcmp::eq(one, other)
}

/// 32 lower-case hex digits, as agents and their records are named.
pub fn is_agent_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_id(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MOST_ID_LENGTH).contains(&text.len()) && text.bytes().all(fits)
}

/// From the end: a secret may hold an underscore, an id may not.
fn parts<'a>(text: &'a str, prefix: &str) -> Option<(&'a str, Secret)> {
    let rest = text.strip_prefix(prefix)?;
    let (id, secret) = rest.split_at_checked(rest.len().checked_sub(SECRET_LENGTH)?)?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    Some((id.strip_suffix('_')?, secret.bytes().all(fits).then(|| Secret(secret.to_owned()))?))
}

impl Secret {
    fn new() -> Result<Self, AuthError> {
        let mut bytes = [0; 32];
        openssl::rand::rand_bytes(&mut bytes).map_err(|e| AuthError::NoRandom(e.to_string()))?;
        let text = openssl::base64::encode_block(&bytes);
        Ok(Self(text.trim_end_matches('=').replace('+', "-").replace('/', "_")))
    }

    fn sha256(&self) -> Hash {
        openssl::sha::sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("agent_id", &self.agent_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AGENT: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn what_was_made_can_be_read_and_no_two_are_alike() {
        for _ in 0..200 {
            let (token, credential) = (Token::new("web-7").expect("made"), Credential::new(AGENT).expect("made"));
            let read = Token::parse(&token.expose()).expect("read");
            assert_eq!((read.id(), read.secret_sha256()), ("web-7", token.secret_sha256()));
            let read = Credential::parse(&credential.expose()).expect("read");
            assert_eq!((read.agent_id(), read.secret_sha256()), (AGENT, credential.secret_sha256()));
            assert!(!same(&token.secret_sha256(), &Token::new("web-7").expect("made").secret_sha256()));
            assert!(same(&token.secret_sha256(), &token.secret_sha256()));
        }
    }

    #[test]
    fn one_is_not_the_other_and_half_of_one_is_nothing() {
        let (token, credential) = (Token::new("a").expect("made").expose(), Credential::new(AGENT).expect("made").expose());
        assert!(Credential::parse(&token).is_none() && Token::parse(&credential.replace("bpa_", "bpi_")).is_none());
        for text in [&token, &credential] {
            for cut in 0..text.len() {
                assert!(Token::parse(&text[..cut]).is_none() && Credential::parse(&text[..cut]).is_none(), "{cut}");
            }
        }
        assert!(Token::parse(&token.replace("_a_", "__")).is_none() && Token::parse(&token.replace("_a_", "_A_")).is_none());
        assert!(Token::new("").is_err() && Token::new("a_b").is_err() && Token::new(&"a".repeat(65)).is_err());
    }

    #[test]
    fn debugging_shows_no_secret() {
        let (token, credential) = (Token::new("a").expect("made"), Credential::new(AGENT).expect("made"));
        let shown = format!("{token:?} {credential:?}");
        assert!(shown.contains(AGENT) && !shown.contains(&token.secret.0) && !shown.contains(&credential.secret.0), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(bp[aj]_)?.{0,90}") {
            let known = Token::parse(&text).map(|t| t.expose()).or_else(|| Credential::parse(&text).map(|c| c.expose()));
            prop_assert!(known.is_none_or(|known| known == text));
        }
    }
}
