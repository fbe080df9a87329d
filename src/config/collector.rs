//! What the collector's configuration means.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::effective::{Applied, Built, Loaded, Meaning, text};
use super::layers::{self, Owner};
use super::problem::Problem;
use super::raw::{LogLevel, RawCollector};
use super::sections::Merged;
use super::web::Web;
use crate::model::Seconds;

#[derive(Debug, Clone, PartialEq)]
pub struct Collector {
    pub state_dir: PathBuf,
    /// Where agents report.
    pub agents_listen: SocketAddr,
    /// TLS and headers of that listener, in node_exporter's `web.config.file` format; none: plain HTTP.
    pub agents_web_config_file: Option<PathBuf>,
    /// Agents' credentials may be sent in plain text over a network.
    pub plain_http: bool,
    /// Where people look.
    pub people_listen: SocketAddr,
    /// TLS, users and headers of that listener; none: plain HTTP for everybody on this host.
    pub people_web_config_file: Option<PathBuf>,
    /// What agents are told.
    pub heartbeat_interval: Seconds,
    pub log_level: &'static str,
    /// Where escalations and what became of them are told; by name, each once.
    pub sinks: Vec<Sink>,
}

/// Where messages go, one JSON line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    pub name: String,
    /// `None`: stdout.
    pub file: Option<PathBuf>,
}

/// Reads `collector.toml`, its drop-ins and the web configuration files that they name.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load_collector(path: &Path) -> Result<Loaded<Collector>, Vec<Problem>> {
    let sources = layers::read(path, Owner::Anybody)?;
    let built = build(&sources, &|file| Some(Web::read(file)))?;
    Ok(Loaded::new(path, built, sources))
}

/// A web configuration as it is; `None` where it is not looked at, and nothing that depends on it can be judged.
pub(super) type ReadWeb<'a> = &'a dyn Fn(&Path) -> Option<Result<Web, String>>;

pub(super) fn build(sources: &[layers::Source], web: ReadWeb<'_>) -> Result<Built<Collector>, Vec<Problem>> {
    let merged = Merged::new::<RawCollector>(sources, &[], |_, _| Ok(()))?;
    let raw: RawCollector = merged.root().map_err(|p| vec![p])?;
    let listen = |asked: Option<super::raw::Listen>, port| asked.map_or(SocketAddr::from(([127, 0, 0, 1], port)), |l| l.0);
    let sinks = match raw.sinks {
        Some(sinks) => sinks.into_iter().map(|sink| Sink { name: sink.name.0, file: sink.file.0 }).collect(),
        None => vec![Sink { name: "journal".into(), file: None }],
    };
    let config = Collector {
        state_dir: raw.state_dir.map_or_else(|| "/var/lib/byteport-collector".into(), |p| p.0),
        agents_listen: listen(raw.agents_listen, 9635),
        agents_web_config_file: raw.agents_web_config_file.map(|p| p.0),
        plain_http: raw.plain_http.unwrap_or(false),
        people_listen: listen(raw.people_listen, 9636),
        people_web_config_file: raw.people_web_config_file.map(|p| p.0),
        heartbeat_interval: raw.heartbeat_interval.map_or(Seconds(30.0), |i| i.0),
        log_level: raw.log_level.unwrap_or(LogLevel::Info).as_str(),
        sinks,
    };
    let (mut problems, notes) = config.judge(&merged, web);
    problems.extend(config.twice_named().map(|name| merged.problem("sinks", &format!("there are two sinks of the name {name:?}"))));
    if problems.is_empty() { Ok(Built { config, asked: merged.asked, notes }) } else { Err(problems) }
}

/// Nobody but this host can come in.
fn is_local(at: SocketAddr) -> bool {
    at.ip().to_canonical().is_loopback()
}

impl Collector {
    fn twice_named(&self) -> impl Iterator<Item = &str> {
        let mut seen = BTreeSet::new();
        self.sinks.iter().map(|sink| sink.name.as_str()).filter(move |name| !seen.insert(*name))
    }

    /// What the listeners must not be, and what is odd about them.
    fn judge(&self, merged: &Merged<'_>, web: ReadWeb<'_>) -> (Vec<Problem>, Vec<String>) {
        let (mut problems, mut notes) = (Vec::new(), Vec::new());
        let mut read = |file: &Option<PathBuf>| match file {
            None => Some(Web::default()),
            Some(file) => match web(file)? {
                Ok(web) => Some(web),
                Err(why) => {
                    problems.push(Problem::of_file(file, why, None));
                    None
                }
            },
        };
        let (agents, people) = (read(&self.agents_web_config_file), read(&self.people_web_config_file));
        let (to_agents, to_people) = (self.agents_listen, self.people_listen);
        if to_agents == to_people && to_agents.port() != 0 {
            problems.push(merged.problem("people_listen", &format!("agents and people cannot both come in at {to_people}")));
        }
        if let Some(agents) = agents {
            if agents.tls.is_none() && !is_local(to_agents) && !self.plain_http {
                let why = format!(
                    "agents would send their credentials in plain text to {to_agents}: name an agents_web_config_file with \
                     tls_server_config, or write plain_http = true"
                );
                problems.push(merged.problem("agents_listen", &why));
            }
            if !agents.users.is_empty() {
                let why = "its basic_auth_users would keep all agents out, which prove themselves by their credentials: leave them out";
                problems.push(merged.problem("agents_web_config_file", why));
            }
        }
        if let Some(people) = people.filter(|_| !is_local(to_people)) {
            if people.users.is_empty() {
                let why = format!(
                    "whoever reaches {to_people} could read everything: name a people_web_config_file with basic_auth_users, or stay on \
                     127.0.0.1"
                );
                problems.push(merged.problem("people_listen", &why));
            } else if people.tls.is_none() {
                notes.push(format!(
                    "people's passwords are sent in plain text to {to_people}: people_web_config_file has no tls_server_config"
                ));
            }
        }
        if self.sinks.is_empty() {
            notes.push("sinks is empty: nobody is told when a host needs a person".into());
        }
        (problems, notes)
    }
}

