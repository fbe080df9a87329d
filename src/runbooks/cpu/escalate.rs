//! What a person is told, and the exact commands to go on with.

use super::Params;
use super::class::{CLASSES, Class};
use super::classify::{is_calm, most_throttled, release, safe};
use super::evidence::Evidence;
use super::findings::table;
use super::quota;
use super::suspect::{Suspect, is_crowded};
use crate::model::{Confidence, DeploySource, Diagnosis, FollowUp, PlannedStep, Severity, shell_word};

/// `None`: nobody needs to be woken.
pub(super) fn reason(evidence: &Evidence, diagnosis: &Diagnosis, steps: &[PlannedStep], params: &Params) -> Option<String> {
    let reasons = reasons(evidence, diagnosis, steps, params);
    (!reasons.is_empty()).then(|| format!("{}. The hottest: {}", reasons.join("; "), table(evidence)))
}

fn reasons(evidence: &Evidence, diagnosis: &Diagnosis, steps: &[PlannedStep], params: &Params) -> Vec<String> {
    let mut out = Vec::new();
    let class = Class::named(&diagnosis.class);
    let asked_only = evidence.signals.is_empty();
    // Asked out of curiosity about a host that is well: nothing to tell.
    if asked_only
        && evidence.host.value().is_some()
        && !is_crowded(evidence, params)
        && matches!(class, Class::Unknown | Class::LegitimateLoad)
    {
        return out;
    }
    if let Some(class) = CLASSES.iter().find(|c| c.name == diagnosis.class && c.always_escalates) {
        out.push(format!("{}: {}", class.name, class.meaning));
    }
    if diagnosis.confidence < Confidence::TO_ACT {
        out.push(format!("confidence {} is under {}: nothing is done", diagnosis.confidence, Confidence::TO_ACT));
    }
    if diagnosis.critical {
        let critical = evidence.signals.iter().find(|s| s.severity == Severity::Critical);
        out.push(critical.map_or_else(|| "critical".to_owned(), |s| format!("critical: {}", s.detail)));
    }
    match class {
        Class::LegitimateLoad if is_calm(evidence, params) => {}
        Class::LegitimateLoad => {
            out.push("this host has more to do than it can: give it more CPUs, or move or spread what runs".to_owned())
        }
        Class::RunawayProcess | Class::CronFanout | Class::ForkStorm if steps.is_empty() => {
            out.push("no step is allowed and useful here".to_owned());
        }
        _ => {}
    }
    out
}

