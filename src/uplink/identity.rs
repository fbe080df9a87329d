//! Who this host is at its collector: a made-up number, a key of its own and what the collector gave it for them. Never taken from the hardware
//! or the host's name: those are cloned.

use std::fmt;
use std::path::PathBuf;

use hyper::header::HeaderValue;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use serde::{Deserialize, Serialize};

use super::address::{Address, AddressError};
use crate::wire::chain::Hash;
use crate::wire::collector::{SignedHead, hex, unhex};

/// Never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For whoever sends it or writes it to a file of ours.
    pub fn told(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// How the collector is reached, as somebody has said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Its address.
    pub collector: String,
    /// Whose signature is trusted instead of those that the host trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// On the way to it.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Everybody on the way may read and change what is sent.
    #[serde(default)]
    pub insecure_plain_http: bool,
}

/// Not usable as it is: what is wrong, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    #[error("the collector's address {0}")]
    Collector(AddressError),
    #[error("the proxy's address {0}")]
    Proxy(AddressError),
    #[error("{} is no absolute path: the agent that reads it works elsewhere", .0.display())]
    Relative(PathBuf),
    #[error("{0}")]
    Broken(&'static str),
}

impl Setup {
    /// # Errors
    /// When the address may not be used.
    pub fn address(&self) -> Result<Address, SetupError> {
        Address::of_collector(&self.collector, self.insecure_plain_http).map_err(SetupError::Collector)
    }

    /// # Errors
    /// The same, of the proxy.
    pub fn proxy(&self) -> Result<Option<Address>, SetupError> {
        self.proxy.as_deref().map(Address::of_proxy).transpose().map_err(SetupError::Proxy)
    }

    /// # Errors
    /// The first thing that makes it unusable.
    pub fn check(&self) -> Result<(), SetupError> {
        self.address()?;
        self.proxy()?;
        match &self.ca_file {
            Some(path) if !path.is_absolute() => Err(SetupError::Relative(path.clone())),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    #[serde(flatten)]
    pub setup: Setup,
    /// 32 lower-case hex digits.
    pub agent_id: String,
    /// `None`: asked for, and not known to be given.
    #[serde(default)]
    pub credential: Option<Secret>,
    /// 64 lower-case hex digits.
    pub(super) private_key: Secret,
    /// While there is no credential: the SHA-256 of the token that it is asked for with. Another token is for another host.
    #[serde(default)]
    pub(super) asked_with: Option<String>,
}

impl Identity {
    /// Made up anew, to ask for a credential with `token`.
    ///
    /// # Errors
    /// When there is no randomness to be had.
    pub fn new(setup: Setup, token: &Secret) -> Result<Self, openssl::error::ErrorStack> {
        let mut number = [0; 16];
        openssl::rand::rand_bytes(&mut number)?;
        let key = PKey::generate_ed25519()?.raw_private_key()?;
        Ok(Self { setup, agent_id: hex(&number), credential: None, private_key: Secret(hex(&key)), asked_with: Some(hash_of(token)) })
    }

    /// Whether it was made to ask with this token: then the same is asked again, and an answer that was lost on the way costs nothing.
    pub(super) fn asks_with(&self, token: &Secret) -> bool {
        self.asked_with.as_deref() == Some(&hash_of(token))
    }

    /// # Errors
    /// What makes it unusable.
    pub fn check(&self) -> Result<(), SetupError> {
        self.setup.check()?;
        if unhex::<16>(&self.agent_id).is_none() {
            return Err(SetupError::Broken("its agent_id is not 32 hex digits"));
        }
        if self.credential.as_ref().is_some_and(|c| c.told().is_empty() || bearer(c).is_none()) {
            return Err(SetupError::Broken("its credential cannot be sent"));
        }
        self.key().map(drop)
    }

    /// # Errors
    /// When there is none in it.
    pub fn key(&self) -> Result<Key, SetupError> {
        let bytes = unhex::<32>(self.private_key.told());
        let key = bytes.and_then(|bytes| PKey::private_key_from_raw_bytes(&bytes, Id::ED25519).ok());
        key.map(|key| Key { agent_id: self.agent_id.clone(), key }).ok_or(SetupError::Broken("its private_key is not 64 hex digits"))
    }
}

/// `None`: it has what no header may have.
pub(super) fn bearer(credential: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", credential.told())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn hash_of(token: &Secret) -> String {
    hex(&openssl::sha::sha256(token.told().as_bytes()))
}

/// The host's own hand.
#[derive(Clone)]
pub struct Key {
    agent_id: String,
    key: PKey<Private>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("agent_id", &self.agent_id).finish_non_exhaustive()
    }
}

impl Key {
    /// 64 lower-case hex digits.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn public(&self) -> Result<String, openssl::error::ErrorStack> {
        Ok(hex(&self.key.raw_public_key()?))
    }

