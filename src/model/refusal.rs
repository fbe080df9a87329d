//! Why something was not done. Refusals are counted by reason: trust to leave dry run comes from reading them.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub reason: RefusalReason,
    /// Names the thing and says what would change the answer.
    pub detail: String,
}

impl Refusal {
    pub fn new(reason: RefusalReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.detail)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum RefusalReason { $($(#[$doc])* $name,)* }

        impl RefusalReason {
            pub const ALL: &'static [RefusalReason] = &[$(Self::$name,)*];
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $text,)* } }
        }
    };
}

reasons! {
    /// Dry run: mode is observe, or `BYTEPORT_DRY_RUN=true`.
    ReportOnly = "report_only",
    /// The host's policy does not allow this runbook or this kind of step.
    PolicyForbids = "policy_forbids",
    /// The resource has not opted in.
    NoOptIn = "no_opt_in",
    /// On the never-list, whatever the policy says.
    NeverList = "never_list",
    /// Outside the configured roots.
    OutsideRoots = "outside_roots",
    /// Younger than the policy's minimum age.
    TooYoung = "too_young",
    /// More files, bytes or GiB than one run may touch.
    OverCap = "over_cap",
    /// The same subject was acted on too recently.
    Cooldown = "cooldown",
    /// Restarted too often already: the healer must not become the outage.
    CrashLoop = "crash_loop",
    /// Restarted a moment ago: each time it waits longer.
    Backoff = "backoff",
    /// Confidence under 0.70, or under what this kind of step needs.
    LowConfidence = "low_confidence",
    /// A person said pause, or a maintenance window is open.
    Paused = "paused",
    /// A package manager is at work.
    PackageManager = "package_manager",
    /// The host is shutting down.
    ShuttingDown = "shutting_down",
    /// Container and host views differ and should not.
    WrongView = "wrong_view",
    /// Another episode is acting on this host.
    AnotherEpisode = "another_episode",
    /// The signal cleared, or the subject is another one by now.
    Stale = "stale",
    /// The ledger cannot be trusted or written.
    LedgerUntrusted = "ledger_untrusted",
    /// The actuator is not there, or did not answer.
    NoActuator = "no_actuator",
    /// The step cannot be carried out on this host.
    NotAvailable = "not_available",
    /// Malformed: an absolute path where a relative one belongs, an unknown version.
    Malformed = "malformed",
}