impl Meaning for Collector {
    fn applied(&self, _asked: &dyn Fn(&str) -> Option<String>) -> Vec<Applied> {
        let file = |path: &Option<PathBuf>| path.as_ref().map_or_else(|| "none".into(), text);
        let sink = |sink: &Sink| format!("{} = {}", sink.name, sink.file.as_ref().map_or("-".into(), |f| f.display().to_string()));
        vec![
            Applied::new("state_dir", text(&self.state_dir)),
            Applied::new("agents_listen", text(&self.agents_listen)),
            Applied::new("agents_web_config_file", file(&self.agents_web_config_file)),
            Applied::new("plain_http", text(&self.plain_http)),
            Applied::new("people_listen", text(&self.people_listen)),
            Applied::new("people_web_config_file", file(&self.people_web_config_file)),
            Applied::new("heartbeat_interval", text(&self.heartbeat_interval)),
            Applied::new("log_level", text(&self.log_level)),
            Applied::new("sinks", text(&self.sinks.iter().map(sink).collect::<Vec<_>>())),
        ]
    }

    /// What a running collector holds open.
    fn keep_until_restart(&mut self, old: &Self) -> Vec<&'static str> {
        let mut kept = Vec::new();
        let mut keep = |key, differs: bool| {
            if differs {
                kept.push(key);
            }
        };
        keep("state_dir", self.state_dir != old.state_dir);
        keep("agents_listen", self.agents_listen != old.agents_listen);
        keep("agents_web_config_file", self.agents_web_config_file != old.agents_web_config_file);
        keep("plain_http", self.plain_http != old.plain_http);
        keep("people_listen", self.people_listen != old.people_listen);
        keep("people_web_config_file", self.people_web_config_file != old.people_web_config_file);
        keep("sinks", self.sinks != old.sinks);
        *self = Self { heartbeat_interval: self.heartbeat_interval, log_level: self.log_level, ..old.clone() };
        kept
    }

    fn load(path: &Path, _env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded<Self>, Vec<Problem>> {
        load_collector(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Etc(tempfile::TempDir);

    impl Etc {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn put(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        fn load(&self, text: &str) -> Result<Loaded<Collector>, String> {
            load_collector(&self.put("collector.toml", text)).map_err(|problems| self.shown(&problems))
        }

        fn shown(&self, problems: &[Problem]) -> String {
            let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
            text.join("\n").replace(self.0.path().to_str().unwrap(), "/etc/byteport")
        }
    }

    #[test]
    fn what_is_not_written_stays_on_this_host() {
        let config = Etc::new().load("").unwrap().config;
        assert_eq!(
            (config.agents_listen.to_string(), config.people_listen.to_string()),
            ("127.0.0.1:9635".into(), "127.0.0.1:9636".into())
        );
        assert_eq!(config.sinks, [Sink { name: "journal".into(), file: None }]);
        assert_eq!((config.heartbeat_interval, config.log_level, config.plain_http), (Seconds(30.0), "info", false));
    }

    #[test]
    fn every_key_has_its_meaning_and_drop_ins_are_laid_over_it() {
        let etc = Etc::new();
        etc.put("collector.toml.d/50.toml", "heartbeat_interval = 60\n[[sinks]]\nname = \"b-2\"\nfile = \"/srv/told\"\n");
        let loaded = etc.load("heartbeat_interval = \"20s\"\nstate_dir = \"/srv/c\"\n[[sinks]]\nname = \"a\"\nfile = \"-\"\n").unwrap();
        assert_eq!((loaded.config.heartbeat_interval, loaded.config.state_dir.to_str()), (Seconds(60.0), Some("/srv/c")));
        assert_eq!(loaded.config.sinks, [Sink { name: "b-2".into(), file: Some("/srv/told".into()) }]);
        assert!(loaded.notes.is_empty());
        let shown = loaded.effective();
        let sinks = shown.settings.iter().find(|s| s.key == "sinks").unwrap();
        assert_eq!(sinks.applied, "[\"b-2 = /srv/told\"]");
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_a_runbook_is_no_key() {
        let etc = Etc::new();
        let shown = etc
            .load("state_dir = \"x\"\nheartbeat_interval = \"5s\"\nsnks = 1\nmode = \"act\"\n[disk]\nx = 1\n[[sinks]]\nname = \"A b\"\nfile = \"told\"\n")
            .unwrap_err();
        for says in [
            "collector.toml:1:13: \"x\" is no absolute path",
            "collector.toml:2:22: 5.0 s is not between 10 s and 300 s",
            "collector.toml:3:1: unknown key `snks`",
            "did you mean `sinks`?",
            "collector.toml:4:1: unknown key `mode`",
            "collector.toml:5:2: unknown key `disk`",
            "collector.toml:9:8: \"told\" is no absolute path",
        ] {
            assert!(shown.contains(says), "{says} is not in\n{shown}");
        }
        assert!(etc.load("[[sinks]]\nname = \"A b\"\nfile = \"-\"\n").unwrap_err().contains(":2:8: \"A b\" is no name of a sink"));
        assert!(etc.load("[[sinks]]\nname = \"a\"\n").unwrap_err().contains("missing field `file`"));
        let twice = etc.load("[[sinks]]\nname = \"a\"\nfile = \"-\"\n[[sinks]]\nname = \"a\"\nfile = \"/b\"\n").unwrap_err();
        assert!(twice.contains("two sinks of the name \"a\""), "{twice}");
        assert!(etc.load("sinks = []").unwrap().notes[0].contains("nobody is told"));
    }

    #[test]
    fn nobody_elses_host_is_let_in_without_what_it_takes() {
        let etc = Etc::new();
        let users = format!("basic_auth_users:\n  ann: {}\n", bcrypt::hash("x", 4).unwrap());
        let tls = "tls_server_config:\n  cert_file: c\n  key_file: k\n";
        let web = |name: &str, text: &str| format!("{:?}", etc.put(name, text));
        let (users, both, tls) = (web("users.yml", &users), web("both.yml", &format!("{users}{tls}")), web("tls.yml", tls));
        let to_agents = |rest: &str| etc.load(&format!("agents_listen = \"0.0.0.0:9635\"\n{rest}\n"));
        assert!(
            to_agents("").unwrap_err().contains("collector.toml:1:1: agents would send their credentials in plain text to 0.0.0.0:9635")
        );
        assert!(to_agents("plain_http = true").is_ok() && to_agents(&format!("agents_web_config_file = {tls}")).is_ok());
        let shown = to_agents(&format!("agents_web_config_file = {both}")).unwrap_err();
        assert!(shown.contains("collector.toml:2:1: its basic_auth_users would keep all agents out"), "{shown}");

        let to_people = |rest: &str| etc.load(&format!("people_listen = \"[::]:9636\"\n{rest}\n"));
        assert!(to_people("").unwrap_err().contains("whoever reaches [::]:9636 could read everything"));
        assert!(to_people(&format!("people_web_config_file = {tls}")).unwrap_err().contains("basic_auth_users"));
        assert!(to_people(&format!("people_web_config_file = {both}")).unwrap().notes.is_empty());
        assert!(to_people(&format!("people_web_config_file = {users}")).unwrap().notes[0].contains("in plain text"));

        for local in ["127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(etc.load(&format!("agents_listen = {local:?}\npeople_listen = \"127.0.0.1:2\"")).is_ok(), "{local}");
        }
        assert!(etc.load("people_listen = \"127.0.0.1:9635\"").unwrap_err().contains("cannot both come in"));
    }

    #[test]
    fn a_web_file_that_is_wrong_is_told_and_one_that_is_elsewhere_is_not_judged_by_a_check() {
        let etc = Etc::new();
        let wrong = etc.put("web.yml", "basic_auth_users:\n  ann: hunter2\n");
        let path = etc.put("collector.toml", &format!("agents_listen = \"0.0.0.0:1\"\nagents_web_config_file = {wrong:?}\n"));
        for problems in [load_collector(&path).unwrap_err(), super::super::check(&path)] {
            let shown = etc.shown(&problems);
            assert!(shown.starts_with("/etc/byteport/web.yml: ") && problems.len() == 1 && !shown.contains("hunter2"), "{shown}");
        }
        fs::remove_file(&wrong).unwrap();
        assert_eq!(super::super::check(&path), []);
        assert!(etc.shown(&load_collector(&path).unwrap_err()).contains("web.yml: cannot be read"));
    }

    #[test]
    fn what_is_held_open_waits_for_a_restart() {
        let etc = Etc::new();
        let mut loaded = etc.load("").unwrap();
        etc.put("collector.toml", "people_listen = \"127.0.0.1:7\"\nheartbeat_interval = 10\nsinks = []\n");
        loaded.reload(&|_| None).unwrap();
        assert_eq!(
            (loaded.config.people_listen.port(), loaded.config.sinks.len(), loaded.config.heartbeat_interval),
            (9636, 1, Seconds(10.0))
        );
        let shown = loaded.effective();
        let waits = |key: &str| shown.settings.iter().find(|s| s.key == key).unwrap().because.is_some();
        assert!(waits("people_listen") && waits("sinks") && !waits("heartbeat_interval"));
    }
}
