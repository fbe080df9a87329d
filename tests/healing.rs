//! The whole loop on real filesystems: a real agent and a real actuator, each test on an ext4 of its own.

mod support;

use std::fs;
use std::time::Duration;

use support::hang_fuse::HangFuse;
use support::healing::{EPISODE, Site};

const OLD: &[(&str, u64)] = &[
    ("log/app.log.1", 12 << 20),
    ("log/app.log.2.gz", 6 << 20),
    ("log/other.log.3.gz", 6 << 20),
    ("tmp/build/a", 8 << 20),
    ("tmp/build/b", 8 << 20),
];

fn sick() -> Option<Site> {
    Site::new(96, &["-m", "1"], OLD)
}

fn kinds(story: &[(String, serde_json::Value)]) -> Vec<&str> {
    story.iter().map(|(kind, _)| kind.as_str()).collect()
}

#[test]
fn a_filesystem_that_fills_up_is_healed_proved_and_explained() {
    let Some(mut site) = sick() else { return };
    site.start_actuator();
    site.start_agent();
    site.fill_to(97.0);
    let live = fs::read(site.mount.join("data/live-0.bin")).expect("live data");
    let (id, outcome) = site.closed(0);
    assert_eq!(outcome, "healed", "{}", site.logs());
    assert!(site.usage() < 80.0, "{} %", site.usage());
    assert_eq!(fs::read(site.mount.join("data/live-0.bin")).expect("still there"), live, "application data is never touched");

    let story = site.story(&id);
    let order = kinds(&story);
    for (before, after) in [
        ("opened", "evidence"),
        ("evidence", "decision"),
        ("decision", "intent"),
        ("intent", "effect"),
        ("effect", "verdict"),
        ("verdict", "closed"),
    ] {
        let at = |kind: &str| order.iter().position(|k| *k == kind).unwrap_or_else(|| panic!("no {kind} in {order:?}"));
        assert!(at(before) < at(after), "{before} comes before {after}: {order:?}");
    }
    let freed: u64 = story.iter().filter(|(k, _)| k == "effect").filter_map(|(_, b)| b["effect"]["freed"].as_u64()).sum();
    assert!(freed > 10 << 20, "freed {freed}");

    // It can be told, and told again offline to the same bytes.
    let (code, markdown) = site.ctl(&["incidents", "show", &id, "--markdown"]);
    assert_eq!(code, 0, "{markdown}");
    assert!(markdown.contains(&id) && markdown.contains("healed"), "{markdown}");
    let (code, explained) = site.ctl(&["explain", &id]);
    assert!(code < 2 && explained.contains("onfidence"), "{explained}");
    let bundle = site.path("bundle.json");
    let (code, text) = site.ctl(&["bundle", &id, "-o", bundle.to_str().expect("utf-8")]);
    assert_eq!(code, 0, "{text}");
    Site::kill(&mut site.agent);
    let (code, text) = site.ctl(&["replay", bundle.to_str().expect("utf-8")]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("identical"), "{text}");
}

#[test]
fn observing_changes_nothing() {
    let Some(mut site) = sick() else { return };
    site.configure("observe", "", "");
    site.start_actuator();
    site.start_agent();
    site.fill_to(97.0);
    let (id, outcome) = site.closed(0);
    assert!(["observed", "escalated"].contains(&outcome.as_str()), "{outcome}");
    let story = site.story(&id);
    assert!(!kinds(&story).contains(&"intent"), "{:?}", kinds(&story));
    assert!(story.iter().any(|(k, b)| k == "refused" && b["refusal"]["reason"] == "report_only"), "{story:?}");
    assert!(OLD.iter().all(|(name, _)| site.mount.join(name).exists()), "a file is gone");
}

#[test]
fn one_consent_is_not_enough() {
    let Some(mut site) = sick() else { return };
    // The agent is told to act, but the host's owner allows nothing.
    let text = fs::read_to_string(site.path("actuator.toml")).expect("actuator.toml");
    fs::write(site.path("actuator.toml"), text.replace("allow = [\"disk\"]", "allow = []")).expect("actuator.toml");
    site.start_actuator();
    site.start_agent();
    site.fill_to(97.0);
    let (id, outcome) = site.closed(0);
    assert_eq!(outcome, "escalated", "{}", site.logs());
    let story = site.story(&id);
    assert!(story.iter().any(|(k, b)| k == "refused" && b["refusal"]["reason"] == "policy_forbids"), "{:?}", kinds(&story));
    assert!(OLD.iter().all(|(name, _)| site.mount.join(name).exists()), "a file is gone");
}

