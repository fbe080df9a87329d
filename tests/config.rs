//! What a person gets to see of a wrong configuration, and what a right one means.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use byteport::config::{self, Problem};
use byteport::guard::Mode;
use byteport::model::RunbookId;

struct Etc {
    dir: tempfile::TempDir,
}

impl Etc {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// As a person sees it, without where the test keeps its files.
    fn shown(&self, problems: &[Problem]) -> String {
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        text.join("\n").replace(self.dir.path().to_str().unwrap(), "/etc/byteport")
    }
}

fn unset(_: &str) -> Option<String> {
    None
}

fn env(value: &'static str) -> impl Fn(&str) -> Option<String> {
    move |name| (name == "BYTEPORT_DRY_RUN").then(|| value.to_owned())
}

fn setting(view: &byteport::wire::local::ConfigView, key: &str) -> byteport::wire::local::Setting {
    view.settings.iter().find(|s| s.key == key).unwrap_or_else(|| panic!("{key} is not shown")).clone()
}

#[test]
fn an_unknown_key_is_shown_where_it_is_with_what_was_meant() {
    let etc = Etc::new();
    let path = etc.put("agent.toml", "# the agent\nmode = \"act\"\n  actuator_sock = \"/run/a.sock\" # here\n");
    let problems = config::load_agent(&path, &unset).unwrap_err();
    let expected = "\
/etc/byteport/agent.toml:3:3: unknown key `actuator_sock`
   |
 3 |   actuator_sock = \"/run/a.sock\" # here
   |   ^^^^^^^^^^^^^
 = did you mean `actuator_socket`?";
    assert_eq!(etc.shown(&problems), expected);
}

#[test]
fn five_mistakes_in_two_files_are_five_problems() {
    let etc = Etc::new();
    let path = etc.put("agent.toml", "mode = \"akt\"\nlisten = \"localhost\"\nzebra = 1\n");
    etc.put("agent.toml.d/50-site.toml", "socket = \"agent.sock\"\n[[maintenance]]\nfrom = \"25:00\"\nto = \"02:00\"\n");
    etc.put("agent.toml.d/README", "not = read");
    etc.put("agent.toml.d/.swap.toml", "not = read");
    let problems = config::load_agent(&path, &unset).unwrap_err();
    let expected = "\
/etc/byteport/agent.toml:1:8: unknown value `akt`
   |
 1 | mode = \"akt\"
   |        ^^^^^
 = did you mean `act`?
/etc/byteport/agent.toml:2:10: \"localhost\" is no address with a port, such as 127.0.0.1:9634 or [::1]:9634
   |
 2 | listen = \"localhost\"
   |          ^^^^^^^^^^^
/etc/byteport/agent.toml:3:1: unknown key `zebra`
   |
 3 | zebra = 1
   | ^^^^^
 = known are: mode, allow, state_dir, socket, actuator_socket, listen, web_config_file, node_metrics, sample_interval, cpu_budget_percent, node_url, request_metrics, log_level, maintenance, journal_units, journal_markers
/etc/byteport/agent.toml.d/50-site.toml:1:10: \"agent.sock\" is no absolute path of a file or folder: begin with / and end with its name
   |
 1 | socket = \"agent.sock\"
   |          ^^^^^^^^^^^^
/etc/byteport/agent.toml.d/50-site.toml:3:8: \"25:00\" is neither HH:MM (UTC) nor a time like 2026-12-24T18:00:00Z
   |
 3 | from = \"25:00\"
   |        ^^^^^^^";
    assert_eq!(etc.shown(&problems), expected.replace(", journal_markers", &format!(", journal_markers{}", runbook_names())));
}

fn runbook_names() -> String {
    byteport::runbooks::ALL.iter().map(|e| format!(", {}", e.id)).collect()
}