/// What to type next, whoever asks for it.
pub(super) fn follow_ups(evidence: &Evidence, class: Class, params: &Params) -> Vec<FollowUp> {
    let mut out = Vec::new();
    let mut say = |why: String, command: String| out.push(FollowUp { why, command });
    let is_offence = matches!(class, Class::RunawayProcess | Class::ForkStorm | Class::DeployRegression);
    let suspect = if class == Class::ForkStorm { Suspect::of_storm(evidence, params) } else { Suspect::of(evidence) };
    say("what runs now, hottest first".into(), "top -b -n 1 -o %CPU | head -n 25".into());
    match class {
        Class::Steal => {
            say("what the hypervisor takes, over ten seconds".into(), "vmstat 1 10".into());
            say("which machine this is, for whoever runs the hypervisor".into(), "hostnamectl".into());
            return out;
        }
        Class::IoWait => {
            say("who waits and who writes".into(), "pidstat -d 5 3".into());
            say("what the devices do".into(), "iostat -x 5 3".into());
            say("what the disk runbook says of it".into(), "byteportctl plan disk".into());
            return out;
        }
        Class::LimitThrottling => throttling(evidence, params, &mut say),
        Class::CronFanout => {
            if let Some(cron) = evidence.cron.value().and_then(|c| c.as_ref()) {
                let unit = shell_word(&cron.unit);
                say("the tree of jobs".into(), format!("systemctl status --no-pager --lines=0 {unit}"));
                say("when they began".into(), format!("journalctl --unit={unit} --since=-2h --no-pager"));
                say("let no two runs overlap: in the crontab".into(), "flock --nonblock /run/lock/JOB.lock JOB".into());
            }
        }
        Class::DeployRegression => {
            if let Some(deploy) = release(evidence, suspect) {
                let word = shell_word(safe(&deploy.name));
                match deploy.source {
                    DeploySource::Restart => {
                        say("why it was started anew".into(), format!("journalctl --unit={word} --since=-2h --no-pager | head -n 50"))
                    }
                    DeploySource::Dpkg | DeploySource::Rpm | DeploySource::Marker => {
                        say("what was released".into(), format!("grep -h {word} /var/log/dpkg.log | tail; rpm -q --last {word}"))
                    }
                }
            }
        }
        Class::ForkStorm => {
            say("who makes them, for ten seconds".into(), "pidstat -R -l 1 10; ps -eo ppid= | sort | uniq -c | sort -rn | head".into())
        }
        Class::RunawayProcess | Class::FleetWide | Class::LegitimateLoad | Class::Unknown => {}
    }
    if let Some(unit) = suspect.unit.filter(|_| class != Class::LimitThrottling) {
        let word = shell_word(unit);
        say(
            format!("what {unit} says"),
            format!("systemctl status --no-pager {word}; journalctl --unit={word} --since=-1h --no-pager | tail -n 50"),
        );
        if let Some((host, (cpu, usual))) =
            evidence.host.value().zip(suspect.used(evidence)).filter(|_| unit.ends_with(".service") && is_offence)
        {
            let percent = quota::value(host, cpu, usual, params);
            say(
                "leave the others something, until the next start".into(),
                format!("systemctl set-property --runtime {word} CPUWeight={} CPUQuota={percent}%", params.weight),
            );
        }
    }
    if suspect.watched().is_some_and(|w| w.facts.kernel_thread) {
        say("where the kernel spends its time".into(), "timeout 10 perf top -g; cat /proc/softirqs".into());
        return out;
    }
    if let Some(process) = suspect.process.filter(|_| !matches!(class, Class::FleetWide | Class::CronFanout)) {
        let pid = process.pid;
        let who = format!("{} (pid {pid})", process.comm);
        say(format!("who {who} is"), format!("ps -o pid,ppid,etime,time,ni,cls,psr,pcpu,user,comm -p {pid}"));
        say(format!("where {who} spends its time"), format!("timeout 10 strace -c -f -p {pid}; timeout 10 perf top -p {pid}"));
        if class == Class::RunawayProcess {
            say(format!("make room beside {who}"), format!("renice -n 19 -p {pid} && chrt --idle --pid 0 {pid}"));
            say(format!("end {who}, once it was looked at"), format!("kill {pid}"));
        }
    }
    out
}

fn throttling(evidence: &Evidence, params: &Params, say: &mut impl FnMut(String, String)) {
    let Some((group, share)) = most_throttled(evidence, params) else { return };
    let enough = quota::that_would_do(group.cpu.0, share.0);
    let name = group.unit.clone().unwrap_or_else(|| group.path.to_string());
    say(
        format!("how often {name} is held back"),
        format!(
            "grep -E 'nr_periods|nr_throttled|throttled_usec' {}",
            shell_word([b"/sys/fs/cgroup", group.path.as_bytes(), b"/cpu.stat"].concat())
        ),
    );
    match &group.unit {
        Some(unit) if unit.ends_with(".service") => {
            let word = shell_word(unit);
            say(
                format!("which limits {unit} has, and who set them"),
                format!("systemctl cat {word}; systemctl show -p CPUQuotaPerSecUSec {word}"),
            );
            say(
                format!("a quota that would do: it gets {} of a CPU and is kept from more in {share} of its periods", group.cpu),
                format!("systemctl set-property --runtime {word} CPUQuota={enough}%"),
            );
        }
        _ => say(
            format!(
                "a quota that would do is {enough} % of a CPU: whoever made the group sets it (docker update --cpus, limits.cpu of a pod)"
            ),
            format!("cat {}", shell_word([b"/sys/fs/cgroup", group.path.as_bytes(), b"/cpu.max"].concat())),
        ),
    }
}