#[test]
fn a_full_disk_that_holds_the_state_is_healed_too() {
    let Some(mut site) = sick() else { return };
    // Both state folders on the sick filesystem itself.
    let mount = site.mount.display().to_string();
    for (file, old) in [("agent.toml", "/state\""), ("actuator.toml", "/ledger\"")] {
        let text = fs::read_to_string(site.path(file)).expect(file);
        let at = format!("{}{old}", site.dir.path().display());
        fs::write(site.path(file), text.replace(&at, &format!("{mount}{old}"))).expect(file);
    }
    site.start_actuator();
    site.start_agent();
    // To the last block, root's reserve included.
    let filler = site.mount.join("data/live.bin");
    fs::create_dir_all(filler.parent().expect("has one")).expect("data");
    let mut file = fs::File::create(&filler).expect("filler");
    let block = vec![7u8; 1 << 16];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    while std::io::Write::write_all(&mut file, &[7]).is_ok() {}
    drop(file);
    let (_, outcome) = site.closed(0);
    assert_eq!(outcome, "healed", "{}", site.logs());
}

#[test]
fn inodes_at_zero_are_healed() {
    let old: Vec<(String, u64)> = (0..600).map(|i| (format!("tmp/cache/{i:04}"), 1)).collect();
    let old: Vec<(&str, u64)> = old.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let Some(mut site) = Site::new(96, &["-N", "1024"], &old) else { return };
    site.configure("act", "inodes_hold_s = 1\n", "");
    site.start_actuator();
    site.start_agent();
    fs::create_dir_all(site.mount.join("data")).expect("data");
    let mut made = 0;
    while fs::File::create(site.mount.join(format!("data/{made}"))).is_ok() {
        made += 1;
    }
    assert_eq!(rustix::fs::statvfs(&site.mount).expect("statvfs").f_ffree, 0);
    let (_, outcome) = site.closed(0);
    assert_eq!(outcome, "healed", "{}", site.logs());
    assert_eq!(fs::read_dir(site.mount.join("data")).expect("data").count(), made, "application files stay");
}

#[test]
fn an_actuator_that_dies_in_a_step_is_not_asked_to_repeat_it() {
    let Some(mut site) = sick() else { return };
    site.start_actuator();
    site.start_agent();
    // Stopped, not dead: the agent must not wait for ever, and must not repeat.
    let pid = site.actuator.as_ref().map(|c| rustix::process::Pid::from_raw(c.id() as i32).expect("pid")).expect("actuator");
    site.fill_to(97.0);
    site.wait("an intent", Duration::from_secs(60), |site| {
        site.incidents().first().is_some_and(|i| kinds(&site.story(i["id"].as_str().expect("id"))).contains(&"intent"))
    });
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stop it");
    Site::kill(&mut site.actuator);
    site.start_actuator();
    let (id, outcome) = site.closed(0);
    let story = site.story(&id);
    let intents: Vec<&str> = story.iter().filter(|(k, _)| k == "intent").filter_map(|(_, b)| b["intent"].as_str()).collect();
    let mut unique = intents.clone();
    unique.dedup();
    assert_eq!(intents, unique, "an intent was made twice");
    assert!(["healed", "escalated"].contains(&outcome.as_str()), "{outcome}\n{}", site.logs());
}

#[test]
fn an_agent_killed_in_the_middle_takes_the_episode_up_again() {
    let Some(mut site) = sick() else { return };
    site.start_actuator();
    site.start_agent();
    site.fill_to(97.0);
    site.wait("an effect", Duration::from_secs(60), |site| {
        site.incidents().first().is_some_and(|i| kinds(&site.story(i["id"].as_str().expect("id"))).contains(&"effect"))
    });
    Site::kill(&mut site.agent);
    site.start_agent();
    let (id, outcome) = site.closed(0);
    assert_eq!(outcome, "healed", "{}", site.logs());
    let story = site.story(&id);
    let performed = story.iter().filter(|(k, _)| k == "effect").count();
    let intents = story.iter().filter(|(k, _)| k == "intent").count();
    assert_eq!(performed, intents, "each intent has its one effect: {:?}", kinds(&story));
}

#[test]
fn a_second_run_within_the_cooldown_is_refused() {
    let Some(mut site) = sick() else { return };
    site.start_actuator();
    site.start_agent();
    site.fill_to(97.0);
    let (_, outcome) = site.closed(0);
    assert_eq!(outcome, "healed", "{}", site.logs());
    site.fill_to(97.0);
    let (id, outcome) = site.closed(1);
    assert_eq!(outcome, "escalated", "{}", site.logs());
    let story = site.story(&id);
    assert!(
        story.iter().any(|(k, b)| k == "refused" && b["refusal"]["reason"] == "cooldown") || !kinds(&story).contains(&"intent"),
        "{:?}",
        kinds(&story)
    );
}

#[test]
fn a_pause_holds_the_hands() {
    let Some(mut site) = sick() else { return };
    site.start_actuator();
    site.start_agent();
    let (code, text) = site.ctl(&["pause", "--for", "1h"]);
    assert_eq!(code, 0, "{text}");
    site.fill_to(97.0);
    let (id, _) = site.closed(0);
    let story = site.story(&id);
    assert!(story.iter().any(|(k, b)| k == "refused" && b["refusal"]["reason"] == "paused"), "{:?}", kinds(&story));
    let (code, text) = site.ctl(&["resume"]);
    assert_eq!(code, 0, "{text}");
    let (_, outcome) = site.closed(1);
    assert_eq!(outcome, "healed", "{}", site.logs());
}

