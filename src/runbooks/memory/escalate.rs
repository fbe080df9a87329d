//! What a person is told, and the exact commands to go on with.

use super::Params;
use super::class::{CLASSES, Class};
use super::classify::{is_well, released};
use super::evidence::{Evidence, Group, share_of};
use super::shortage::{is_held, is_short, killed, over};
use super::signals::STALL;
use super::suspects::{Suspect, Who, misconfigured, release};
use crate::model::{
    Bytes, Confidence, Deploy, DeploySource, Diagnosis, FollowUp, HeapSetting, Percent, Plan, Runtime, Seconds, Severity, shell_word,
};

/// `None`: nobody needs to be woken.
pub(super) fn reason(evidence: &Evidence, diagnosis: &Diagnosis, plan: &Plan, params: &Params) -> Option<String> {
    if is_well(evidence, params) || diagnosis.class == Class::PageCacheOnly.as_str() {
        return None;
    }
    let mut out = Vec::new();
    let is_over = diagnosis.class == Class::Unknown.as_str() && is_short(evidence, params) == Some(false);
    if is_over && is_a_moments(evidence, params) {
        return None;
    }
    if is_over {
        out.push(over(evidence, params));
    } else if let Some(class) = CLASSES.iter().find(|c| c.name == diagnosis.class && c.always_escalates) {
        out.push(format!("{}: {}", class.name, class.meaning));
    }
    if diagnosis.confidence < Confidence::TO_ACT && !is_over {
        out.push(format!("confidence {} is under {}: nothing is done", diagnosis.confidence, Confidence::TO_ACT));
    }
    if diagnosis.class == Class::Unknown.as_str() {
        out.extend(killed(evidence, params));
    }
    if let Some(critical) = evidence.signals.iter().find(|s| s.severity == Severity::Critical) {
        out.push(format!("critical: {}", critical.detail));
    }
    if plan.steps.is_empty() && Class::named(&diagnosis.class).is_acted_on() {
        out.push("no step is allowed and useful here".to_owned());
    }
    (!out.is_empty()).then(|| out.join("; "))
}

/// A stall that did not last, on a host that has room: nobody was killed, and nobody is held back by a limit.
fn is_a_moments(evidence: &Evidence, params: &Params) -> bool {
    let only_stalls = evidence.signals.iter().all(|s| s.kind == STALL && s.severity == Severity::Warning);
    let held = evidence.all_groups().iter().any(|group| is_held(group, params));
    only_stalls && evidence.oom_kills.value().is_some() && killed(evidence, params).is_none() && !held
}

/// What to type next, whoever asks for it.
pub(super) fn follow_ups(evidence: &Evidence, suspect: Option<Suspect<'_>>, params: &Params) -> Vec<FollowUp> {
    let mut out = Vec::new();
    let mut say = |why: String, command: String| out.push(FollowUp { why, command });
    say("what is used and who waits".into(), "free -h && cat /proc/pressure/memory".into());
    let groups: Vec<String> = evidence.all_groups().iter().take(params.top).map(|g| format!("{} {}", g.name(), g.memory())).collect();
    if !groups.is_empty() {
        say(format!("largest before: {}", groups.join(", ")), "systemd-cgtop --order=memory --iterations=1 --batch".into());
    }
    let processes: Vec<String> = evidence.all_processes().iter().take(params.top).map(|p| format!("{} {}", p.name(), p.rss)).collect();
    if !processes.is_empty() {
        say(
            format!("largest processes before: {}", processes.join(", ")),
            "ps -eo pid,rss,oom_score_adj,unit,comm --sort=-rss | head -n 15".into(),
        );
    }
    if let Some(who) = suspect.map(|s| s.who) {
        if let Some(deploy) = release(who, evidence, params) {
            say(format!("{} within the hour: roll it back", released(deploy)), rollback(deploy, who.unit()));
        }
        match who {
            Who::Group(group) => unit(group, suspect.map(|s| s.class), evidence, params, &mut say),
            Who::Process(process) => {
                say(format!("who {} is", process.name()), format!("ps -o pid,ppid,user,lstart,rss,args -p {}", process.facts.pid))
            }
        }
    } else if let Some(group) = evidence.own_unit().and_then(|name| evidence.group_of(name)) {
        unit(group, None, evidence, params, &mut say);
    }
    let killed = evidence.oom_kills.value().is_some_and(|kills| !kills.is_empty());
    if killed || evidence.has(&super::signals::OOM) {
        say("whom the kernel killed, and why".into(), "journalctl -k --since=-1h --grep='out of memory|oom-kill|Killed process'".into());
    }
    out
}

