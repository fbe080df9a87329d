//! The collector's pages: over a fleet in memory whose incidents are those that the reports are tested with, asked as a browser asks.

#[path = "pages/html.rs"]
mod html;
#[path = "report/made_up.rs"]
#[allow(dead_code, reason = "the reports show more of it")]
mod made_up;
#[path = "pages/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{HeaderMap, Method, Request};
use byteport::collector::pages::router;
use byteport::collector::view::{FleetAsk, IncidentsAsk, Standing, Views};
use byteport::model::{Body, IncidentId, Now, is_unprintable};
use byteport::wire::collector::{Code, Problem};
use html::Page;
use http_body_util::{BodyExt, Empty};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use proptest::prelude::*;
use tokio::runtime::Runtime;
use world::{World, agent_id, key};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("text"))
    }

    fn page(&self) -> Page {
        assert!(!self.body.contains(|c| c != '\n' && is_unprintable(c)), "something unprintable: {:?}", self.body);
        Page::read(&self.body).unwrap_or_else(|e| panic!("{e}\n{}", self.body))
    }

    fn problem(&self) -> Problem {
        assert_eq!(self.header("content-type"), "application/problem+json");
        serde_json::from_str(&self.body).expect("a problem")
    }
}

struct Site(TowerToHyperService<Router>);

impl Site {
    fn of(world: World) -> Self {
        Self(TowerToHyperService::new(router(Arc::new(world))))
    }

    fn ask(&self, method: Method, href: &str) -> Answer {
        let request = Request::builder().method(method).uri(href).body(Empty::<bytes::Bytes>::new()).expect("a request");
        RUNTIME.block_on(async {
            let answer = self.0.call(request).await.expect("an answer");
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let body = String::from_utf8(body.to_vec()).expect("UTF-8");
            Answer { status: parts.status.as_u16(), headers: parts.headers, body }
        })
    }

    fn get(&self, href: &str) -> Answer {
        self.ask(Method::GET, href)
    }

    fn page(&self, href: &str) -> Page {
        let answer = self.get(href);
        assert_eq!(answer.status, 200, "{href}: {}", answer.body);
        answer.page()
    }
}

fn incident(name: &str) -> String {
    let (agent, id) = key(name);
    format!("/incidents/{agent}/{id}")
}

/// One of every kind that is a page.
fn pages() -> Vec<String> {
    let mut all: Vec<String> =
        ["/", "/?name=db&standing=raised", "/?name=nobody", "/?page=9", "/incidents", "/incidents?open=1", "/outbox"]
            .map(str::to_owned)
            .into();
    all.extend((0..Standing::ALL.len()).map(|n| format!("/hosts/{}", agent_id(n))));
    for made_up in made_up::all() {
        all.extend([incident(made_up.name), incident(made_up.name) + "/postmortem"]);
    }
    all
}

#[test]
fn every_page_can_be_used_without_eyes_and_without_a_mouse() {
    let site = Site::of(World::of(130));
    for href in pages() {
        assert_eq!(site.page(&href).barriers(), Vec::<String>::new(), "{href}");
    }
    for answer in
        [site.get("/nowhere"), site.get("/?standing=happy"), Site::of(World { broken: Some("x".into()), ..World::of(1) }).get("/")]
    {
        assert_eq!(answer.page().barriers(), Vec::<String>::new(), "{}", answer.status);
    }
}

