//! A fleet that is kept in memory, with incidents whose entries are those that the reports are tested with.

use std::collections::BTreeMap;

use byteport::collector::view::*;
use byteport::model::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::made_up;

/// Hosts of one page.
pub const PAGE: u64 = 50;

#[derive(Debug, Clone)]
pub struct World {
    pub now: jiff::Timestamp,
    /// By id, in the order of a list.
    pub hosts: Vec<(String, Host)>,
    /// By host and id.
    pub incidents: BTreeMap<(String, String), Incident>,
    pub outbox: Vec<Delivery>,
    /// Why nothing can be read.
    pub broken: Option<String>,
}

pub fn at(text: &str) -> jiff::Timestamp {
    text.parse().expect("a time")
}

fn ago(now: jiff::Timestamp, s: i64) -> jiff::Timestamp {
    now - jiff::SignedDuration::from_secs(s)
}

pub fn agent_id(n: usize) -> String {
    format!("{:032x}", 0x5f0e_1c1e_8a3b_u64 + n as u64)
}

/// `(agent, incident)` of one of [`made_up::all`], all of which are the first host's.
pub fn key(name: &str) -> (String, String) {
    let id = made_up::all().into_iter().find(|i| i.name == name).expect("made up").summary.id.0;
    (agent_id(0), id)
}

impl World {
    /// `hosts` of them, of every standing in turn.
    pub fn of(hosts: usize) -> Self {
        let now = at("2026-11-21T22:10:00Z");
        let mut world = Self { now, hosts: Vec::new(), incidents: BTreeMap::new(), outbox: Vec::new(), broken: None };
        for incident in made_up::all() {
            world.add(incident);
        }
        let rows: Vec<IncidentRow> = world.incidents.values().map(|i| i.row.clone()).collect();
        for incident in world.incidents.values_mut() {
            incident.alike = rows.iter().filter(|r| r.summary.id != incident.row.summary.id).cloned().collect();
        }
        world.hosts = (0..hosts).map(|n| (agent_id(n), host(n, now, if n == 0 { rows.clone() } else { Vec::new() }))).collect();
        world.hosts.sort_by(|(_, a), (_, b)| (a.row.standing, &a.row.hostname).cmp(&(b.row.standing, &b.row.hostname)));
        world
    }

    fn add(&mut self, made_up: made_up::Incident) {
        let (agent, id) = (agent_id(0), made_up.summary.id.0.clone());
        let escalated = made_up.summary.outcome == Some(Outcome::Escalated);
        let (evidence, entries): (Vec<Entry>, Vec<Entry>) =
            made_up.entries.into_iter().partition(|e| matches!(e.body, Body::Evidence { .. }));
        let deliveries: Vec<Delivery> = [DeliveryState::Sent, DeliveryState::Dead, DeliveryState::Pending]
            .into_iter()
            .filter(|_| escalated)
            .zip(1..)
            .map(|(state, n)| delivery(n, state, &agent, &id, self.now))
            .collect();
        self.outbox.extend(deliveries.clone());
        let row = IncidentRow { agent_id: agent.clone(), hostname: name(0), summary: made_up.summary, escalated };
        let on_the_host = evidence.iter().map(|e| e.seq).collect();
        let incident = Incident { now: self.now, row, entries, on_the_host, deliveries, alike: Vec::new() };
        self.incidents.insert((agent, id), incident);
    }

    pub fn made_up(&mut self, name: &str) -> &mut Incident {
        self.incidents.get_mut(&key(name)).expect("made up")
    }

    /// The same world, with `text` wherever any text may stand. What it is found by stays.
    pub fn saying(&self, text: &str) -> Self {
        let mut world = self.clone();
        for (id, host) in &mut world.hosts {
            let Host { now: _, row, boot_id, enrolled_at: _, held_by, streams, incidents } = host;
            let HostRow { agent_id, hostname, version, standing: _, why, seen_at: _, mode, signals, .. } = row;
            agent_id.clone_from(id);
            for field in [hostname, version, mode, boot_id].into_iter().chain(why).chain(held_by) {
                field.replace_range(.., text);
            }
            for StreamRow { stream, .. } in streams {
                stream.replace_range(.., text);
            }
            *signals = said(signals, text);
            incidents.iter_mut().for_each(|i| row_saying(i, text));
        }
        for incident in world.incidents.values_mut() {
            let Incident { now: _, row, entries, on_the_host: _, deliveries, alike } = incident;
            *entries = entries.iter().map(|e| said(e, text)).collect();
            alike.iter_mut().chain([row]).for_each(|i| row_saying(i, text));
            deliveries.iter_mut().for_each(|d| delivery_saying(d, text));
        }
        world.outbox.iter_mut().for_each(|d| delivery_saying(d, text));
        world
    }
}

