//! A host in a virtual machine, with the package installed: what scenarios do to it, and what its agent has on record.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::exec::{Guest, Ran};
use crate::machine::{Machine, remove_disks};
use crate::snapshot::{Snapshot, write_state};

/// Any one command. Generous: translated, on a machine that has other work.
const COMMAND: Duration = Duration::from_secs(300);
/// From a fault to the end of its incident: gather, act, verify, and half a minute until the second look.
pub const EPISODE: Duration = Duration::from_secs(240);
/// The same where the episode takes its time: a service that stops slowly, a limit that stands until the cause is gone.
pub const SLOW: Duration = Duration::from_secs(480);
const BOOT: Duration = Duration::from_secs(300);

/// Known to every script. `site DISK`: ext4 on it, mounted at /srv/data with a service's folders. `fill FILE PERCENT`: a file of that name, so large that `df` prints that for its filesystem.
const WORDS: &str = r#"
site() { mkfs.ext4 -q -m 0 "$1" && mkdir -p /srv/data && mount "$1" /srv/data && mkdir /srv/data/{log,tmp,data}; }
fill() {
    local used avail
    read -r used avail < <(df -B1 --output=used,avail "$(dirname "$1")" | tail -1)
    fallocate -l $(((used + avail) * $2 / 100 - used)) "$1"
}
usage() { df --output=pcent "$1" | tail -1 | tr -dc 0-9; }
until_true() { # until_true SECONDS COMMAND…
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || { echo "not within its time: $*" >&2; return 1; }
        # Seldom, where it may be: what looks is load as well, on an emulated machine.
        sleep ${EVERY:-2}
    done
}
"#;

pub struct Host<'a> {
    snapshot: &'a Snapshot,
    payload: &'a Path,
    /// What is kept of a scenario that fails.
    dir: PathBuf,
    /// `None` without power.
    running: Option<(Machine, Guest)>,
}

/// One incident, from the agent's own record.
#[derive(Debug)]
pub struct Incident {
    pub outcome: String,
    pub class: String,
    /// Each entry: its kind, its body, and the boot clock when it was written.
    pub entries: Vec<(String, Value, f64)>,
    pub chain_is_whole: bool,
}