#[test]
fn every_link_leads_somewhere() {
    let site = Site::of(World::of(130));
    let (mut seen, mut todo) = (BTreeSet::new(), vec!["/".to_owned()]);
    while let Some(href) = todo.pop() {
        let (path, anchor) = href.split_once('#').map_or((href.as_str(), None), |(p, a)| (p, Some(a)));
        let answer = site.get(path);
        assert_eq!(answer.status, 200, "{href}: {}", answer.body);
        if !answer.header("content-type").starts_with("text/html") {
            continue;
        }
        let page = answer.page();
        assert!(anchor.is_none_or(|a| page.0.iter().any(|t| t.get("id") == Some(a))), "{href}: there is no such place");
        for link in page.links() {
            let whole = if link.starts_with('#') { format!("{path}{link}") } else { link };
            assert!(whole.starts_with('/') && !whole.starts_with("//"), "{whole} leads away");
            if seen.insert(whole.clone()) {
                todo.push(whole);
            }
        }
    }
    for reached in pages().iter().filter(|p| !p.contains("name=") && !p.contains("page=9") && !p.contains("open=1")) {
        assert!(seen.contains(reached), "nothing leads to {reached}");
    }
    let open = format!("/incidents?open=1&host={}", agent_id(0));
    for reached in [open.as_str(), "/?page=3", "/api/v1/outbox", "/?standing=silent"] {
        assert!(seen.contains(reached), "nothing leads to {reached}");
    }
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it() {
    let site = Site::of(World::of(3));
    let broken = Site::of(World { broken: Some("the disk is gone".into()), ..World::of(1) });
    let mut answers: Vec<Answer> = pages().iter().map(|href| site.get(href)).collect();
    let one = incident("healed");
    for href in ["/nowhere", "/?page=0", "/api/v1/nowhere", "/api/v1/fleet", &format!("{one}/postmortem.md"), "/hosts/%ff"] {
        answers.push(site.get(href));
    }
    answers.extend([site.ask(Method::POST, "/"), site.ask(Method::HEAD, "/"), broken.get("/"), broken.get("/api/v1/outbox")]);
    for answer in &answers {
        let csp = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
        assert_eq!(answer.header("content-security-policy"), csp);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(answers.iter().map(|a| a.status).collect::<BTreeSet<_>>(), BTreeSet::from([200, 400, 404, 405, 503]));
    for link in site.page("/").links().iter().filter(|l| l.starts_with("/assets/")) {
        let asset = site.get(link);
        assert_eq!((asset.status, asset.header("cache-control")), (200, "public, max-age=31536000, immutable"), "{link}");
        assert!(!asset.header("content-security-policy").is_empty() && asset.header("x-content-type-options") == "nosniff");
    }
}

#[test]
fn what_is_not_there_is_not_found_and_what_cannot_be_read_is_said_so() {
    let site = Site::of(World::of(3));
    let (agent, id) = key("healed");
    for path in ["/hosts/nobody".to_owned(), "/hosts/%ff".into(), format!("/incidents/{agent}/x"), format!("/incidents/nobody/{id}")] {
        let answer = site.get(&path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.page().text().contains("What to do next"));
        let problem = site.get(&format!("/api/v1{path}")).problem();
        assert_eq!((problem.status, problem.code, problem.retryable), (404, Code::NotFound, false), "{path}");
    }
    assert_eq!(site.get("/api/v1/nowhere").problem().code, Code::NotFound);
    assert_eq!(site.get("/api/v1/fleet?standing=happy").problem().code, Code::Malformed);
    assert_eq!(site.ask(Method::POST, "/api/v1/fleet").problem().code, Code::MethodNotAllowed);
    assert_eq!(site.ask(Method::POST, "/incidents").status, 405);

    let broken = Site::of(World { broken: Some("the disk <b>is</b> gone".into()), ..World::of(1) });
    for path in pages().into_iter().chain([incident("healed") + "/postmortem.md"]) {
        let answer = broken.get(&path);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{path}");
        assert!(answer.page().text().contains("the disk <b>is</b> gone"), "{path}");
    }
    let problem = broken.get("/api/v1/incidents").problem();
    assert_eq!((problem.code, problem.retryable, problem.retry_after_s), (Code::Unavailable, true, Some(5)));
}

#[test]
fn the_json_is_the_data() {
    let world = World::of(60);
    let site = Site::of(world.clone());
    let is = |href: &str, value: serde_json::Value| {
        let answer = site.get(href);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&answer.body).expect("JSON"), value, "{href}");
    };
    let json = |value: &dyn erased::Json| value.json();
    let ask = FleetAsk { standing: Some(Standing::Raised), page: 1, ..FleetAsk::default() };
    is("/api/v1/fleet?standing=raised", json(&world.fleet(&ask)));
    is("/api/v1/fleet?page=2", json(&world.fleet(&FleetAsk { page: 2, ..FleetAsk::default() })));
    is(&format!("/api/v1/hosts/{}", agent_id(0)), json(&world.host(&agent_id(0)).map(Option::unwrap)));
    let ask = IncidentsAsk { escalated: true, page: 1, ..IncidentsAsk::default() };
    is("/api/v1/incidents?escalated=1", json(&world.incidents(&ask)));
    let (agent, id) = key("healed");
    is(&format!("/api/v1{}", incident("healed")), json(&Views::incident(&world, &agent, &id).map(Option::unwrap)));
    is("/api/v1/outbox", json(&world.outbox()));
}