#[test]
fn broken_syntax_and_strange_bytes_are_told_and_nothing_else_of_the_file() {
    let etc = Etc::new();
    let path = etc.put("agent.toml", "mode = observe\nsecret = \"hunter2\"\n[x\n\u{1b}[31m = 1\n");
    let shown = etc.shown(&config::load_agent(&path, &unset).unwrap_err());
    assert!(shown.contains("agent.toml:1:8:") && shown.contains("agent.toml:3:"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains('\u{1b}'), "{shown}");
    fs::write(&path, b"mode = \"observe\"\n# \xff\n").unwrap();
    assert_eq!(etc.shown(&config::load_agent(&path, &unset).unwrap_err()), "/etc/byteport/agent.toml: line 2 is not UTF-8 text");
    let missing = etc.dir.path().join("agnet.toml");
    assert!(etc.shown(&config::load_agent(&missing, &unset).unwrap_err()).contains("agnet.toml: cannot be read: No such file"));
    assert!(etc.shown(&config::load_agent(etc.dir.path(), &unset).unwrap_err()).contains("is not a file"));
}

#[test]
fn later_files_win_key_by_key_and_lists_are_replaced() {
    let etc = Etc::new();
    let path = etc.put("agent.toml", "mode = \"act\"\nlog_level = \"debug\"\n[[maintenance]]\nfrom = \"01:00\"\nto = \"02:00\"\n");
    etc.put("agent.toml.d/10-a.toml", "log_level = \"warn\"\n[[maintenance]]\nfrom = \"03:00\"\nto = \"04:00\"\n");
    etc.put("agent.toml.d/20-b.toml", "log_level = \"error\"\n");
    let loaded = config::load_agent(&path, &unset).unwrap();
    assert_eq!((loaded.config.mode, loaded.config.log_level), (Mode::Act, "error"));
    assert_eq!(loaded.config.maintenance, [config::Window::Weekly { days: vec![], from: 180, to: 240 }]);
    assert_eq!(loaded.files().len(), 3);
    etc.put("agent.toml.d/30-c.toml", "[disk.limits]\nmounts = [\"/a\", \"/b\"]\nmax_files = 7\n");
    etc.put("agent.toml.d/40-d.toml", "disk.limits.mounts = [\"/c\"]\n");
    let limits = config::load_agent(&path, &unset).unwrap().config.policies[&RunbookId::new("disk")].limits.clone();
    assert_eq!((limits.mounts, limits.max_files), (vec!["/c".into()], 7));
    let level = setting(&loaded.effective(), "log_level");
    let place = format!("{}/agent.toml.d/20-b.toml:1", etc.dir.path().display());
    assert_eq!((level.asked, level.applied.as_str(), level.because), (Some(("\"error\"".into(), place)), "\"error\"", None));
    assert_eq!(setting(&loaded.effective(), "listen").asked, None);
    assert_eq!(setting(&loaded.effective(), "listen").applied, "\"127.0.0.1:9634\"");
}

#[test]
fn a_limit_that_means_nothing_to_its_runbook_is_refused_where_it_is_written_and_not_shown() {
    let etc = Etc::new();
    let path = etc.put(
        "agent.toml",
        "[memory.limits]\nlog_roots = [\"/var/log\"]\nprocesses = [\"worker\"]\n[disk.limits]\nsteps = [\"tmp\", \"kill_process\"]\n",
    );
    let problems = etc.shown(&config::load_agent(&path, &unset).unwrap_err());
    assert!(problems.contains("agent.toml:2:1: no step of runbook memory goes by this limit"), "{problems}");
    assert!(problems.contains("agent.toml:5:1: kill_process is no step of runbook disk"), "{problems}");
    let path = etc.put("agent.toml", "[memory.limits]\nprocesses = [\"worker\"]\n");
    let loaded = config::load_agent(&path, &unset).unwrap();
    assert_eq!(setting(&loaded.effective(), "memory.limits.processes").applied, "[\"worker\"]");
    assert_eq!(setting(&loaded.effective(), "memory.limits.steps").applied, "[\"oom_preference\",\"memory_high\"]");
    assert_eq!(
        setting(&loaded.effective(), "disk.limits.steps").applied,
        "[\"compress_logs\",\"rotated_logs\",\"vacuum_journal\",\"tmp\"]"
    );
    assert!(loaded.effective().settings.iter().all(|s| s.key != "memory.limits.log_roots" && s.key != "disk.limits.processes"));
}

#[test]
fn a_dry_run_wins_over_everything_and_says_so() {
    let etc = Etc::new();
    let path = etc.put("agent.toml", "mode = \"act\"\n");
    for value in ["true", "1", "YES", " on ", "treu", "2"] {
        let loaded = config::load_agent(&path, &env(value)).unwrap();
        assert_eq!((loaded.config.mode, loaded.config.dry_run), (Mode::Observe, true), "{value}");
        assert_eq!(loaded.notes.is_empty(), !["treu", "2"].contains(&value), "{value}: {:?}", loaded.notes);
        let mode = setting(&loaded.effective(), "mode");
        assert_eq!((mode.asked.unwrap().0.as_str(), mode.applied.as_str()), ("\"act\"", "\"observe\""));
        assert!(mode.because.unwrap().contains("BYTEPORT_DRY_RUN"));
    }
    for value in ["", "false", "0", "no"] {
        assert_eq!(config::load_agent(&path, &env(value)).unwrap().config.mode, Mode::Act, "{value}");
    }
    let actuator = etc.put("actuator.toml", "");
    fs::set_permissions(etc.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if support::is_root() {
        let policies = config::load_actuator(&actuator, &env("true")).unwrap().config.policies;
        assert!(policies.values().all(|p| p.mode == Mode::Observe));
        let policies = config::load_actuator(&actuator, &unset).unwrap().config.policies;
        assert!(policies.values().all(|p| p.mode == Mode::Act && !p.runbook_allowed && p.limits.mounts.is_empty()));
    }
}

#[test]
fn a_refused_reload_changes_nothing_and_a_good_one_waits_where_it_must() {
    let etc = Etc::new();
    let path = etc.put("agent.toml", "log_level = \"warn\"\n");
    let mut loaded = config::load_agent(&path, &unset).unwrap();
    etc.put("agent.toml", "log_level = \"debug\"\nlisten = 3\n");
    let before = loaded.effective();
    assert_eq!(loaded.reload(&unset).unwrap_err().len(), 1);
    assert_eq!((loaded.config.log_level, loaded.effective()), ("warn", before));
    etc.put("agent.toml", "log_level = \"debug\"\nlisten = \"[::1]:9000\"\n");
    loaded.reload(&unset).unwrap();
    assert_eq!((loaded.config.log_level, loaded.config.listen.port()), ("debug", 9634));
    let listen = setting(&loaded.effective(), "listen");
    assert_eq!((listen.asked.unwrap().0.as_str(), listen.because.as_deref()), ("\"[::1]:9000\"", Some("needs a restart")));
}

#[test]
fn the_actuator_believes_only_roots_own_files() {
    if !support::is_root() {
        return support::missing("only root can own files");
    }
    let etc = Etc::new();
    let path = etc.put("actuator.toml", "agent_user = \"byteport\"\n");
    let drop_in = etc.put("actuator.toml.d/50.toml", "docker_socket = \"/run/d.sock\"\n");
    let mode = |path: &Path, bits| fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
    let refused = || etc.shown(&config::load_actuator(&path, &unset).unwrap_err());
    assert_eq!(config::load_actuator(&path, &unset).unwrap().config.docker_socket, Path::new("/run/d.sock"));
    mode(&drop_in, 0o664);
    assert!(refused().contains("50.toml: can be written by others (mode 0664)"), "{}", refused());
    mode(&drop_in, 0o644);
    mode(drop_in.parent().unwrap(), 0o777);
    assert!(refused().contains("actuator.toml.d: can be written by others"), "{}", refused());
    mode(drop_in.parent().unwrap(), 0o755);
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    assert!(refused().contains("actuator.toml: belongs to user 65534"), "{}", refused());
    assert!(config::check(&path).is_empty(), "a look at a copy needs no owner");
}

#[test]
fn check_knows_which_file_it_is_by_name_or_by_content() {
    let etc = Etc::new();
    assert_eq!(config::check(&etc.put("agent.toml", "agent_user = \"x\"\n")).len(), 1);
    assert_eq!(config::check(&etc.put("actuator.toml.d/1.toml", "mode = \"act\"\n")).len(), 1);
    assert!(config::check(&etc.put("one.toml", "agent_user = \"x\"\n")).is_empty());
    assert!(config::check(&etc.put("other.toml", "mode = \"act\"\n")).is_empty());
    assert_eq!(config::check(&etc.put("collector.toml", "mode = \"act\"\n")).len(), 1);
    assert!(config::check(&etc.put("third.toml", "plain_http = true\n")).is_empty());
    let web = etc.put("web.yml", "basic_auth_users:\n  ann: hunter2\n");
    let agent = etc.put("agent.toml", &format!("web_config_file = {web:?}\n"));
    let shown = etc.shown(&config::check(&agent));
    assert!(shown.starts_with("/etc/byteport/web.yml: ") && shown.contains("no bcrypt hash") && !shown.contains("hunter2"), "{shown}");
    fs::remove_file(web).unwrap();
    assert_eq!(config::check(&agent), [], "a copy is checked without the file that it names");
}

#[test]
fn a_change_on_disk_is_told_and_a_mere_look_is_not() {
    let etc = Etc::new();
    let path = etc.put("agent.toml", "mode = \"observe\"\n");
    let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    rt.block_on(async {
        let mut watch = config::Watch::new(&path).unwrap();
        assert_eq!(watch.polling, None, "this kernel has file events");
        // The time limits only end a test that would hang.
        let soon = std::time::Duration::from_secs(30);
        fs::read(&path).unwrap();
        etc.put("unrelated.txt", "x");
        assert!(tokio::time::timeout(std::time::Duration::from_secs(1), watch.changes.recv()).await.is_err(), "nothing has changed yet");
        etc.put("agent.toml", "mode = \"act\"\n");
        tokio::time::timeout(soon, watch.changes.recv()).await.expect("a rewritten file").unwrap();
        etc.put("agent.toml.d/50.toml", "mode = \"observe\"\n");
        tokio::time::timeout(soon, watch.changes.recv()).await.expect("a new drop-in").unwrap();
        let swapped = etc.put("agent.toml.new", "mode = \"act\"\n");
        fs::rename(swapped, &path).unwrap();
        tokio::time::timeout(soon, watch.changes.recv()).await.expect("a file renamed over it").unwrap();
    });
}

/// A shipped example with every setting switched on. Lines that begin with `#:` have no default.
fn uncommented(name: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)).unwrap();
    let setting = |line: &str| {
        let line = line.strip_prefix("# ")?;
        let key = line.split(" = ").next().unwrap_or_default();
        let is_key = line.contains(" = ") && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        (is_key || (line.starts_with('[') && line.ends_with(']'))).then(|| line.to_owned())
    };
    text.lines().map(|line| setting(line).unwrap_or_default() + "\n").collect()
}