fn row_saying(row: &mut IncidentRow, text: &str) {
    let IncidentRow { agent_id: _, hostname, summary, escalated: _ } = row;
    hostname.replace_range(.., text);
    let id = summary.id.clone();
    *summary = IncidentSummary { id, ..said(summary, text) };
}

fn delivery_saying(delivery: &mut Delivery, text: &str) {
    let Delivery { destination, about, last_error, .. } = delivery;
    for field in [destination, about].into_iter().chain(last_error) {
        field.replace_range(.., text);
    }
}

/// `value` with `text` in every string that may be any text: those that a `T` is still read from.
fn said<T: Serialize + DeserializeOwned>(value: &T, text: &str) -> T {
    let mut json = serde_json::to_value(value).expect("JSON");
    let mut places = Vec::new();
    strings(&json, String::new(), &mut places);
    for place in places {
        let mut try_with = |text: &str| {
            let leaf = json.pointer_mut(&place).expect("a place");
            let before = leaf.take();
            *json.pointer_mut(&place).expect("a place") = Value::String(text.into());
            let taken = T::deserialize(&json).is_ok();
            if !taken {
                *json.pointer_mut(&place).expect("a place") = before;
            }
            taken
        };
        // A path, in which a backslash begins an escape.
        let _ = try_with(text) || try_with(&text.replace('\\', "\\x5c"));
    }
    serde_json::from_value(json).expect("it was tried")
}

fn strings(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::String(_) => out.push(at),
        Value::Array(list) => list.iter().enumerate().for_each(|(n, v)| strings(v, format!("{at}/{n}"), out)),
        Value::Object(map) => {
            map.iter().for_each(|(k, v)| strings(v, format!("{at}/{}", k.replace('~', "~0").replace('/', "~1")), out));
        }
        _ => {}
    }
}

fn name(n: usize) -> String {
    format!("{}{}.rz2.example.net", ["db", "web", "cache", "build"][n % 4], n / 4 + 1)
}

fn host(n: usize, now: jiff::Timestamp, incidents: Vec<IncidentRow>) -> Host {
    let standing = Standing::ALL[(n + 2) % Standing::ALL.len()];
    let heard = !matches!(standing, Standing::Awaited);
    let signal = |kind: &'static str, mount: &str, severity| Signal {
        kind: SignalKind::new(kind),
        subject: Subject::Filesystem { mount: mount.into(), device: 64769 },
        severity,
        since: Now { wall: ago(now, 1_200), boot: BootId("b".into()), uptime_s: 80_000.0 },
        detail: "usage 96.2 % (raised at 95 %)".into(),
    };
    let signals = match standing {
        Standing::Raised => vec![
            signal("disk_usage_high", "/srv/data", Severity::Critical),
            signal("disk_full_soon", "/var", Severity::Warning),
            signal("disk_inodes_high", "/var", Severity::Warning),
            signal("disk_usage_high", "/home", Severity::Warning),
        ],
        _ => Vec::new(),
    };
    let row = HostRow {
        agent_id: agent_id(n),
        hostname: name(n),
        version: if heard { "0.1.0".into() } else { String::new() },
        standing,
        why: (standing == Standing::Quarantined).then(|| "row 4711 came twice with different content".into()),
        seen_at: heard.then(|| ago(now, if standing == Standing::Silent { 4_000 } else { 12 })),
        mode: if heard { ["observe", "act"][n % 2].into() } else { String::new() },
        open_incidents: incidents.len() as u64 / 2,
        signals,
        waiting: if standing == Standing::Silent { 1_234 } else { 0 },
        skew_s: heard.then(|| if n % 5 == 3 { -95.0 } else { 0.4 }),
    };
    let stream = |n: u64, gap_before, signed_through| StreamRow {
        stream: format!("{n:032x}"),
        acked_through: 4_711,
        first_seen: ago(now, 864_000),
        gap_before,
        signed_through,
    };
    let held_by = if n.is_multiple_of(2) {
        vec!["mode is observe in agent.toml".into(), "paused by alice: release, 40 min more".into()]
    } else {
        Vec::new()
    };
    let streams = if heard { vec![stream(77, None, 4_711), stream(12, Some(120), 4_000)] } else { Vec::new() };
    Host { now, row, boot_id: "0c5e7f0e-7a7c-4a70-9d0f-6f3a5b1c2d3e".into(), enrolled_at: ago(now, 864_000), held_by, streams, incidents }
}