impl<'a> Host<'a> {
    /// Restored; it is so many days ago.
    pub fn resumed(snapshot: &'a Snapshot, payload: &'a Path, dir: &Path, days: u64) -> Host<'a> {
        let machine = snapshot.restore(payload, dir).unwrap_or_else(|why| panic!("not restored: {why}"));
        let guest = machine.guest(Duration::from_secs(60)).unwrap_or_else(|why| panic!("not restored: {why}"));
        let mut host = Host { snapshot, payload, dir: dir.to_owned(), running: Some((machine, guest)) };
        host.set_clock_back(days);
        host
    }

    /// Stopped where it is, for others to go on from.
    pub fn saved(mut self) -> Result<(), String> {
        self.sh("sync; echo 3 >/proc/sys/vm/drop_caches");
        write_state(self.running.take().expect("it has power").0, &self.dir)
    }

    /// Runs a script that may fail.
    pub fn tried(&mut self, script: &str, limit: Duration) -> Result<Ran, String> {
        let (_, guest) = self.running.as_mut().ok_or("the machine has no power")?;
        guest.run(&format!("{WORDS}{script}"), limit)
    }

    /// What a script said.
    ///
    /// # Panics
    /// When it fails, or has no end in time.
    pub fn sh(&mut self, script: &str) -> String {
        self.sh_within(COMMAND, script)
    }

    pub fn sh_within(&mut self, limit: Duration, script: &str) -> String {
        let ran = self.tried(script, limit).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(ran.code, 0, "{script}\n{}", ran.said);
        ran.said
    }

    pub fn set_clock_back(&mut self, days: u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        self.sh(&format!("date -s @{} >/dev/null", now - days * 86_400));
    }

    /// It is today, the package is installed, and both programs run with these lines at the ends of their settings.
    pub fn installed(&mut self, agent: &str, actuator: &str) {
        self.set_clock_back(0);
        self.sh(&format!(
            "mkdir /run/payload && tar -C /run/payload -xf /dev/disk/by-id/virtio-payload
             DEBIAN_FRONTEND=noninteractive dpkg -i /run/payload/byteport.deb && rm /run/payload/byteport.deb
             mkdir -p /etc/byteport/agent.toml.d /etc/byteport/actuator.toml.d
             printf '%s' '{agent}' >/etc/byteport/agent.toml.d/50-test.toml
             printf '%s' '{actuator}' >/etc/byteport/actuator.toml.d/50-test.toml
             byteportctl check /etc/byteport/agent.toml && byteportctl check /etc/byteport/actuator.toml &&
             systemctl enable --now byteport-actuator && systemctl restart byteport-agent"
        ));
        self.sees("curl -sf -m 10 http://127.0.0.1:9634/readyz");
    }

    /// Opted in for these mounts, with folders of logs and of temporary files below each; `extra` goes to both limits.
    pub fn installed_with_consent(&mut self, mounts: &[&str], extra: &str) {
        let all = |below: &str| format!("{:?}", mounts.iter().map(|m| format!("{m}{below}")).collect::<Vec<_>>());
        let limits = format!("mounts = {}\nlog_roots = {}\ntmp_roots = {}\n{extra}\n", all(""), all("/log"), all("/tmp"));
        self.installed(
            &format!("mode = \"act\"\nallow = [\"disk\"]\nsample_interval = \"1s\"\n[disk.limits]\n{limits}"),
            &format!("allow = [\"disk\"]\n[disk]\n{limits}"),
        );
        for mount in mounts {
            self.sees(&format!("byteportctl status --json | grep -q '\"{mount}\"'"));
        }
    }

    /// The runbook may act; `short` are lines of its section that make its windows shorter, `limits` go to both sides.
    pub fn installed_for(&mut self, runbook: &str, short: &str, limits: &str) {
        self.installed(
            &format!(
                "mode = \"act\"\nallow = [\"{runbook}\"]\nsample_interval = \"2s\"\n[{runbook}]\n{short}\n[{runbook}.limits]\n{limits}"
            ),
            &format!("allow = [\"{runbook}\"]\n[{runbook}]\n{limits}"),
        );
    }

    /// # Panics
    /// When this command does not come to succeed in time.
    pub fn sees(&mut self, command: &str) {
        self.sh_within(COMMAND, &format!("holds() {{ {command}; }} >/dev/null 2>&1\nuntil_true 240 holds"));
    }

    /// Seconds on the guest's boot clock.
    pub fn uptime(&mut self) -> f64 {
        self.sh("cut -d ' ' -f 1 /proc/uptime").trim().parse().expect("a number")
    }

    /// All incidents, oldest first.
    pub fn incidents(&mut self) -> Vec<Value> {
        let said = self.sh("byteportctl incidents --json");
        let mut list: Vec<Value> = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
        list.reverse();
        list
    }

    /// The incident after the first `known` ones, once it is closed.
    pub fn closed(&mut self, known: usize) -> Incident {
        self.closed_within(EPISODE, "", known)
    }

    /// The same among those of one runbook (empty: of all), for what takes longer to be told.
    pub fn closed_within(&mut self, limit: Duration, runbook: &str, known: usize) -> Incident {
        let end = Instant::now() + limit;
        loop {
            let mut all = self.incidents();
            all.retain(|i| runbook.is_empty() || i["runbook"] == runbook);
            if let Some(summary) = all.get(known).filter(|i| i["closed"].is_object()) {
                return self.incident(summary);
            }
            assert!(Instant::now() < end, "no closed incident within {limit:?}: {all:#?}");
            // Asking is a load on a machine that is translated, and some scenarios are about load.
            std::thread::sleep(Duration::from_secs(5));
        }
    }

    /// # Panics
    /// When this runbook has anything on record, or any other has begun to do something: on a machine that is translated, a call that takes
    /// seconds is not always somebody's fault.
    pub fn nothing_was_found(&mut self, runbook: &str) {
        for summary in self.incidents() {
            assert_ne!(summary["runbook"], runbook, "{summary:#}");
            self.incident(&summary).nothing_was_done();
        }
    }

    pub fn incident(&mut self, summary: &Value) -> Incident {
        let id = summary["id"].as_str().expect("id");
        let said = self.sh(&format!("curl -sf -m 30 --unix-socket /run/byteport/agent.sock http://agent/v1/incidents/{id}"));
        let whole: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e} in {} bytes of {id}", said.len()));
        let entry = |e: &Value| {
            let (kind, body) = e["body"].as_object().and_then(|b| b.iter().next()).expect("one kind");
            (kind.clone(), body.clone(), e["at"]["uptime_s"].as_f64().expect("a time"))
        };
        // A person gets the same story.
        let shown = self.sh(&format!("byteportctl incidents show {id} --json"));
        let shown: Value = serde_json::from_str(&shown).unwrap_or_else(|e| panic!("{e}: {shown}"));
        assert_eq!(shown["outcome"], summary["outcome"], "{shown}");
        Incident {
            outcome: summary["outcome"].as_str().unwrap_or("open").to_owned(),
            class: summary["class"].as_str().unwrap_or("none").to_owned(),
            entries: whole["entries"].as_array().expect("entries").iter().map(entry).collect(),
            chain_is_whole: whole["chain"].get("value").is_some(),
        }
    }

    /// The power is cut and comes back.
    pub fn cut_power(&mut self) {
        self.running.take().expect("it has power").0.end();
        self.booted_again("after the cut");
    }

    /// As a person does it: everything is asked to end first.
    pub fn reboot(&mut self) {
        self.sh("systemctl reboot --no-block");
        self.running.take().expect("it has power").0.ended(BOOT).unwrap_or_else(|why| panic!("{why}"));
        self.booted_again("after the reboot");
    }

    fn booted_again(&mut self, when: &str) {
        let machine = self.snapshot.boot_again(self.payload, &self.dir).unwrap_or_else(|why| panic!("{when}: {why}"));
        let guest = machine.guest(BOOT).unwrap_or_else(|why| panic!("{when}: {why}"));
        self.running = Some((machine, guest));
        self.sees("byteportctl incidents");
    }

    /// Whatever can still be told about a host that did not do as it should.
    pub fn tell(&mut self) {
        for (name, script) in [
            ("journal", "journalctl --no-pager -o short-monotonic | grep -v ' qemu-ga' | tail -3000"),
            ("status.json", "byteportctl status --json"),
            ("incidents.json", "byteportctl incidents --json"),
            (
                "incidents.txt",
                "for id in $(byteportctl incidents --json | grep -o '\"id\": *\"[^\"]*\"' | cut -d '\"' -f 4); do
                     byteportctl incidents show $id; byteportctl explain $id; done",
            ),
            ("host", "df -h; mount; dmesg | tail -100; systemctl --failed --no-pager; ps auxf"),
        ] {
            let said = self.tried(script, Duration::from_secs(60)).map_or_else(|why| why, |ran| ran.said);
            drop(fs::write(self.dir.join(name), said));
        }
    }

    pub fn end(self) {
        if let Some((machine, _)) = self.running {
            machine.end();
        }
        remove_disks(&self.dir);
    }
}