#[test]
fn an_address_holds_no_password_and_a_counter_has_a_name() {
    let etc = Etc::new();
    let taken = |line: &str| config::load_agent(&etc.put("agent.toml", line), &unset).is_ok();
    assert!(taken("node_url = \"http://127.0.0.1:8001/api?x=a@b\""));
    assert!(!taken("node_url = \"http://me:secret@127.0.0.1:8001/api\""));
    let counter = |at: &str| taken(&format!("request_metrics = {{ \"shop.service\" = \"{at}\" }}"));
    assert!(counter("http://127.0.0.1:8080/metrics#http_requests_total"));
    for not in
        ["http://127.0.0.1:8080/metrics", "http://127.0.0.1:8080/metrics#", "http://h/metrics#a b", "http://u@h/metrics#a", "ftp://h/m#a"]
    {
        assert!(!counter(not), "{not}");
    }
}

#[test]
fn the_shipped_examples_hold_every_key_at_its_default() {
    let etc = Etc::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    for name in ["agent.toml", "actuator.toml", "collector.toml"] {
        assert_eq!(config::check(&shipped.join(name)), [], "{name} as shipped");
        let text = fs::read_to_string(shipped.join(name)).unwrap();
        assert!(text.lines().all(|l| l.is_empty() || l.starts_with('#')), "{name} changes nothing");
    }
    let (empty, full) = (etc.put("empty/agent.toml", ""), etc.put("full/agent.toml", &uncommented("agent.toml")));
    let (empty, full) = (config::load_agent(&empty, &unset).unwrap(), config::load_agent(&full, &unset).unwrap());
    assert_eq!(empty.config, full.config);
    every_key_is_written(&full.effective(), &["web_config_file", "node_url", "maintenance"]);
    let defaultless = fs::read_to_string(shipped.join("agent.toml")).unwrap();
    let examples: String = defaultless.lines().filter_map(|l| l.strip_prefix("#: ")).map(|l| format!("{l}\n")).collect();
    let examples = config::load_agent(&etc.put("examples/agent.toml", &examples), &unset).unwrap().config;
    assert!(examples.node_url.is_some() && examples.web_config_file.is_some() && examples.maintenance.len() == 2);
    assert_eq!(examples.request_metrics.len(), 1);

    let (empty, full) = (etc.put("empty/collector.toml", ""), etc.put("full/collector.toml", &uncommented("collector.toml")));
    let (empty, full) = (config::load_collector(&empty).unwrap(), config::load_collector(&full).unwrap());
    assert_eq!(empty.config, full.config);
    every_key_is_written(&full.effective(), &["agents_web_config_file", "people_web_config_file"]);
    let defaultless = fs::read_to_string(shipped.join("collector.toml")).unwrap();
    let examples: String = defaultless.lines().filter_map(|l| l.strip_prefix("#: ")).map(|l| format!("{l}\n")).collect();
    assert!(["agents_web", "people_web", "[[sinks]]"].iter().all(|key| examples.contains(key)));
    assert_eq!(config::check(&etc.put("examples/collector.toml", &examples)), []);

    if support::is_root() {
        fs::set_permissions(etc.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (empty, full) = (etc.put("empty/actuator.toml", ""), etc.put("full/actuator.toml", &uncommented("actuator.toml")));
        let (empty, full) = (config::load_actuator(&empty, &unset).unwrap(), config::load_actuator(&full, &unset).unwrap());
        assert_eq!(empty.config, full.config);
        every_key_is_written(&full.effective(), &[]);
    } else {
        support::missing("only root's own actuator.toml is read");
    }
}

fn every_key_is_written(view: &byteport::wire::local::ConfigView, but: &[&str]) {
    let silent = view.settings.iter().filter(|s| s.asked.is_none()).map(|s| s.key.as_str());
    assert_eq!(silent.collect::<Vec<_>>(), but, "keys that the example does not name");
    assert!(view.settings.iter().all(|s| s.because.is_none()));
}

#[test]
fn a_runbooks_section_is_checked_as_closely_as_the_rest() {
    let etc = Etc::new();
    let path =
        etc.put("agent.toml", "[disk]\nusage_warning_percent = \"many\"\nfloor = 3\n[disk.limits]\nmount = [\"/var\"]\n[dusk]\nx = 1\n");
    let shown = etc.shown(&config::load_agent(&path, &unset).unwrap_err());
    let places: Vec<&str> = shown.lines().filter(|l| l.starts_with("/etc")).map(|l| l.split(": ").next().unwrap()).collect();
    let expected = ["2:25", "3:1", "5:1", "6:2"].map(|at| format!("/etc/byteport/agent.toml:{at}"));
    assert_eq!(places, expected, "{shown}");
    assert!(
        shown.contains("did you mean `mounts`?") && shown.contains("unknown key `dusk`") && shown.contains("did you mean `disk`?"),
        "{shown}"
    );
    let path = etc.put("agent.toml", "disk = 3\nallow = [\"disc\"]\n");
    let shown = etc.shown(&config::load_agent(&path, &unset).unwrap_err());
    assert!(
        shown.contains("1:1: `disk` is a runbook, not a value") && shown.contains("there is no runbook \"disc\"; did you mean `disk`?"),
        "{shown}"
    );
}

#[test]
fn what_only_is_wrong_together_is_judged_over_all_files() {
    let etc = Etc::new();
    let path = etc.put("agent.toml", "[disk]\nusage_warning_percent = 70\n");
    let shown = etc.shown(&config::load_agent(&path, &unset).unwrap_err());
    assert!(shown.starts_with("/etc/byteport/agent.toml:1:2: ") && shown.contains("must be under usage_warning_percent"), "{shown}");
    etc.put("agent.toml.d/50.toml", "[disk]\nusage_floor_percent = 60\n");
    let loaded = config::load_agent(&path, &unset).unwrap();
    assert_eq!(loaded.config.params[&RunbookId::new("disk")]["usage_floor_percent"], 60.0);
    let floor = setting(&loaded.effective(), "disk.usage_floor_percent");
    assert_eq!((floor.asked.unwrap().0.as_str(), floor.applied.as_str()), ("60", "60.0"));
    etc.put("agent.toml.d/50.toml", "[disk]\nusage_floor_percent = 75\n");
    let shown = etc.shown(&config::load_agent(&path, &unset).unwrap_err());
    assert!(shown.starts_with("/etc/byteport/agent.toml.d/50.toml:2:1: "), "{shown}");
}

#[test]
fn consent_is_for_what_is_named_and_nothing_else() {
    let etc = Etc::new();
    let path = etc.put("agent.toml", "mode = \"act\"\nallow = [\"disk\"]\n[disk.limits]\nmounts = [\"/srv\"]\n");
    let policies = config::load_agent(&path, &unset).unwrap().config.policies;
    let disk = &policies[&RunbookId::new("disk")];
    assert!(disk.runbook_allowed && disk.mode == Mode::Act && disk.limits.mounts == ["/srv".into()]);
    let policies = config::load_agent(&etc.put("agent.toml", ""), &unset).unwrap().config.policies;
    let disk = &policies[&RunbookId::new("disk")];
    assert!(!disk.runbook_allowed && disk.mode == Mode::Observe && disk.limits.mounts.is_empty());
}
