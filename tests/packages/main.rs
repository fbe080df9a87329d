//! The packages, installed on a real systemd: what they bring, what they leave alone, and what stays when they go.

#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use support::loops::LoopDisk;
use support::nspawn::{Boot, Machine, Told};
use support::{is_root, missing, on_path, output};

/// Higher is more exposed; `systemd-analyze security` calls up to 2.5 good for a program that looks at a whole host.
const MOST_EXPOSED_AGENT: f64 = 2.5;
const MOST_EXPOSED_ACTUATOR: f64 = 2.5;
/// It needs no right at all, but agents come from everywhere.
const MOST_EXPOSED_COLLECTOR: f64 = 2.0;

struct Packages {
    deb: PathBuf,
    /// A later version with other configuration files.
    newer: PathBuf,
    rpm: PathBuf,
    /// The collector's.
    collector_deb: PathBuf,
    collector_rpm: PathBuf,
    scratch: tempfile::TempDir,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Built once, from the programs that the other tests run as well.
fn packages() -> Option<&'static Packages> {
    static PACKAGES: OnceLock<Option<Packages>> = OnceLock::new();
    PACKAGES
        .get_or_init(|| {
            if let Some(tool) = ["cargo-deb", "cargo-generate-rpm", "dpkg-deb", "rpm"].into_iter().find(|t| !on_path(t)) {
                missing(&format!("building packages needs {tool}: packaging/setup.sh package"));
                return None;
            }
            output(Command::new(repository().join("packaging/build.sh")).env("PROFILE", "dev"));
            let built = repository().join("target/packages");
            let find = |begins: &str, ends: &str| {
                let mut names = fs::read_dir(&built).expect("built").map(|e| e.expect("entry").file_name().into_string().expect("text"));
                let found = names.find(|name| name.starts_with(begins) && name.ends_with(ends));
                built.join(found.unwrap_or_else(|| panic!("no {begins}*{ends} in {}", built.display())))
            };
            let scratch = tempfile::tempdir().expect("temp dir");
            let (deb, rpm) = (find("byteport_", ".deb"), find("byteport-0", ".rpm"));
            let (collector_deb, collector_rpm) = (find("byteport-collector_", ".deb"), find("byteport-collector-0", ".rpm"));
            let newer = newer(&deb, scratch.path());
            Some(Packages { deb, newer, rpm, collector_deb, collector_rpm, scratch })
        })
        .as_ref()
}

fn newer(deb: &Path, scratch: &Path) -> PathBuf {
    let (tree, packed) = (scratch.join("tree"), scratch.join("newer.deb"));
    output(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&tree));
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("control");
    let raised: Vec<_> = text.lines().map(|l| if l.starts_with("Version:") { "Version: 99.0-1" } else { l }).collect();
    fs::write(&control, raised.join("\n") + "\n").expect("control");
    for file in ["agent.toml", "actuator.toml"] {
        let path = tree.join("etc/byteport").join(file);
        fs::write(&path, fs::read_to_string(&path).expect("config") + "# of the newer version\n").expect("config");
    }
    output(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&packed));
    packed
}

/// The message ids that the programs log, from the file that holds them.
fn message_ids() -> Vec<String> {
    let source = fs::read_to_string(repository().join("src/events.rs")).expect("events.rs");
    let ids: BTreeSet<_> = source
        .split('"')
        .filter(|s| s.len() == 32 && s.starts_with("6f0f1b9f0f6c4d0c9a52a3b1d1e4") && s.chars().all(|c| c.is_ascii_hexdigit()))
        .map(str::to_owned)
        .collect();
    ids.into_iter().collect()
}

/// One boot, one life of the .deb; every test below reads a part of what it left.
fn life() -> Option<&'static Told> {
    static LIFE: OnceLock<Option<Told>> = OnceLock::new();
    LIFE.get_or_init(|| {
        let (packages, machine) = (packages()?, Machine::ready()?);
        let ids = packages.scratch.path().join("ids");
        fs::write(&ids, message_ids().join("\n")).expect("ids");
        let boot = Boot::of(include_str!("deb.sh")).with(&packages.deb, "old.deb").with(&packages.newer, "new.deb").with(ids, "ids");
        Some(machine.boot(&boot))
    })
    .as_ref()
    .map(Told::succeeded)
}