fn delivery(id: u64, state: DeliveryState, agent: &str, incident: &str, now: jiff::Timestamp) -> Delivery {
    Delivery {
        id,
        destination: ["pager", "tickets", "chat"][id as usize % 3].into(),
        about: "escalated".into(),
        agent_id: agent.into(),
        incident: incident.into(),
        state,
        attempts: [1, 1, 12, 3][id as usize % 4],
        created_at: ago(now, 890),
        sent_at: (state == DeliveryState::Sent).then(|| ago(now, 889)),
        last_error: (state != DeliveryState::Sent).then(|| "https://hooks.example.net/x: 503 Service Unavailable".into()),
        next_at: (state == DeliveryState::Pending).then(|| now + jiff::SignedDuration::from_secs(95)),
    }
}

fn part<T: Clone>(all: &[T], page: u64) -> (Vec<T>, u64, u64) {
    let skip = (page - 1).saturating_mul(PAGE) as usize;
    let found = all.len() as u64;
    (all.iter().skip(skip).take(PAGE as usize).cloned().collect(), found, found.div_ceil(PAGE))
}

impl Views for World {
    fn fleet(&self, ask: &FleetAsk) -> Result<Fleet, String> {
        self.broken.clone().map_or(Ok(()), Err)?;
        let rows = || self.hosts.iter().map(|(_, h)| h.row.clone());
        let asked =
            |r: &HostRow| ask.standing.is_none_or(|s| r.standing == s) && ask.name.as_ref().is_none_or(|n| r.hostname.contains(n.as_str()));
        let (hosts, found, pages) = part(&rows().filter(asked).collect::<Vec<_>>(), ask.page);
        let counts = Standing::ALL.map(|s| (s, rows().filter(|r| r.standing == s).count() as u64)).into();
        Ok(Fleet { now: self.now, counts, hosts, found, page: ask.page, pages })
    }

    fn host(&self, agent_id: &str) -> Result<Option<Host>, String> {
        self.broken.clone().map_or(Ok(()), Err)?;
        Ok(self.hosts.iter().find(|(id, _)| id == agent_id).map(|(_, h)| h.clone()))
    }

    fn incidents(&self, ask: &IncidentsAsk) -> Result<Incidents, String> {
        self.broken.clone().map_or(Ok(()), Err)?;
        let asked = |i: &&Incident| {
            (!ask.open || i.row.summary.outcome.is_none())
                && (!ask.escalated || i.row.escalated)
                && ask.runbook.as_ref().is_none_or(|r| *r == i.row.summary.runbook.0)
                && ask.agent_id.as_ref().is_none_or(|a| *a == i.row.agent_id)
        };
        let group = |i: &Incident| IncidentGroup {
            fingerprint: i.row.summary.id.0.clone(),
            count: 12,
            first_opened: ago(i.row.summary.opened.wall, 500_000),
            newest: i.row.clone(),
        };
        let (groups, found, pages) = part(&self.incidents.values().filter(asked).map(group).collect::<Vec<_>>(), ask.page);
        Ok(Incidents { now: self.now, groups, found, page: ask.page, pages })
    }

    fn incident(&self, agent_id: &str, incident: &str) -> Result<Option<Incident>, String> {
        self.broken.clone().map_or(Ok(()), Err)?;
        Ok(self.incidents.get(&(agent_id.to_owned(), incident.to_owned())).cloned())
    }

    fn outbox(&self) -> Result<Vec<Delivery>, String> {
        self.broken.clone().map_or_else(|| Ok(self.outbox.clone()), Err)
    }
}
