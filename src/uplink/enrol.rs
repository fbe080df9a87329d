//! How a host comes to its collector: once, by a person or a provisioning tool, with a token. What it will be known by is made and kept first:
//! an answer that is lost on the way is asked for again with the same, and burns no second token.

use std::path::Path;

use super::client::{AskError, Client, Patience};
use super::identity::{Identity, Secret, Setup, SetupError};
use super::kept::{IdentityError, Kept};
use crate::wire::collector::{About, Code, Enrol, Enrolled};

/// What is asked for.
#[derive(Debug)]
pub struct Enrolment<'a> {
    /// The agent's.
    pub state_dir: &'a Path,
    pub setup: Setup,
    pub token: Secret,
    pub about: About,
    /// Also where this host has a collector: it becomes another host there.
    pub again: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("{0}")]
    Setup(#[from] SetupError),
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error(
        "this host is agent {agent_id} of {collector} already: say --again to make it another one, which leaves the old one silent there"
    )]
    Already { agent_id: String, collector: String },
    #[error("no identity can be made up: {0}")]
    NoRandomness(#[from] openssl::error::ErrorStack),
    #[error(
        "the collector refuses the token: it may be mistyped, expired, revoked or used for another host, and its log says which. Make a new one there"
    )]
    Token,
    #[error("the collector has not enrolled this host: {0}. Nothing is lost: the same command with the same token asks again")]
    Asked(AskError),
    #[error("the collector has enrolled this host with a credential that cannot be sent: is this a collector's address?")]
    Credential,
}

/// Gives the agent's number at the collector; from then on a running agent reports within ten seconds.
///
/// # Errors
/// With what to do next. The identity that served before serves as before.
pub async fn enrol(asked: Enrolment<'_>, patience: Patience) -> Result<String, EnrolError> {
    let Enrolment { state_dir, setup, token, about, again } = asked;
    setup.check()?;
    let kept = Kept::open(state_dir)?;
    kept.lock()?;
    if !again && let Some(old) = kept.serving()? {
        return Err(EnrolError::Already { agent_id: old.agent_id, collector: old.setup.collector });
    }
    let identity = match kept.asked() {
        Ok(Some(before)) if before.asks_with(&token) => Identity { setup, ..before },
        // One that cannot be read was never enrolled with anything that could still be asked for.
        Ok(_) | Err(IdentityError::Refused { .. }) => Identity::new(setup, &token)?,
        Err(e) => return Err(e.into()),
    };
    kept.ask(&identity)?;
    let question =
        Enrol { token: token.told().to_owned(), agent_id: identity.agent_id.clone(), public_key: identity.key()?.public()?, about };
    let mut client = Client::stranger(&identity.setup, patience)?;
    let answer: Enrolled = client.ask("/v1/enroll", &question).await.map_err(|e| match &e {
        AskError::Refused(problem) if problem.code == Code::TokenRefused => EnrolError::Token,
        _ => EnrolError::Asked(e),
    })?;
    let identity = Identity { credential: Some(Secret::new(answer.credential)), asked_with: None, ..identity };
    identity.check().map_err(|_| EnrolError::Credential)?;
    kept.serve(&identity)?;
    Ok(identity.agent_id)
}