mod erased {
    pub trait Json {
        fn json(&self) -> serde_json::Value;
    }

    impl<T: serde::Serialize> Json for Result<T, String> {
        fn json(&self) -> serde_json::Value {
            serde_json::to_value(self.as_ref().expect("read")).expect("JSON")
        }
    }
}

#[test]
fn a_page_of_fifty_hosts_is_small() {
    let answer = Site::of(World::of(200)).get("/");
    assert_eq!(answer.page().all("tbody").next().map(|_| answer.body.matches("scope=\"row\"").count()), Some(50));
    assert!(answer.body.len() <= 100 << 10, "{} bytes", answer.body.len());
}

#[test]
fn the_fleet_is_counted_searched_and_paged_by_its_address() {
    let site = Site::of(World::of(130));
    let page = site.page("/");
    let tiles: BTreeMap<String, String> =
        page.all("a").filter_map(|a| Some((a.get("href")?.strip_prefix("/?standing=")?.to_owned(), a.text.trim().to_owned()))).collect();
    assert_eq!(tiles["silent"], "◆ 18 silent");
    assert_eq!(tiles.len(), Standing::ALL.len());
    assert!(page.text().contains("130 hosts, worst first") && page.text().contains("Page 1 of 3"));
    let page = site.page("/?name=db&standing=raised");
    let hosts: Vec<&str> = page.all("th").filter(|t| t.get("scope") == Some("row")).map(|t| t.text.trim()).collect();
    assert!(hosts.len() == 5 && hosts.iter().all(|h| h.starts_with("db")), "{hosts:?}");
    let search = page.all("input").find(|i| i.get("id") == Some("name")).expect("a field");
    assert_eq!(search.get("value"), Some("db"));
    assert!(page.all("input").any(|i| i.get("name") == Some("standing") && i.get("value") == Some("raised")));
    assert!(site.page("/?name=nobody").text().contains("0 hosts with “nobody” in the name"));
    let text = site.page("/?standing=silent").text().to_owned();
    assert!(text.contains("66 min 40 s ago") && text.contains("1,234") && text.contains("2026-11-21 21:03:20 UTC"), "{text}");
    assert!(site.page("/").text().contains("▲ 95 s behind"));
}

#[test]
fn a_host_says_why_nothing_is_done_and_what_of_its_record_is_missing() {
    let site = Site::of(World::of(7));
    let page = site.page(&format!("/hosts/{}", agent_id(0)));
    for said in [
        "mode is observe in agent.toml",
        "the host dropped rows before row 120",
        "▲ not to its end",
        "disk_usage_high",
        "All incidents of this host",
    ] {
        assert!(page.text().contains(said), "{said}: {}", page.text());
    }
    let quarantined = (0..7).map(agent_id).find(|id| site.page(&format!("/hosts/{id}")).text().contains("■ quarantined")).expect("one");
    assert!(site.page(&format!("/hosts/{quarantined}")).text().contains("row 4711 came twice"));
}

