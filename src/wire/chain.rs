//! How the rows of a book follow from each other: the same on the host that writes them and wherever they are checked.

use openssl::sha::Sha256;

pub type Hash = [u8; 32];

/// `SHA-256(previous hash, body hash, seq, incident, kind, at)`. Lengths are part of what is hashed, so that no two rows can share one text.
pub fn link(before: &Hash, body: &Hash, seq: u64, incident: &str, kind: &str, at: &str) -> Hash {
    let mut sha = Sha256::new();
    sha.update(before);
    sha.update(body);
    sha.update(&seq.to_be_bytes());
    for text in [incident, kind, at] {
        sha.update(&(text.len() as u64).to_be_bytes());
        sha.update(text.as_bytes());
    }
    sha.finish()
}
