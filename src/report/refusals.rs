//! What would turn each refusal around, for whoever asks why nothing was done.

use crate::model::RefusalReason as Why;

pub(crate) const fn would_change(reason: Why) -> &'static str {
    match reason {
        Why::ReportOnly => {
            "set mode = \"act\" in agent.toml and in actuator.toml, enable byteport-actuator, and see that BYTEPORT_DRY_RUN is not true"
        }
        Why::PolicyForbids => "allow the runbook and the step in agent.toml and in actuator.toml; each side's own file rules",
        Why::NoOptIn => {
            "opt the resource in: its mount under `mounts`, its unit by [X-Byteport] Restart=safe, a program in no unit by its name under `processes`"
        }
        Why::NeverList => "nothing: it is on the never-list, whatever the policy says",
        Why::OutsideRoots => "add the folder to the roots of this family in agent.toml and in actuator.toml, if it may be cleaned",
        Why::TooYoung => "time: it is tried again when the files are old enough; the minimum age cannot be lowered",
        Why::OverCap => "raise the cap that is named, or let a person do the rest",
        Why::Cooldown => "time, or a shorter cooldown; that it came back so soon is a reason to look for the cause",
        Why::LowConfidence => "what could not be seen: make it readable (see `byteportctl doctor`), then it is diagnosed again",
        Why::CrashLoop => "a person: restarting does not help this unit, the cause has to be found",
        Why::Backoff => "time: each restart waits longer than the one before",
        Why::Paused => "`byteportctl resume`, or the end of the pause",
        Why::PackageManager => "the end of the package manager's work; then it is tried again",
        Why::ShuttingDown => "nothing: a host that goes down is left alone",
        Why::WrongView => "start the agent and the actuator in the host's own namespaces, or give a container the host's root on purpose",
        Why::AnotherEpisode => "the end of the other incident; one at a time acts on a host",
        Why::Stale => "nothing: what was decided is not so any more, and it is diagnosed anew if the signal is raised again",
        Why::LedgerUntrusted => {
            "see `byteportctl doctor`; a damaged ledger is set aside and a person must start the actuator with --trust-new-ledger"
        }
        Why::NoActuator => {
            "start byteport-actuator (`systemctl enable --now byteport-actuator`) and see that the agent's user may reach it"
        }
        Why::NotAvailable => "what the step needs on this host; the reason names it",
        Why::Malformed => "nothing on this host: agent and actuator do not understand each other; are they of one version?",
    }
}
