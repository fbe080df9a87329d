//! Who asks, by the credential that it has. Known from memory: whoever has none costs a hash.

use axum::http::{HeaderMap, header};

use super::Plane;
use super::problem::Refused;
use crate::collector::auth::{Credential, same};
use crate::wire::chain::Hash;
use crate::wire::collector::Code;

/// An agent that has proven who it is, and from which something is taken.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) id: String,
    pub(super) public_key: Hash,
}

impl Plane {
    /// # Errors
    /// `CredentialRefused`, `AgentRevoked` or `AgentQuarantined`.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Admitted, Refused> {
        let refused =
            || Refused::new(Code::CredentialRefused, "no credential of an agent that this collector knows; enrol it, or enrol it again");
        let credential = credential(headers).ok_or_else(refused)?;
        let known = self.store.credential(credential.agent_id()).ok_or_else(refused)?;
        if !same(&known.credential_sha256, &credential.secret_sha256()) {
            return Err(refused());
        }
        known.state.may_speak()?;
        Ok(Admitted { id: credential.agent_id().to_owned(), public_key: known.public_key })
    }
}

fn credential(headers: &HeaderMap) -> Option<Credential> {
    let (scheme, text) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Credential::parse(text.trim()))?
}