/// Lane, seconds and title of every entry, as they are read.
fn told(page: &Page) -> Vec<String> {
    let begin = page.0.iter().position(|t| t.get("class") == Some("story")).expect("a story");
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out: Vec<String> = Vec::new();
    for tag in &page.0[begin..] {
        match (tag.name.as_str(), tag.get("class")) {
            (_, Some("plus")) => out.push(squeezed(&tag.text)),
            ("p", _) if tag.text == "time on the host" => out.push("?".into()),
            ("h3", _) => *out.last_mut().expect("a time") += &format!(" {}", squeezed(&tag.text)),
            _ => {}
        }
    }
    out
}

#[test]
fn an_incident_is_told_in_five_lanes_in_the_order_of_its_record() {
    let site = Site::of(World::of(1));
    let page = site.page(&incident("healed"));
    assert_eq!(
        told(&page),
        [
            "+0.0 s detect Opened by runbook disk for /srv/data",
            "? diagnose Looked at the host; what was seen stays there",
            "+1.1 s diagnose log_growth ● sure enough to act",
            "+1.1 s decide 3 steps planned, least harm first",
            "+1.4 s act Step 1.1, compress closed logs ○ begun",
            "+14.1 s act Step 1.1, compress closed logs ● done",
            "? verify Looked at the host; what was seen stays there",
            "+14.4 s verify After step 1.1 ▲ not enough yet",
            "+14.5 s act Step 1.2, delete rotated logs ○ begun",
            "+14.9 s act Step 1.2, delete rotated logs ● done",
            "+15.0 s verify After step 1.2 ● enough",
            "? verify Looked at the host; what was seen stays there",
            "+15.3 s detect Every signal has cleared ● cleared",
            "? verify Looked at the host; what was seen stays there",
            "+45.4 s verify Verdict ● resolved",
            "+45.5 s verify Closed ● healed",
        ]
    );
    let text = page.text();
    for said in [
        "21:55:20 UTC",
        "0.91 (the limit to act is 0.70)",
        "package caches: /var/cache/apt: Permission denied",
        "java (pid 4711, app.service), 1.20 MiB/s",
        "2.00 GiB (an estimate)",
        "2 closed logs of more than 100 MB",
        "no docker socket at /run/docker.sock",
        "1.82 GiB (-9.2 % of 2.00 GiB expected)",
        "1 in use",
        "gzip ratio 11.2",
        "2 steps done, 2.11 GiB freed",
        "4 rows of this incident",
        "not needed",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    let (_, id) = key("healed");
    let commands: Vec<&str> = page.all("pre").map(|p| p.text.as_str()).collect();
    assert!(commands.contains(&format!("byteportctl explain {id}").as_str()), "{commands:?}");
}

#[test]
fn refusals_undo_and_what_is_not_known_are_told() {
    let site = Site::of(World::of(1));
    let page = site.page(&incident("observed"));
    assert!(told(&page).contains(&"+1.2 s decide Step 1.2, delete rotated logs ■ refused".to_owned()), "{:?}", told(&page));
    for said in
        ["report_only: observe mode: this is what would be done", "set mode = \"act\" in agent.toml", "nothing was changed on this host"]
    {
        assert!(page.text().contains(said), "{said}");
    }
    let page = site.page(&incident("interrupted"));
    for entry in [
        "+61.4 s act Step 1.1, compress closed logs ▲ what it did is not known",
        "+300.0 s act Note",
        "+300.4 s act Step 1.1, compress closed logs ▲ stopped before the end",
        "+300.5 s verify Verdict ■ not resolved",
        "+300.6 s act Step 1.1, compress closed logs ○ undone",
    ] {
        assert!(told(&page).contains(&entry.to_owned()), "{entry}: {:?}", told(&page));
    }
}

#[test]
fn an_escalation_has_its_reason_its_commands_to_the_letter_and_who_was_told() {
    let page = Site::of(World::of(1)).page(&incident("escalated"));
    let commands: Vec<&str> = page.all("pre").map(|p| p.text.as_str()).collect();
    let made_up = made_up::all().into_iter().find(|i| i.name == "escalated").expect("made up");
    let asked = made_up.entries.iter().find_map(|e| match &e.body {
        Body::Escalated { escalation } => Some(&escalation.follow_ups),
        _ => None,
    });
    for follow_up in asked.expect("an escalation") {
        assert!(commands.contains(&follow_up.command.as_str()), "{} is not among {commands:?}", follow_up.command);
    }
    for said in
        ["decide where it goes, or add 40 GiB for 30 days", "● sent", "■ given up", "◇ pending", "503 Service Unavailable", "in 95 s"]
    {
        assert!(page.text().contains(said), "{said}");
    }
}

#[test]
fn a_decision_that_is_not_here_hides_nothing_of_what_was_done() {
    let mut world = World::of(1);
    world.made_up("healed").entries.retain(|e| !matches!(e.body, Body::Decision { .. } | Body::Opened { .. }));
    let site = Site::of(world);
    let page = site.page(&incident("healed"));
    for said in ["2 steps done, 2.11 GiB freed", "▲ not the whole of it", "a decision is not here", "Its beginning is not here"] {
        assert!(page.text().contains(said), "{said}: {}", page.text());
    }
    assert!(!page.text().contains("nothing was changed"));
    assert!(site.page(&(incident("healed") + "/postmortem")).text().contains("a decision is not here"));
    assert!(site.get(&(incident("healed") + "/postmortem.md")).body.contains("**not to be trusted**"));
}

#[test]
fn a_record_without_end_is_shown_from_both_ends() {
    let mut world = World::of(1);
    let entries = &mut world.made_up("healed").entries;
    let (note, last) = (Body::Note { text: "still so".into() }, entries.pop().expect("one"));
    let at = entries.last().expect("one").at.clone();
    for n in 0..5_000_u64 {
        let at = Now { uptime_s: at.uptime_s + n as f64 * 60.0, ..at.clone() };
        entries.push(byteport::model::Entry { seq: 1_000 + n, body: note.clone(), at, ..last.clone() });
    }
    entries.push(byteport::model::Entry { seq: 9_000, ..last });
    let answer = Site::of(world).get(&incident("healed"));
    let page = answer.page();
    assert_eq!(told(&page).len(), 300);
    assert!(page.text().contains("4,716 entries between these are not shown"), "{}", page.text().len());
    assert!(told(&page).last().expect("one").ends_with("Closed ● healed"));
    assert_eq!(page.barriers(), Vec::<String>::new());
}

#[test]
fn a_postmortem_is_a_page_and_a_document() {
    let site = Site::of(World::of(1));
    let markdown = site.get(&(incident("healed") + "/postmortem.md"));
    assert_eq!(markdown.header("content-type"), "text/markdown; charset=utf-8");
    let written =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/report/healed/postmortem.md")).expect("committed");
    let of = |text: &str, chapter: &str| text.split("\n## ").find(|c| c.starts_with(chapter)).map(str::to_owned).expect("a chapter");
    for chapter in ["Evidence", "Diagnosis", "Steps", "Verdict", "Root cause", "Follow-ups"] {
        assert_eq!(of(&markdown.body, chapter), of(&written, chapter), "the same words as on the host");
    }
    let page = site.page(&(incident("healed") + "/postmortem"));
    for said in ["Verdict", "Root cause", "-9.2 %", "0.1.0, as last heard", "+45.5 s", "1.2: delete 2 rotated logs below /srv/data/log"] {
        assert!(page.text().contains(said), "{said}: {}", page.text());
    }
}

#[test]
fn what_an_id_is_made_of_opens_no_other_page() {
    for id in ["", ".", "..", "a/b", "?x", "#x", "%2e%2e", "\"><b>", "ä\u{202e}", &"x".repeat(1 << 20)] {
        let mut world = World::of(2);
        world.outbox[0].incident = id.into();
        world.hosts[0].1.row.agent_id = id.into();
        for incident in world.incidents.values_mut() {
            incident.row.summary.id = IncidentId(id.into());
            incident.row.agent_id = id.into();
        }
        let site = Site::of(world);
        for href in ["/", "/incidents", "/outbox", &incident("healed"), &(incident("healed") + "/postmortem")] {
            for link in site.page(href).links() {
                assert!(link.starts_with('/') || link.starts_with('#'), "{link}");
                assert!(!link.split(['/', '?']).any(|part| part == ".." || part == "."), "{link}");
                assert!(link.len() < 2_000, "{} bytes", link.len());
            }
        }
    }
}

#[test]
fn a_megabyte_in_every_field_makes_no_page_large() {
    let small = World::of(60);
    let site = Site::of(small.saying(&"<b>\u{1b}[31m\"'& ".repeat(100_000)));
    for href in pages().iter().filter(|p| !p.contains("name=")) {
        let answer = site.get(href);
        assert_eq!(answer.status, 200, "{href}");
        assert_eq!(answer.page().barriers(), Vec::<String>::new(), "{href}");
        assert!(answer.body.len() < 700 << 10, "{href}: {} bytes", answer.body.len());
        assert!(href.contains("page=9") || href.contains("open=1") || answer.body.contains("… (cut)"), "{href}");
    }
}

/// What every page is made of when hosts say `text`.
fn shapes(text: &str) -> Vec<(String, Vec<String>)> {
    let site = Site::of(World::of(8).saying(text));
    pages().into_iter().filter(|p| !p.contains("name=")).map(|href| (href.clone(), site.page(&href).shape())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_hosts_say_pages_are_made_of_the_same(text in prop_oneof![
        any::<String>(),
        "[<>&\"'/=a-z !-]{1,40}",
        "\\PC{1,60}",
        Just("</p><script>alert(1)</script>".to_owned()),
        Just("{{ 7 * 7 }}{% raw %}\u{202e}\u{0}\u{1b}]0;x\u{7}".to_owned()),
    ].prop_filter("short enough for a command to be shown", |t| t.chars().count() < 100)) {
        static HARMLESS: LazyLock<Vec<(String, Vec<String>)>> = LazyLock::new(|| shapes("harmless"));
        for ((href, hostile), (_, harmless)) in shapes(&text).iter().zip(HARMLESS.iter()) {
            prop_assert_eq!(hostile, harmless, "{}", href);
        }
    }
}

#[test]
fn it_is_served_to_a_browser_that_asks_over_a_socket() {
    use std::io::{Read, Write};
    let listener = RUNTIME.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = RUNTIME.spawn(byteport::serve::serve(listener, router(Arc::new(World::of(3))), None));
    let mut socket = std::net::TcpStream::connect(address).expect("connected");
    socket.write_all(b"GET /incidents HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("answered");
    served.abort();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("<h1>Incidents</h1>"), "{answer}");
}

/// Under the target folder, for a browser: what a test cannot see, somebody can.
#[test]
fn pages_can_be_looked_at() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs::create_dir_all(folder.join("assets")).expect("a folder");
    let site = Site::of(World::of(130));
    let mut list =
        vec![("fleet", "/".to_owned()), ("none", "/?name=nobody".into()), ("outbox", "/outbox".into()), ("lost", "/nowhere".into())];
    list.extend([("incidents", "/incidents".to_owned()), ("host", format!("/hosts/{}", agent_id(0)))]);
    list.extend(["healed", "observed", "escalated", "interrupted"].map(|name| (name, incident(name))));
    list.push(("postmortem", incident("healed") + "/postmortem"));
    let hostile = Site::of(World::of(9).saying("</p><script>alert(1)</script>\u{202e}\u{1b}[31m wide-".repeat(60).as_str()));
    let write = |name: &str, answer: Answer| {
        assert!(answer.body.len() > 1_000, "{name}: {}", answer.body);
        for link in answer.page().links().iter().filter(|l| l.starts_with("/assets/")) {
            fs::write(folder.join(&link[1..]), site.get(link).body).expect("written");
        }
        fs::write(folder.join(format!("{name}.html")), answer.body.replace("href=\"/assets/", "href=\"assets/")).expect("written");
    };
    for (name, href) in list {
        write(name, site.get(&href));
    }
    write("hostile-fleet", hostile.get("/"));
    write("hostile-incident", hostile.get(&incident("healed")));
}