impl Incident {
    pub fn all(&self, kind: &str) -> Vec<&Value> {
        self.entries.iter().filter(|(k, ..)| k == kind).map(|(_, body, _)| body).collect()
    }

    pub fn kinds(&self) -> Vec<&str> {
        self.entries.iter().map(|(kind, ..)| kind.as_str()).collect()
    }

    /// Reasons of all refusals.
    pub fn refusals(&self) -> Vec<&str> {
        self.all("refused").iter().filter_map(|b| b["refusal"]["reason"].as_str()).collect()
    }

    /// Of all signals that it was opened with, or that joined it.
    pub fn signals(&self) -> Vec<&str> {
        let told = self.all("opened").into_iter().chain(self.all("signals"));
        told.filter_map(|b| b["signals"].as_array()).flatten().filter_map(|s| s["kind"].as_str()).collect()
    }

    /// Kinds of the steps that were begun.
    pub fn steps(&self) -> Vec<&str> {
        self.all("intent").iter().filter_map(|b| b["kind"].as_str()).collect()
    }

    pub fn count(&self, kind: &str) -> usize {
        self.steps().iter().filter(|s| **s == kind).count()
    }

    /// How many of them last until they are taken back.
    pub fn standing(&self) -> usize {
        self.steps().iter().filter(|s| ["oom_preference", "cpu_weight", "calm_process", "cpu_quota", "memory_high"].contains(s)).count()
    }

    /// Whether the last verdict says so.
    pub fn resolved(&self) -> bool {
        self.all("verdict").last().is_some_and(|v| v["verdict"]["resolved"].is_object())
    }

    /// # Panics
    /// When it came to something else.
    pub fn ended(&self, outcome: &str, class: &str) {
        let came = (self.outcome.as_str(), self.class.as_str());
        assert_eq!(came, (outcome, class), "{:?}, refused {:?}, signals {:?}", self.kinds(), self.all("refused"), self.signals());
    }

    /// All of it, to look for a word in.
    pub fn text(&self) -> String {
        self.entries.iter().map(|(kind, body, _)| format!("{kind} {body}\n")).collect()
    }

    /// The boot clock at the last entry of this kind.
    pub fn last(&self, kind: &str) -> f64 {
        let found = self.entries.iter().rev().find(|(k, ..)| k == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {:?}", self.kinds())).2
    }

    /// Seconds from the first signal to the end of the first step; `None` where none was taken.
    pub fn to_the_first_step(&self) -> Option<f64> {
        let uptime = |at: &Value| at["uptime_s"].as_f64();
        let raised = self.all("opened").first().and_then(|b| uptime(&b["signals"][0]["since"]))?;
        let done = self.all("effect").first().and_then(|b| uptime(&b["effect"]["ended"]))?;
        Some(done - raised)
    }

    /// Every intent once, each with what came of it, one end, and the record whole.
    pub fn is_in_order(&self) {
        let intents: Vec<&str> = self.all("intent").iter().filter_map(|b| b["intent"].as_str()).collect();
        let mut once = intents.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), intents.len(), "an intent was made twice: {intents:?}");
        for intent in intents {
            let effect = self.entries.iter().any(|(k, b, _)| (k == "effect" || k == "effect_unknown") && b["intent"] == intent);
            assert!(effect || self.end_is_not_known(intent), "nothing came of {intent}: {:?}", self.kinds());
        }
        assert_eq!(self.all("closed").len(), 1, "{:?}", self.kinds());
        assert!(self.chain_is_whole, "the record's chain is broken");
    }

    /// Whether an agent that was started again found this intent open.
    pub fn end_is_not_known(&self, intent: &str) -> bool {
        let text = format!("{intent} was begun and its end is not known");
        self.all("note").iter().any(|note| note["text"].as_str().is_some_and(|t| t.starts_with(&text)))
    }

    /// # Panics
    /// When anything was done or begun.
    pub fn nothing_was_done(&self) {
        assert!(self.all("intent").is_empty() && self.all("effect").is_empty(), "{:?}", self.kinds());
    }
}
