//! Who may scrape, by HTTP basic authentication. A bcrypt check takes a tenth of a second of CPU on purpose, so a proof is remembered: a
//! scraper that was let in once costs a hash, and whoever guesses costs one check at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::http::HeaderValue;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::config::PasswordHash;

#[derive(Debug)]
pub(super) struct Users {
    /// Made when it is first needed; gone with the process.
    key: OnceLock<PKey<Private>>,
    /// The last proof of each user: a keyed hash of what was checked.
    proven: Mutex<HashMap<String, Vec<u8>>>,
    checks: Arc<Semaphore>,
}

impl Default for Users {
    fn default() -> Self {
        Self { key: OnceLock::new(), proven: Mutex::default(), checks: Arc::new(Semaphore::new(1)) }
    }
}

impl Users {
    /// Whether an `Authorization` header names a user with the right password.
    pub(super) async fn admit(&self, users: &BTreeMap<String, PasswordHash>, header: Option<&HeaderValue>) -> bool {
        let Some((name, password)) = header.and_then(credentials) else { return false };
        // Somebody unknown takes as long as somebody known.
        let (known, hash) = match users.get(&name) {
            Some(hash) => (true, hash),
            None => match users.values().next() {
                Some(hash) => (false, hash),
                None => return false,
            },
        };
        let Ok(proof) = self.proof(&name, &hash.0, &password) else { return false };
        if known && self.is_proven(&name, &proof) {
            return true;
        }
        let Ok(turn) = Arc::clone(&self.checks).acquire_owned().await else { return false };
        // Whoever waited may have been proven by then.
        if known && self.is_proven(&name, &proof) {
            return true;
        }
        let hash = hash.0.clone();
        // The turn goes with the work, which goes on when whoever asked has hung up.
        let check = move || {
            let _turn = turn;
            bcrypt::verify(password, &hash).unwrap_or(false)
        };
        let right = spawn_blocking(check).await.unwrap_or(false);
        if known && right {
            self.proven.lock().unwrap_or_else(PoisonError::into_inner).insert(name, proof);
        }
        known && right
    }

    fn is_proven(&self, name: &str, proof: &[u8]) -> bool {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.get(name).is_some_and(|last| last.len() == proof.len() && openssl::memcmp::eq(last, proof))
    }

    /// Of the user, the password and the hash that it was checked against: another hash needs another check.
    fn proof(&self, name: &str, hash: &str, password: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let key = match self.key.get() {
            Some(key) => key,
            None => {
                let mut random = [0; 32];
                openssl::rand::rand_bytes(&mut random)?;
                let key = PKey::hmac(&random)?;
                self.key.get_or_init(|| key)
            }
        };
        let mut signer = Signer::new(MessageDigest::sha256(), key)?;
        // Neither a name nor a hash can hold a colon, so this can be read in one way only.
        for part in [name.as_bytes(), b":", hash.as_bytes(), b":", password] {
            signer.update(part)?;
        }
        signer.sign_to_vec()
    }
}

/// Name and password of a `Basic` header.
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = openssl::base64::decode_block(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    let (name, password) = decoded.split_at(colon);
    Some((String::from_utf8(name.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> HeaderValue {
        let encoded = openssl::base64::encode_block(format!("{user}:{password}").as_bytes());
        HeaderValue::from_str(&format!("Basic {encoded}")).expect("a header")
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(test)
    }

    fn users(pairs: &[(&str, &str)]) -> BTreeMap<String, PasswordHash> {
        pairs.iter().map(|(name, password)| ((*name).to_owned(), PasswordHash(bcrypt::hash(password, 4).expect("hash")))).collect()
    }

    #[test]
    fn the_right_password_of_a_known_user_and_nothing_else() {
        let known = users(&[("ann", "s:e c"), ("bob", "other")]);
        run(async {
            let door = Users::default();
            for _ in 0..2 {
                assert!(door.admit(&known, Some(&basic("ann", "s:e c"))).await);
                assert!(!door.admit(&known, Some(&basic("ann", "other"))).await);
                assert!(!door.admit(&known, Some(&basic("carl", "s:e c"))).await, "not by somebody else's password");
                assert!(!door.admit(&known, Some(&basic("carl", "other"))).await);
                assert!(!door.admit(&known, None).await);
            }
            for odd in ["", "Basic", "Basic !", "Basic YQ==", "Bearer YTpi", "basic  "] {
                assert!(!door.admit(&known, HeaderValue::from_str(odd).ok().as_ref()).await, "{odd}");
            }
            assert!(!door.admit(&BTreeMap::new(), Some(&basic("ann", "s:e c"))).await);
        });
    }

    #[test]
    fn a_changed_password_ends_what_was_proven() {
        run(async {
            let door = Users::default();
            assert!(door.admit(&users(&[("ann", "old")]), Some(&basic("ann", "old"))).await);
            let changed = users(&[("ann", "new")]);
            assert!(!door.admit(&changed, Some(&basic("ann", "old"))).await);
            assert!(door.admit(&changed, Some(&basic("ann", "new"))).await);
        });
    }

    #[test]
    fn a_proven_user_waits_for_nobodys_check() {
        let known = users(&[("ann", "pw")]);
        run(async {
            let door = Users::default();
            assert!(door.admit(&known, Some(&basic("ann", "pw"))).await);
            let _somebody_guesses = Arc::clone(&door.checks).acquire_owned().await;
            assert!(door.admit(&known, Some(&basic("ann", "pw"))).await);
        });
    }

    #[test]
    fn who_hangs_up_makes_no_room_for_another_check_before_his_own_is_done() {
        let known: BTreeMap<_, _> = [("ann".to_owned(), PasswordHash(bcrypt::hash("pw", 11).expect("hash")))].into();
        run(async {
            let door = Users::default();
            {
                let (header, mut waker) = (basic("ann", "guess"), std::task::Context::from_waker(std::task::Waker::noop()));
                let mut asked = std::pin::pin!(door.admit(&known, Some(&header)));
                assert!(asked.as_mut().poll(&mut waker).is_pending());
            }
            assert_eq!(door.checks.available_permits(), 0);
            assert!(door.checks.acquire().await.is_ok(), "and then it does");
        });
    }
}