/// Which version there was before is in the package manager's own log; what was only marked is for whoever marked it to take back.
fn rollback(deploy: &Deploy, unit: Option<&str>) -> String {
    let name = shell_word(&deploy.name);
    match deploy.source {
        DeploySource::Dpkg => format!("grep -hF {name} /var/log/dpkg.log | tail -n 5 && apt-cache policy {name}"),
        DeploySource::Rpm => format!("dnf history list {name} && dnf downgrade {name}"),
        DeploySource::Restart => format!("journalctl -u {} --since=-2h --no-pager | head -n 50", shell_word(&deploy.name)),
        DeploySource::Marker => format!("systemctl cat {}", shell_word(unit.unwrap_or(&deploy.name))),
    }
}

fn unit(group: &Group, class: Option<Class>, evidence: &Evidence, params: &Params, say: &mut impl FnMut(String, String)) {
    let Some(name) = group.unit.as_deref() else {
        return say(format!("what is in {}", group.used.path), format!("systemd-cgls --all {}", shell_word(group.used.path.as_bytes())));
    };
    let word = shell_word(name);
    if let Some(facts) = group.facts.value() {
        let runs_for = Seconds(facts.active_for_s);
        let history =
            format!("{name} runs for {runs_for}; restarted {} times by systemd itself since somebody last started it", facts.restarts);
        say(history, format!("systemctl show {word} --property=NRestarts,ActiveEnterTimestamp,MemoryHigh,MemoryMax,Result"));
    }
    say(format!("what {name} said"), format!("journalctl -u {word} --since=-2h --no-pager | tail -n 100"));
    say(format!("what the kernel said of {name}"), format!("journalctl -u {word} -k --since=-2h --no-pager"));
    if class == Some(Class::RuntimeMisconfig)
        && let (Some((process, heap)), Some(limit)) = (misconfigured(group, evidence), group.limit())
    {
        let most = share_of(limit, Percent(100.0 - params.heap_headroom_percent.0));
        say(
            format!(
                "{} has {}: at most {} of its limit of {limit} leaves room beside the heap",
                process.name(),
                quoted(heap),
                setting(heap, most)
            ),
            format!("systemctl edit {word}"),
        );
    }
    let Some(past) = group.past.value() else { return };
    match class {
        Some(Class::UndersizedLimit) => {
            let most = past.memory_p99.or(past.memory_peak).unwrap_or_default().max(group.memory());
            let limit = rounded(share_of(most, params.limit_of_p99_percent));
            say(
                format!("{name} has {most}, or less for all but a hundredth of the time; with half as much again it has room"),
                format!("systemctl set-property --runtime {word} MemoryMax={}", limit.0),
            );
        }
        Some(Class::TrafficSpike) => say(format!("{name} follows its requests: add another instance"), format!("systemctl status {word}")),
        Some(Class::NoisyNeighbor | Class::MemoryLeak) => {
            // What began a moment ago has no usual that it could be kept near.
            let Some(usual) = past.memory_usual else { return };
            let high = rounded(share_of(usual, params.high_of_usual_percent).max(params.high_at_least));
            say(
                format!("keep {name} near its usual of {usual}, until the next start of the host"),
                format!("systemctl set-property --runtime {word} MemoryHigh={}", high.0),
            );
        }
        Some(Class::DeployRegression | Class::RuntimeMisconfig | Class::PageCacheOnly | Class::Unknown) | None => {}
    }
}

/// To whole MiB, upwards.
fn rounded(bytes: Bytes) -> Bytes {
    const MIB: u64 = 1 << 20;
    Bytes(bytes.0.div_ceil(MIB).saturating_mul(MIB))
}

fn quoted(heap: &HeapSetting) -> String {
    crate::model::HostPath::from(heap.written.as_str()).to_string()
}

/// As it would be written.
fn setting(heap: &HeapSetting, most: Bytes) -> String {
    let mib = most.0 >> 20;
    match heap.runtime {
        Runtime::Jvm => format!("-Xmx{mib}m"),
        Runtime::Node => format!("--max-old-space-size={mib}"),
        Runtime::Go => format!("GOMEMLIMIT={mib}MiB"),
    }
}