fn told<'a>(life: &'a Told, name: &str) -> &'a str {
    life.file(name).unwrap_or_else(|| panic!("nothing about {name}\n{}\n{}", life.stdout, life.stderr))
}

/// `byteport-agent enabled active 123` -> ("enabled", "active", "123")
fn unit<'a>(state: &'a str, name: &str) -> (&'a str, &'a str, &'a str) {
    let line = state.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name} is not in {state}"));
    let mut words = line.split(' ').skip(1);
    (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

fn path(line: &str) -> &str {
    line.split('|').next().unwrap_or_default()
}

#[test]
fn a_fresh_install_observes_and_the_actuator_is_off() {
    let Some(life) = life() else { return };
    let fresh = told(life, "fresh");
    assert!(matches!(unit(fresh, "byteport-agent"), ("enabled", "active", _)), "{fresh}\n{}", life.stdout);
    assert!(matches!(unit(fresh, "byteport-actuator"), ("disabled", "inactive", _)), "{fresh}");
    assert_eq!(told(life, "failed"), "");
    let status: serde_json::Value = serde_json::from_str(told(life, "status.json")).expect("status is JSON");
    assert_eq!(status["mode"], "observe", "{status}");
}

#[test]
fn a_fresh_install_changes_nothing_but_its_own_files() {
    let Some(life) = life() else { return };
    let before: BTreeSet<_> = told(life, "disk.before").lines().collect();
    let owned: BTreeSet<_> = told(life, "owned").lines().collect();
    let strange: Vec<_> = told(life, "disk.installed")
        .lines()
        .filter(|line| !before.contains(line) && !owned.contains(path(line)) && !is_bookkeeping(path(line)))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
    let kept: BTreeSet<_> = told(life, "disk.installed").lines().map(path).collect();
    let gone: Vec<_> = before.iter().filter(|line| !kept.contains(path(line)) && !is_bookkeeping(path(line))).collect();
    assert!(gone.is_empty(), "{gone:#?}");
}

/// What dpkg, systemd and the user database note about any package, and our state and consent to run.
fn is_bookkeeping(path: &str) -> bool {
    let below = ["/var/lib/dpkg/", "/var/log/", "/var/lib/systemd/", "/var/lib/byteport/", "/var/cache/", "/var/spool/cron"];
    below.iter().any(|b| path.starts_with(b))
        || ["passwd", "group", "shadow", "gshadow"]
            .iter()
            .any(|f| path.strip_prefix("/etc/").is_some_and(|p| p.trim_end_matches('-') == *f))
        || ["/var/lib/byteport", "/etc/.pwd.lock", "/etc/systemd/system/multi-user.target.wants/byteport-agent.service"].contains(&path)
}

#[test]
fn the_agent_has_four_rights_and_no_more() {
    let Some(life) = life() else { return };
    let rights: BTreeMap<_, _> = told(life, "rights").lines().filter_map(|l| l.split_once(":\t")).collect();
    // CAP_DAC_READ_SEARCH 2, CAP_SYS_PTRACE 19, CAP_SYS_RESOURCE 24, CAP_SYSLOG 34; systemd leaves out what this machine has not to give.
    let here = fs::read_to_string("/proc/self/status").unwrap();
    let here = here.lines().find_map(|l| l.strip_prefix("CapBnd:\t")).unwrap();
    let four = ((1_u64 << 2) | (1 << 19) | (1 << 24) | (1 << 34)) & u64::from_str_radix(here, 16).unwrap();
    let four = format!("{four:016x}");
    for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(rights.get(set), Some(&four.as_str()), "{set} in {rights:?}");
    }
    assert_eq!(rights.get("NoNewPrivs"), Some(&"1"), "{rights:?}");
    assert_eq!(rights.get("Seccomp"), Some(&"2"), "{rights:?}");
    assert!(rights.get("Uid").is_some_and(|uid| !uid.starts_with("0\t")), "{rights:?}");
}