/// Nobody calls when the time of a pause is over.
#[test]
fn what_a_pause_held_is_done_when_it_ends_by_itself() {
    let Some(mut site) = sick() else { return };
    site.start_actuator();
    site.start_agent();
    let (code, text) = site.ctl(&["pause", "--for", "30s"]);
    assert_eq!(code, 0, "{text}");
    site.fill_to(97.0);
    let (id, _) = site.closed(0);
    let story = site.story(&id);
    assert!(story.iter().any(|(k, b)| k == "refused" && b["refusal"]["reason"] == "paused"), "{:?}", kinds(&story));
    let (_, outcome) = site.closed(1);
    assert_eq!(outcome, "healed", "{}", site.logs());
}

#[test]
fn a_record_that_cannot_be_trusted_stops_all_acting() {
    let Some(mut site) = sick() else { return };
    site.start_actuator();
    site.start_agent();
    Site::kill(&mut site.agent);
    for entry in fs::read_dir(site.path("state")).expect("state") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|e| e == "db") {
            fs::write(&path, b"this is no database, and it was once").expect("corrupt");
        }
    }
    site.start_agent();
    site.fill_to(97.0);
    let (id, outcome) = site.closed(0);
    assert_eq!(outcome, "escalated", "{}", site.logs());
    let story = site.story(&id);
    assert!(story.iter().any(|(k, b)| k == "refused" && b["refusal"]["reason"] == "ledger_untrusted"), "{:?}", kinds(&story));
    assert!(OLD.iter().all(|(name, _)| site.mount.join(name).exists()), "a file is gone");
    let kept = fs::read_dir(site.path("state"))
        .expect("state")
        .filter_map(Result::ok)
        .any(|e| e.file_name().to_string_lossy().contains("corrupt"));
    assert!(kept, "the corrupt one is kept aside");
}

/// Status line, headers and body of a plain GET.
fn get(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the agent's port");
    write!(socket, "GET {path} HTTP/1.0\r\n\r\n").expect("request");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("answer");
    text
}

#[test]
fn metrics_and_health_are_served_and_the_configuration_is_reloaded() {
    let Some(mut site) = Site::new(32, &[], &[]) else { return };
    site.start_agent();
    site.wait("readiness", Duration::from_secs(60), |site| get(site.port, "/readyz").starts_with("HTTP/1.0 200"));
    assert!(get(site.port, "/healthz").starts_with("HTTP/1.0 200"));
    let metrics = get(site.port, "/metrics");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    let mine = format!("mountpoint=\"{}\"", site.mount.display());
    assert!(metrics.lines().any(|l| l.starts_with("node_filesystem_size_bytes{") && l.contains(&mine)), "{metrics}");
    assert!(metrics.contains("byteport_refusals_total{reason=\"cooldown\"} 0"), "counters are there before they count");

    let good = fs::read_to_string(site.path("agent.toml")).expect("agent.toml");
    fs::write(site.path("agent.toml"), good.replace("mode =", "moed =")).expect("agent.toml");
    let status = |site: &Site| serde_json::from_str::<serde_json::Value>(&site.ctl(&["status", "--json"]).1).expect("status");
    site.wait("the refusal", Duration::from_secs(60), |site| status(site)["refused_config"].is_string());
    let why = status(&site)["refused_config"].as_str().expect("text").to_owned();
    assert!(why.contains("moed") && why.contains("mode"), "{why}");

    fs::write(site.path("agent.toml"), good.replace("sample_interval = \"1s\"", "sample_interval = \"2s\"")).expect("agent.toml");
    let pid = site.agent.as_ref().and_then(|c| rustix::process::Pid::from_raw(c.id() as i32)).expect("agent");
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("SIGHUP");
    site.wait("the new configuration", Duration::from_secs(60), |site| status(site)["refused_config"].is_null());
    let (_, config) = site.ctl(&["config", "--effective"]);
    assert!(config.lines().any(|l| l.contains("sample_interval") && l.contains('2')), "{config}");
}

#[test]
fn a_mount_that_never_answers_delays_no_healing() {
    let Some(mut site) = sick() else { return };
    let dead = site.path("dead");
    fs::create_dir(&dead).expect("mount point");
    let hung = HangFuse::mount(&dead);
    site.start_actuator();
    site.start_agent();
    site.fill_to(97.0);
    let of = |site: &Site, at: &std::path::Path| {
        let at = at.display().to_string();
        site.incidents().into_iter().find(|i| i["subject"]["filesystem"]["mount"] == at.as_str() && i["closed"].is_object())
    };
    site.wait("the full filesystem's incident", EPISODE, |site| of(site, &site.mount).is_some());
    assert_eq!(of(&site, &site.mount).expect("waited for it")["outcome"], "healed", "{}", site.logs());
    // The dead one is told, and nobody but a person may do anything about it.
    site.wait("the dead mount's incident", EPISODE, |site| of(site, &dead).is_some());
    assert_eq!(of(&site, &dead).expect("waited for it")["outcome"], "escalated", "{}", site.logs());
    Site::kill(&mut site.agent);
    drop(hung);
}
