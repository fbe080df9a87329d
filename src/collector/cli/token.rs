//! A new token: what is shown once, and what is kept of it.

use anyhow::Result;

use crate::wire::collector::hex;

/// Its id, the whole text, and the SHA-256 of the text's secret part.
pub(super) fn new_token() -> Result<(String, String, [u8; 32])> {
    let (mut id, mut secret) = ([0; 4], [0; 32]);
    openssl::rand::rand_bytes(&mut id)?;
    openssl::rand::rand_bytes(&mut secret)?;
    let id = hex(&id);
    let secret = openssl::base64::encode_block(&secret).replace('+', "-").replace('/', "_").replace('=', "");
    let secret_sha256 = openssl::sha::sha256(secret.as_bytes());
    let text = format!("bpj_{id}_{secret}");
    Ok((id, text, secret_sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_id_and_a_secret_of_which_only_the_hash_is_kept() {
        let (id, text, secret_sha256) = new_token().unwrap();
        let secret = text.strip_prefix(&format!("bpj_{id}_")).unwrap();
        assert_eq!((id.len(), secret.len()), (8, 43));
        assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
        assert_eq!(openssl::sha::sha256(secret.as_bytes()), secret_sha256);
        assert_ne!(new_token().unwrap().1, text);
    }
}