/// As `systemd-analyze security` told it.
fn exposure(text: &str, unit: &str) -> f64 {
    let line = text.lines().find(|l| l.contains(&format!("exposure level for {unit}"))).unwrap_or_else(|| panic!("{text}"));
    line.split_whitespace().find_map(|w| w.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn units_are_little_exposed() {
    let Some(life) = life() else { return };
    let text = told(life, "security");
    let (agent, actuator) = (exposure(text, "byteport-agent.service"), exposure(text, "byteport-actuator.service"));
    assert!(agent <= MOST_EXPOSED_AGENT, "agent: {agent}");
    assert!(actuator <= MOST_EXPOSED_ACTUATOR, "actuator: {actuator}");
}

#[test]
fn only_the_agents_user_reaches_the_actuator_and_even_it_cannot_replace_its_socket() {
    let Some(life) = life() else { return };
    assert!(matches!(unit(told(life, "acting"), "byteport-actuator"), ("disabled", "active", _)), "{}", life.stdout);
    let places = told(life, "places.acting");
    assert!(places.contains("/run/byteport/actuator.sock srw-rw---- root:byteport"), "{places}");
    assert_eq!(told(life, "nobody.reaches").trim(), "1", "{places}");
    assert_ne!(told(life, "agent.replaces").trim(), "0", "{places}");
    assert!(told(life, "places").contains("/run/byteport drwxrwxr-t root:byteport"), "{}", told(life, "places"));
}

#[test]
fn the_agents_group_may_ask_what_it_sees_and_others_are_told_how() {
    let Some(life) = life() else { return };
    let (member, stranger) = (told(life, "status.member"), told(life, "status.stranger"));
    assert!(member.contains("observe"), "{member}");
    assert!(!stranger.contains("observe") && stranger.contains("byteport"), "{stranger}");
}

#[test]
fn the_start_is_in_the_journal_with_fields() {
    let Some(life) = life() else { return };
    let entries: Vec<serde_json::Value> = told(life, "journal.json").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert!(!entries.is_empty(), "no entry of byteport-agent");
    assert!(entries.iter().all(|e| e["_SYSTEMD_UNIT"] == "byteport-agent.service"), "{entries:#?}");
    assert!(
        entries.iter().any(|e| e.as_object().is_some_and(|fields| fields.keys().any(|k| k.starts_with("BYTEPORT_")))),
        "no entry has a field of ours: {entries:#?}"
    );
}

#[test]
fn the_catalog_explains_every_message() {
    let Some(life) = life() else { return };
    let ids = message_ids();
    assert!(ids.len() >= 10, "{ids:?}");
    for id in &ids {
        let text = told(life, &format!("catalog.{id}"));
        assert!(text.contains("Defined-By: BytePort"), "{id}: {text}");
    }
    let explained = told(life, "explained");
    assert!(explained.contains("An incident was opened: inc-0815"), "{explained}");
    assert!(explained.contains("journalctl -t byteport-agent BYTEPORT_INCIDENT=inc-0815"), "{explained}");
}

#[test]
fn an_upgrade_restarts_what_ran_and_keeps_what_was_edited() {
    let Some(life) = life() else { return };
    let (fresh, upgraded, stopped) = (told(life, "fresh"), told(life, "upgraded"), told(life, "stopped"));
    assert!(matches!(unit(upgraded, "byteport-agent"), ("enabled", "active", _)), "{upgraded}");
    assert_ne!(unit(upgraded, "byteport-agent").2, unit(fresh, "byteport-agent").2, "not restarted");
    assert!(matches!(unit(upgraded, "byteport-actuator"), ("disabled", "inactive", _)), "{upgraded}");
    let (edited, unedited) = (told(life, "agent.toml.upgraded"), told(life, "actuator.toml.upgraded"));
    assert!(edited.ends_with("# mine\n") && !edited.contains("newer version"), "{edited}");
    assert!(unedited.contains("newer version"), "{unedited}");
    assert!(matches!(unit(stopped, "byteport-agent"), ("disabled", "inactive", _)), "{stopped}");
}

#[test]
fn remove_keeps_the_record_and_purge_keeps_nothing() {
    let Some(life) = life() else { return };
    assert!(!told(life, "kept.state").is_empty(), "the record is gone after remove");
    assert!(told(life, "kept.config").contains("agent.toml"));
    assert_eq!(told(life, "kept.run"), "", "/run/byteport is there after remove");
    assert!(matches!(unit(told(life, "again"), "byteport-agent"), ("enabled", "active", _)), "{}", told(life, "again"));
    assert_eq!(told(life, "run.purged"), "");
    assert_eq!(told(life, "users.purged"), told(life, "users.before"));
    let before: BTreeSet<_> = told(life, "disk.before").lines().map(path).collect();
    let left: Vec<_> = told(life, "disk.purged")
        .lines()
        .map(path)
        .filter(|p| !before.contains(p) && !["/var/lib/dpkg/", "/var/log/"].iter().any(|b| p.starts_with(b)))
        // Copies that the user database keeps of its last state.
        .filter(|p| !(p.starts_with("/etc/") && p.ends_with('-')) && *p != "/etc/.pwd.lock")
        .collect();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn both_packages_bring_the_same_files() {
    let Some(packages) = packages() else { return };
    both_bring_the_same(
        &packages.collector_deb,
        &packages.collector_rpm,
        &[
            "/usr/bin/byteport-collector",
            "/usr/lib/systemd/system/byteport-collector.service",
            "/usr/share/man/man8/byteport-collector-token-create.8",
            "/usr/share/doc/byteport-collector/collector.md",
            "/etc/byteport/collector.toml",
        ],
    );
    let deb = both_bring_the_same(
        &packages.deb,
        &packages.rpm,
        &[
            "/usr/bin/byteport-agent",
            "/usr/bin/byteport-actuator",
            "/usr/bin/byteportctl",
            "/usr/share/man/man1/byteportctl.1",
            "/usr/share/doc/byteport/docs/alerts.md",
            "/usr/share/doc/byteport/docs/metrics.md",
            "/usr/share/doc/byteport/docs/runbooks/disk.md",
            "/usr/share/doc/byteport/deploy/prometheus/byteport.rules.yml",
            "/usr/share/doc/byteport/deploy/grafana/byteport.json",
        ],
    );
    assert!(!deb.iter().any(|p| p.contains("byteport-collector")), "every host would carry what one of them needs: {deb:#?}");
    let completions = deb.iter().filter(|p| p.contains("completion")).count();
    assert!(completions >= 9, "{completions} completions");
}

/// Without how each kind of package names its own; with what has to be among it.
fn both_bring_the_same(deb: &Path, rpm: &Path, wanted: &[&str]) -> BTreeSet<String> {
    let list = |text: String| -> BTreeSet<String> {
        let zsh = |p: &str| p.replace("/zsh/site-functions/", "/zsh/vendor-completions/");
        text.lines().map(|p| zsh(p.trim_end_matches(".gz"))).filter(|p| !p.ends_with('/') && !p.ends_with("/copyright")).collect()
    };
    let deb = output(Command::new("sh").args(["-c", "dpkg-deb --fsys-tarfile \"$0\" | tar t | sed 's/^\\.//'"]).arg(deb));
    let rpm = output(Command::new("rpm").arg("-qlp").arg(rpm));
    let (deb, rpm) = (list(deb), list(rpm));
    assert_eq!(deb, rpm.iter().filter(|p| !p.ends_with("/LICENSE")).cloned().collect());
    for wanted in wanted {
        assert!(deb.contains(*wanted), "{wanted} is not in {deb:#?}");
    }
    deb
}

/// docs/collector.md, "From zero to a fleet", on one host: both packages, a token, an enrolment, and the page.
#[test]
fn from_zero_to_a_fleet() {
    let (Some(packages), Some(machine)) = (packages(), Machine::ready()) else { return };
    let boot = Boot::of(include_str!("fleet.sh")).with(&packages.deb, "agent.deb").with(&packages.collector_deb, "collector.deb");
    let told = machine.boot(&boot.within(Duration::from_secs(300)));
    told.succeeded();
    let file = |name: &str| told.file(name).unwrap_or_else(|| panic!("nothing about {name}\n{}\n{}", told.stdout, told.stderr));
    assert_eq!(file("fresh").trim(), "enabled active", "{}", file("journal"));
    assert_eq!(file("failed"), "", "{}", file("journal"));
    let collector = exposure(file("security"), "byteport-collector.service");
    assert!(collector <= MOST_EXPOSED_COLLECTOR, "collector: {collector}");
    assert!(
        file("places").contains("/var/lib/byteport-collector/collector.db -rw------- byteport-collector:byteport-collector"),
        "{}",
        file("places")
    );
    assert!(file("places").contains("/var/lib/byteport/collector.json -rw------- byteport:byteport"), "{}", file("places"));
    let fleet: serde_json::Value = serde_json::from_str(file("fleet.json")).expect("JSON");
    assert_eq!((fleet["found"].as_u64(), fleet["hosts"][0]["mode"].as_str()), (Some(1), Some("observe")), "{fleet}");
    assert!(file("page").contains(fleet["hosts"][0]["hostname"].as_str().expect("a name")), "{}", file("page"));
    assert!(file("status.text").contains("127.0.0.1:9635"), "{}", file("status.text"));
    assert!(!file("journal").contains("bpj_") && !file("journal").contains("bpa_"), "a secret is in the journal");
    // A row that came later has arrived, and all of it is as the host wrote it; also in the backup.
    assert_eq!((file("verified.code").trim(), file("backup.code").trim()), ("0", "0"), "{}{}", file("verified"), file("backup"));
    assert!(file("verified").contains("whole"), "{}", file("verified"));
    assert_eq!(file("left").trim(), "", "purge keeps nothing of the collector and everything of the agent");
    assert!(file("agent.left").contains("agent.toml"));
}

#[test]
fn the_rpm_installs_verifies_and_goes() {
    let Some(packages) = packages() else { return };
    if !is_root() {
        return missing("installing an .rpm into a root of its own needs root");
    }
    let root = tempfile::tempdir().expect("temp dir");
    let rpm = || {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(root.path());
        command
    };
    output(rpm().args(["--nodeps", "--noscripts", "-i"]).arg(&packages.rpm));
    let config = root.path().join("etc/byteport/agent.toml");
    assert_eq!(output(rpm().args(["-V", "--nodeps", "byteport"])), "");
    fs::write(&config, "# mine\n").expect("config");
    output(rpm().args(["--nodeps", "--noscripts", "--reinstall"]).arg(&packages.rpm));
    assert_eq!(fs::read_to_string(&config).expect("config"), "# mine\n", "an edited configuration was replaced");
    output(rpm().args(["--nodeps", "--noscripts", "-e", "byteport"]));
    assert!(!root.path().join("usr/bin/byteport-agent").exists());
}

#[test]
fn the_rpms_scriptlets_keep_to_the_presets() {
    let (Some(packages), Some(machine)) = (packages(), Machine::ready()) else { return };
    let tree = tempfile::tempdir().expect("temp dir");
    output(Command::new("rpm").arg("--root").arg(tree.path()).args(["--nodeps", "--noscripts", "-i"]).arg(&packages.rpm));
    let tar = packages.scratch.path().join("files.tar");
    output(Command::new("tar").arg("-C").arg(tree.path()).args(["--exclude=./var", "-cf"]).arg(&tar).arg("."));
    let scripts = repository().join("packaging/rpm");
    let boot = ["post", "preun", "postun"]
        .iter()
        .fold(Boot::of(include_str!("rpm.sh")).with(tar, "files.tar"), |boot, script| boot.with(scripts.join(script), *script));
    let told = machine.boot(&boot);
    told.succeeded();
    let state = |name: &str| told.file(name).unwrap_or_else(|| panic!("nothing about {name}: {}", told.stderr)).to_owned();
    assert!(matches!(unit(&state("fresh"), "byteport-agent"), ("enabled", "inactive", _)), "{}", state("fresh"));
    assert!(matches!(unit(&state("fresh"), "byteport-actuator"), ("disabled", "inactive", _)), "{}", state("fresh"));
    assert!(state("user").contains("byteport"));
    assert!(matches!(unit(&state("started"), "byteport-agent"), (_, "active", _)), "{}", state("started"));
    assert!(matches!(unit(&state("upgraded"), "byteport-agent"), ("enabled", "active", _)), "{}", state("upgraded"));
    assert_ne!(unit(&state("upgraded"), "byteport-agent").2, unit(&state("started"), "byteport-agent").2, "not restarted");
    assert!(matches!(unit(&state("upgraded"), "byteport-actuator"), ("disabled", "inactive", _)), "{}", state("upgraded"));
    assert!(matches!(unit(&state("stopping"), "byteport-agent"), ("disabled", "inactive", _)), "{}", state("stopping"));
}

#[test]
fn an_opted_in_mount_is_healed_and_the_journal_tells_the_story() {
    let (Some(packages), Some(machine)) = (packages(), Machine::ready()) else { return };
    let tree = tempfile::tempdir().expect("temp dir");
    let file = |name: &str, mib: usize| {
        let path = tree.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        fs::write(path, vec![b'x'; mib << 20]).expect("file");
    };
    let old = ["log/app.1.gz", "log/app.2.gz", "log/app.3.gz", "tmp/left-over"];
    old.iter().for_each(|name| file(name, 10));
    file("data/orders", 20);
    let Some(disk) = LoopDisk::ext4(128 << 20, &["-d", tree.path().to_str().expect("UTF-8")]) else { return };
    disk.age(&old.map(|name| format!("/{name}")), 30);
    let (device, live) = (packages.scratch.path().join("device"), packages.scratch.path().join("live"));
    fs::write(&device, disk.device.to_str().expect("UTF-8")).expect("device");
    fs::write(&live, vec![b'y'; 46 << 20]).expect("live");
    let boot = Boot::of(include_str!("heal.sh")).with(&packages.deb, "old.deb").with(device, "device").with(live, "live");
    let told = machine.boot(&boot.with_device(&disk.device).within(Duration::from_secs(300)));
    told.succeeded();
    let file = |name: &str| told.file(name).unwrap_or_else(|| panic!("nothing about {name}\n{}", told.stderr));
    let percent = |name: &str| file(name).parse::<u32>().unwrap_or_else(|e| panic!("{name}: {e}"));
    let incidents: serde_json::Value = serde_json::from_str(file("incidents.json")).expect("JSON");
    let healed = incidents.as_array().expect("a list").iter().find(|i| i["runbook"] == "disk").expect("an incident of the disk");
    assert_eq!(healed["outcome"], "healed", "{}\n{}\n{}", file("explained"), file("doctor"), file("story"));
    assert!(percent("full") >= 95 && percent("after") < 80, "{} -> {} -> {}", file("before"), file("full"), file("after"));
    assert_eq!(file("failed"), "");

    let story: Vec<serde_json::Value> = file("story.json").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let ids: Vec<&str> = story.iter().filter_map(|e| e["MESSAGE_ID"].as_str()).map(|id| &id[28..]).collect();
    // Opened, diagnosed, begun, done, verified, closed: in this order, whatever lies between.
    let mut rest = ids.iter();
    for wanted in ["c001", "c002", "c004", "c005", "c006", "c008"] {
        assert!(rest.any(|id| *id == wanted), "{wanted} is missing or too early in {ids:?}\n{}", file("story"));
    }
    for entry in &story {
        assert_eq!(entry["BYTEPORT_RUNBOOK"], "disk", "{entry}");
        assert_eq!(entry["_SYSTEMD_UNIT"], "byteport-agent.service", "{entry}");
    }
    assert!(story.iter().any(|e| e["BYTEPORT_OUTCOME"] == "healed"), "{}", file("story"));
    assert!(story.iter().any(|e| e["BYTEPORT_STEP"].is_string()), "{}", file("story"));
    assert!(file("story").contains("The postmortem, for a ticket"), "no word of the catalog in {}", file("story"));
    assert!(file("postmortem.md").contains("/srv/data"), "{}", file("postmortem.md"));
    assert_eq!(file("replay.code").trim(), "0", "{}", file("replay"));
}

#[test]
fn a_container_cannot_set_the_clock() {
    let Some(machine) = Machine::ready() else { return };
    let told = machine.boot(&Boot::of("systemctl is-system-running --wait; setpriv --dump | grep -i bounding"));
    assert!(told.succeeded().stdout.starts_with("running\n"), "{told:?}");
    assert!(!told.stdout.contains("sys_time"), "{told:?}");
}
