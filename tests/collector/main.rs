//! The collector as people meet it: real programs, real sockets, a real incident on a real filesystem.

#[path = "../support/mod.rs"]
mod support;

mod office;

use std::time::Duration;

use office::Office;
use serde_json::Value;
use support::healing::{EPISODE, Site};

const OLD: &[(&str, u64)] = &[("log/app.log.2.gz", 12 << 20), ("log/other.log.3.gz", 12 << 20), ("tmp/build/a", 12 << 20)];

fn incidents(office: &Office) -> Vec<Value> {
    office.json("/api/v1/incidents?runbook=disk")["groups"].as_array().expect("groups").clone()
}

/// From the agent's own mouth: rows that the collector does not have yet.
fn all_sent(site: &Site) -> bool {
    let (_, status) = site.ctl(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    status["collector"]["waiting"].as_u64() == Some(0)
}

#[test]
fn a_healed_incident_is_on_the_page_and_its_record_is_proven() {
    let Some(mut site) = Site::new(96, &["-m", "1"], OLD) else { return };
    let office = Office::open();
    site.start_actuator();
    site.start_agent();
    office.enrol(&site, &office.token(&["--uses", "1"]));
    site.fill_to(97.0);
    let (id, outcome) = site.closed(0);
    assert_eq!(outcome, "healed", "{}", site.logs());
    site.wait("the incident at the collector", EPISODE, |_| {
        incidents(&office).iter().any(|g| g["newest"]["summary"]["id"] == id.as_str() && g["newest"]["summary"]["outcome"] == "healed")
    });

    let fleet = office.json("/api/v1/fleet");
    let host = &fleet["hosts"][0];
    let agent_id = host["agent_id"].as_str().expect("an id").to_owned();
    assert_eq!((fleet["found"].as_u64(), host["mode"].as_str()), (Some(1), Some("act")), "{fleet}");
    let page = office.page(&format!("/incidents/{agent_id}/{id}"));
    for lane in ["detect", "diagnose", "decide", "act", "verify"] {
        assert!(page.to_lowercase().contains(lane), "no lane {lane} in {page}");
    }
    assert!(page.contains("healed") && page.contains("disk_usage_high"), "{page}");
    assert!(office.page("/").contains(host["hostname"].as_str().expect("a name")));
    let markdown = office.page(&format!("/incidents/{agent_id}/{id}/postmortem.md"));
    assert!(markdown.contains(&id) && markdown.contains("healed"), "{markdown}");

    // Nothing was dropped, changed or reordered on the way; and evidence has stayed at home.
    site.wait("all rows at the collector", EPISODE, all_sent);
    let (code, text) = office.tool(&["audit", "verify"]);
    assert_eq!(code, 0, "{text}");
    let whole = office.json(&format!("/api/v1/incidents/{agent_id}/{id}"));
    assert!(whole["on_the_host"].as_array().is_some_and(|rows| !rows.is_empty()), "{whole}");
    let here: Vec<&str> = whole["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|e| e["body"].as_object()?.keys().next().map(String::as_str))
        .collect();
    let there: Vec<String> = site.story(&id).into_iter().map(|(kind, _)| kind).filter(|kind| kind != "evidence").collect();
    assert_eq!(here, there);
}

/// It is ended at any moment, again and again, while rows come in: what it has acknowledged it has, once and in order.
#[test]
fn a_collector_that_is_killed_has_what_it_has_acknowledged() {
    let Some(mut site) = Site::new(64, &["-m", "1"], &[]) else { return };
    let mut office = Office::open();
    site.configure("observe", "", "");
    site.start_agent();
    office.enrol(&site, &office.token(&[]));
    for round in 0..6_u32 {
        // Each way round is an incident: observed when it fills up, cleared or closed when it does not.
        site.fill_to(97.0);
        std::thread::sleep(Duration::from_millis(u64::from(900 + 311 * round)));
        office.kill();
        for file in std::fs::read_dir(site.mount.join("data")).expect("data") {
            std::fs::remove_file(file.expect("a file").path()).expect("removed");
        }
        office.start();
    }
    site.wait("all rows at the collector", EPISODE, all_sent);
    let (code, text) = office.tool(&["audit", "verify", "--json"]);
    assert_eq!(code, 0, "{text}");
    let ours: Vec<String> = site.incidents().iter().filter_map(|i| i["id"].as_str().map(str::to_owned)).collect();
    assert!(!ours.is_empty(), "{}", site.logs());
    for id in ours {
        let found = incidents(&office).iter().any(|g| g["newest"]["summary"]["id"] == id.as_str() || g["count"].as_u64() > Some(1));
        assert!(found, "{id} is not there");
    }
}

#[test]
fn who_is_revoked_is_refused_within_a_second_and_goes_on_by_himself() {
    let Some(mut site) = Site::new(64, &["-m", "1"], &[]) else { return };
    let office = Office::open();
    site.configure("observe", "", "");
    site.start_agent();
    office.enrol(&site, &office.token(&[]));
    let id = office.json("/api/v1/fleet")["hosts"][0]["agent_id"].as_str().expect("an id").to_owned();
    let (code, text) = office.tool(&["agent", "revoke", &id]);
    assert_eq!(code, 0, "{text}");
    std::thread::sleep(Duration::from_millis(1100));
    // Something new to tell.
    site.fill_to(97.0);
    site.wait("an incident of its own", EPISODE, |site| !site.incidents().is_empty());
    std::thread::sleep(Duration::from_secs(3));
    assert!(incidents(&office).is_empty(), "a row of a revoked host was taken");
    let fleet = office.json("/api/v1/fleet");
    assert_eq!(fleet["hosts"][0]["standing"], "revoked", "{fleet}");
    let (code, status) = site.ctl(&["status"]);
    assert!(code < 2 && status.contains("revoked"), "{status}");
}

#[test]
fn what_a_person_must_decide_goes_out_once() {
    let Some(mut site) = Site::new(64, &["-m", "1"], &[]) else { return };
    let office = Office::open();
    site.start_actuator();
    site.start_agent();
    office.enrol(&site, &office.token(&[]));
    // Application data alone: never touched, always told.
    site.fill_to(97.0);
    let (id, outcome) = site.closed(0);
    assert_eq!(outcome, "escalated", "{}", site.logs());
    let told = |office: &Office| -> Vec<Value> {
        let lines: Vec<Value> = office.told().lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        lines.into_iter().filter(|l| l["incident"] == id.as_str()).collect()
    };
    site.wait("the escalation in the sink", EPISODE, |_| told(&office).iter().any(|l| l["about"] == "closed"));
    let told = told(&office);
    let about: Vec<&str> = told.iter().filter_map(|l| l["about"].as_str()).collect();
    assert!(about.iter().filter(|a| **a == "escalated").count() >= 1 && about.last() == Some(&"closed"), "{about:?}");
    let escalated = told.iter().find(|l| l["about"] == "escalated").expect("told");
    assert!(escalated["next_steps"].as_array().is_some_and(|steps| steps.len() >= 3), "{escalated}");
    assert!(office.page("/outbox").contains(&id));
}

#[test]
fn a_name_that_leads_here_opens_no_page() {
    let office = Office::open();
    for (host, status) in [("127.0.0.1", "200"), ("localhost:1", "200"), ("evil.example", "421")] {
        let (head, body) = office.asked_as(host, "/api/v1/fleet");
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{host}: {head}");
        assert_eq!(String::from_utf8_lossy(&body).contains("\"hosts\""), status == "200", "{host}");
    }
    let metrics = office.metrics();
    assert!(metrics.contains("byteport_collector_takes_rows 1\n") && metrics.contains("byteport_collector_agents 0\n"), "{metrics}");
}

#[test]
fn tokens_let_in_whom_they_were_made_for() {
    let Some(mut site) = Site::new(64, &["-m", "1"], &[]) else { return };
    let office = Office::open();
    site.configure("observe", "", "");
    site.start_agent();
    let token = office.token(&["--uses", "1"]);
    let forged = format!("{}x", &token[..token.len() - 1]);
    for wrong in ["", "bpj_nobody_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &forged] {
        let (code, text) = office.try_enrol(&site, wrong);
        assert!(code != 0 && !text.contains(&token), "{wrong:?}: {text}");
    }
    let revoked = office.token(&[]);
    let (code, list) = office.tool(&["token", "list", "--json"]);
    assert!(code == 0 && !list.contains(&revoked) && !list.contains(&token), "{list}");
    let id = revoked.split('_').nth(1).expect("an id");
    assert_eq!(office.tool(&["token", "revoke", id]).0, 0);
    assert_ne!(office.try_enrol(&site, &revoked).0, 0);
    office.enrol(&site, &token);
    // Used up: another host is not let in by it.
    let Some(mut other) = Site::new(64, &["-m", "1"], &[]) else { return };
    other.configure("observe", "", "");
    other.start_agent();
    assert_ne!(office.try_enrol(&other, &token).0, 0);
}