    /// # Errors
    /// OpenSSL's.
    pub fn sign(&self, stream: &str, seq: u64, hash: &Hash) -> Result<SignedHead, openssl::error::ErrorStack> {
        let hash = hex(hash);
        let text = SignedHead::text(&self.agent_id, stream, seq, &hash);
        let signature = Signer::new_without_digest(&self.key)?.sign_oneshot_to_vec(text.as_bytes())?;
        Ok(SignedHead { seq, hash, signature: hex(&signature) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::sign::Verifier;

    fn setup(collector: &str) -> Setup {
        Setup { collector: collector.into(), ca_file: None, proxy: None, insecure_plain_http: false }
    }

    fn identity() -> Identity {
        Identity {
            credential: Some(Secret::new("ca1_geheim")),
            ..Identity::new(setup("https://c.example"), &Secret::new("cj1_geheim")).unwrap()
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let identity = identity();
        let key = identity.key().unwrap();
        for shown in
            [format!("{identity:?}"), format!("{identity:#?}"), format!("{key:?}"), format!("{:?}", bearer(&Secret::new("geheim")))]
        {
            assert!(!shown.contains("geheim") && !shown.contains(identity.private_key.told()), "{shown}");
        }
        assert!(!serde_json::to_string(&identity).unwrap().contains("cj1_geheim"), "the token is not kept");
    }

    #[test]
    fn two_hosts_are_never_one_and_each_signs_for_itself() {
        let (one, other) = (identity(), identity());
        assert!(one.agent_id != other.agent_id && one.private_key != other.private_key);
        let head = one.key().unwrap().sign("stream", 7, &[5; 32]).unwrap();
        assert_eq!((head.seq, head.hash.as_str()), (7, "05".repeat(32).as_str()));
        let verifies = |who: &Identity, text: &str| {
            let public = unhex::<32>(&who.key().unwrap().public().unwrap()).unwrap();
            let public = PKey::public_key_from_raw_bytes(&public, Id::ED25519).unwrap();
            let signature = unhex::<64>(&head.signature).unwrap();
            Verifier::new_without_digest(&public).unwrap().verify_oneshot(&signature, text.as_bytes()).unwrap()
        };
        assert!(verifies(&one, &SignedHead::text(&one.agent_id, "stream", 7, &head.hash)));
        assert!(!verifies(&one, &SignedHead::text(&one.agent_id, "stream", 8, &head.hash)));
        assert!(!verifies(&other, &SignedHead::text(&one.agent_id, "stream", 7, &head.hash)));
    }

    #[test]
    fn another_token_asks_for_another_host() {
        let identity = Identity::new(setup("https://c"), &Secret::new("one")).unwrap();
        assert!(identity.asks_with(&Secret::new("one")) && !identity.asks_with(&Secret::new("two")));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let good = identity();
        good.check().unwrap();
        let with = |change: fn(&mut Identity)| {
            let mut broken = good.clone();
            change(&mut broken);
            broken.check().unwrap_err().to_string()
        };
        for (why, says) in [
            (with(|i| i.setup.collector = "http://c.example".into()), "plain HTTP"),
            (with(|i| i.setup.collector = "https://a:b@c".into()), "password"),
            (with(|i| i.setup.proxy = Some("proxy".into())), "proxy"),
            (with(|i| i.setup.ca_file = Some("ca.pem".into())), "absolute"),
            (with(|i| i.agent_id = "F".repeat(32)), "agent_id"),
            (with(|i| i.credential = Some(Secret::new("a\nb"))), "credential"),
            (with(|i| i.credential = Some(Secret::new(""))), "credential"),
            (with(|i| i.private_key = Secret::new("00")), "private_key"),
        ] {
            assert!(why.contains(says), "{why}");
        }
    }
}
