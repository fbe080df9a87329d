//! `byteportctl top` as people run it: the real program, in a real terminal, against a real agent.

#[path = "cli/agent.rs"]
mod agent;
#[path = "cli/run.rs"]
#[allow(dead_code, reason = "every test binary uses its own part of this")]
mod run;
mod support;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use byteport::model::{Observed, is_unprintable};
use byteport::wire::local::{Top, Trends};
use run::{Ran, as_nobody, command, ctl};
use support::{missing, on_path, output};

/// Nothing here takes longer than a moment; machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// A real agent with everything of its own in one folder. Ended by its pid.
struct Real {
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Real {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port();
        let mut real = Self { dir, port, child: None };
        real.run();
        real
    }

    fn run(&mut self) {
        let at = self.dir.path().display();
        let config = self.dir.path().join("agent.toml");
        let text = format!(
            "mode = \"observe\"\nstate_dir = \"{at}/state\"\nsocket = \"{at}/agent.sock\"\nactuator_socket = \"{at}/none.sock\"\n\
             listen = \"127.0.0.1:{}\"\nsample_interval = \"1s\"\n",
            self.port
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(self.dir.path().join("agent.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_byteport-agent"));
        command.arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).env_remove("NOTIFY_SOCKET");
        self.child = Some(command.process_group(0).spawn().unwrap());
        wait(|| self.sampled().then_some(()), || format!("no sample: {}", fs::read_to_string(self.dir.path().join("agent.log")).unwrap()));
    }

    fn sampled(&self) -> bool {
        let ran = ctl(&["--socket", &self.socket(), "top", "--json"]);
        ran.code == 0 && serde_json::from_str::<Top>(&ran.out).is_ok_and(|top| top.sampled.value().is_some())
    }

    fn socket(&self) -> String {
        self.dir.path().join("agent.sock").to_str().unwrap().to_owned()
    }

    fn told(&self) -> Top {
        serde_json::from_str(&ctl(&["--socket", &self.socket(), "top", "--json"]).well()).unwrap()
    }

    /// Asked to, as systemd does it: what was seen is saved.
    fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        wait(|| child.try_wait().unwrap(), || "the agent does not stop".into());
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.end();
    }
}

fn wait<T>(mut look: impl FnMut() -> Option<T>, why: impl Fn() -> String) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?}: {}", why());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A terminal with a shell in it, held by a tmux server of its own.
struct Terminal {
    dir: tempfile::TempDir,
}

impl Terminal {
    /// `None`, loudly, where there is no tmux.
    fn open(columns: u32, lines: u32) -> Option<Self> {
        if !on_path("tmux") {
            missing("tmux: apt-get install tmux");
            return None;
        }
        let terminal = Self { dir: tempfile::tempdir().unwrap() };
        let (x, y) = (columns.to_string(), lines.to_string());
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &x,
            "-y",
            &y,
            "env -i PATH=\"$PATH\" TERM=screen-256color PS1='$ ' sh",
        ]);
        terminal.tmux(&["set-option", "-g", "status", "off"]);
        terminal.tmux(&["resize-window", "-x", &x, "-y", &y]);
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        output(Command::new("tmux").arg("-S").arg(self.dir.path().join("tmux.sock")).args(args).env("LC_ALL", "C.UTF-8").env_remove("TMUX"))
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a line, and ends it.
    fn line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    fn shown(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// What is shown twice: a frame that is just being drawn is none yet.
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let settled = || {
            let shown = self.shown();
            std::thread::sleep(Duration::from_millis(30));
            Some(shown).filter(|text| holds(text) && *text == self.shown())
        };
        wait(settled, || format!("for {what}; the terminal shows:\n{}", self.shown()))
    }

    /// Runs `top` from a file of ours that also says who it is.
    fn top(&self, socket: &str, more: &str) -> PathBuf {
        let (script, pid) = (self.dir.path().join("run"), self.dir.path().join("pid"));
        let program = env!("CARGO_BIN_EXE_byteportctl");
        fs::write(&script, format!("echo $$ >{}\nexec {more} {program} --socket {socket} top --interval 500ms\n", pid.display())).unwrap();
        self.until("a prompt", |text| text.contains('$'));
        self.line("clear; echo BEFORE");
        self.until("the prompt after it", |text| text.lines().any(|l| l == "BEFORE") && text.trim_end().ends_with('$'));
        self.line(&format!("sh {}; echo ENDED $?", script.display()));
        pid
    }

    /// The shell's own screen is back, and the line it reads from is as it was.
    fn is_as_before(&self, code: i32) {
        let ended = format!("ENDED {code}");
        let text = self.until("the shell", |text| text.lines().any(|line| line == ended));
        assert!(text.contains("BEFORE") && !text.contains("PRESSURE"), "{text}");
        let flags = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(flags.trim(), "0 1", "no alternate screen, and a cursor");
        self.line("stty -a");
        let text = self.until("stty", |text| text.contains("echoctl"));
        assert!(["icanon", "isig", "echo"].iter().all(|flag| text.split_whitespace().any(|word| word == *flag)), "{text}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The server of this socket, and nobody else's.
        drop(Command::new("tmux").arg("-S").arg(self.dir.path().join("tmux.sock")).arg("kill-server").status());
    }
}

fn hostile(dir: &Path) -> agent::Agent {
    let json = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/top/top.json")).unwrap();
    agent::Agent::start(dir, vec![("GET /v1/top", 200, json)])
}

#[test]
fn keys_choose_scroll_pause_help_and_end() {
    let Some(terminal) = Terminal::open(80, 24) else { return };
    let mut real = Real::start();
    terminal.top(&real.socket(), "");
    let first = terminal.until("a frame", |text| text.contains("[1 Filesystems]"));
    assert!(first.contains("mode observe") && first.contains("MOUNT") && first.contains("sampled"), "{first}");
    assert_eq!(first.lines().count(), 24, "{first}");
    for (key, expected) in
        [("3", "[3 Processes]"), ("Tab", "[4 Cgroups]"), ("BTab", "[3 Processes]"), ("7", "[7 Events]"), ("1", "[1 Filesystems]")]
    {
        terminal.keys(&[key]);
        terminal.until(expected, |text| text.contains(expected));
    }
    terminal.keys(&["?"]);
    terminal.until("help", |text| text.contains("choose a pane"));
    terminal.keys(&["?"]);
    terminal.until("no help", |text| !text.contains("choose a pane"));
    terminal.keys(&["p"]);
    terminal.until("a pause", |text| text.contains(" PAUSED "));
    terminal.keys(&["p"]);
    terminal.until("no pause", |text| !text.contains(" PAUSED "));

    // It goes on: samples are a second apart.
    let at = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let then = at(&terminal.shown());
    terminal.until("another look", |text| at(text) != then);

    terminal.tmux(&["resize-window", "-x", "200", "-y", "50"]);
    let large = terminal.until("all panes", |text| {
        text.contains("[1 Filesystems]") && text.contains(" 4 Cgroups ") && text.contains("SIGNAL") | text.contains("no signal")
    });
    assert!(large.lines().count() == 50 && large.contains(" 2 Units ") && large.contains(" 3 Processes "), "{large}");
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    terminal.until("one pane", |text| text.lines().any(|line| line.contains("[1 Filesystems] 2 Units  3 Processes")));

    // An agent that goes away leaves its last word, and comes back.
    real.end();
    let gone = terminal.until("the agent's silence", |text| text.contains("NOT THE NEWEST: cannot reach the agent"));
    assert!(gone.contains("MOUNT"), "{gone}");
    real.run();
    terminal.until("the agent's answer", |text| !text.contains("NOT THE NEWEST"));

    terminal.keys(&["q"]);
    terminal.is_as_before(0);
}

#[test]
fn control_c_and_sigterm_give_the_terminal_back() {
    let Some(terminal) = Terminal::open(80, 24) else { return };
    let dir = tempfile::tempdir().unwrap();
    let agent = hostile(dir.path());
    let socket = agent.socket().to_str().unwrap();
    terminal.top(socket, "");
    terminal.until("a frame", |text| text.contains("[1 Filesystems]"));
    terminal.keys(&["C-c"]);
    terminal.is_as_before(0);

    let pid = terminal.top(socket, "");
    terminal.until("a frame", |text| text.contains("[1 Filesystems]"));
    let pid: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::TERM).unwrap();
    terminal.is_as_before(0);
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    let Some(terminal) = Terminal::open(80, 24) else { return };
    let dir = tempfile::tempdir().unwrap();
    let agent = hostile(dir.path());
    // A hangup is not heard by everybody who is started from a script: its end has to be noticed as well.
    let pid = terminal.top(agent.socket().to_str().unwrap(), "env --ignore-signal=HUP");
    terminal.until("a frame", |text| text.contains("[1 Filesystems]"));
    let pid = fs::read_to_string(pid).unwrap().trim().to_owned();
    drop(terminal);
    // Gone, or only waiting for somebody to take note of it.
    let ended = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.rsplit(") ").next().unwrap().starts_with('Z'));
    wait(|| ended().then_some(()), || format!("pid {pid} goes on without a terminal"));
}

/// A real agent's history: it begins at the right, `t` shows more of it, and stopping the agent leaves a hole, not zeros and not oblivion.
#[test]
fn the_history_is_drawn_and_outlives_a_restart() {
    let Some(terminal) = Terminal::open(100, 24) else { return };
    let mut real = Real::start();
    let history = |real: &Real, enough: &dyn Fn(&Trends) -> bool| {
        wait(
            || match real.told().trends {
                Observed::Value { value, .. } if enough(&value) => Some(value),
                _ => None,
            },
            || format!("{:?}", real.told().trends),
        )
    };
    let before = history(&real, &|trends| trends.quarter_hour.cpu_busy.iter().flatten().count() >= 2);
    let fine = &before.quarter_hour;
    assert_eq!((fine.every_s, before.six_hours.every_s, before.six_hours.load_one.len()), (5.0, 60.0, 1));
    assert_eq!((fine.load_one.len(), fine.cpu_busy[0], fine.load_one.iter().all(Option::is_some)), (fine.cpu_busy.len(), None, true));
    assert!(fine.memory_used.iter().flatten().all(|used| (0.1..100.0).contains(used)), "{fine:?}");
    let root = fine.filesystems.first().expect("this host has a filesystem");
    assert!(root.used.iter().flatten().all(|used| (0.0..=100.0).contains(used)) && root.used.iter().any(Option::is_some), "{root:?}");
    let began_s = fine.last.uptime_s - fine.every_s * (fine.load_one.len() - 1) as f64;

    real.stop();
    let stopped = Instant::now();
    wait(|| (stopped.elapsed() > Duration::from_secs(17)).then_some(()), String::new);
    real.run();
    let after = history(&real, &|trends| trends.quarter_hour.last.uptime_s > fine.last.uptime_s).quarter_hour;
    let begins_s = after.last.uptime_s - after.every_s * (after.load_one.len() - 1) as f64;
    assert!((begins_s - began_s).abs() <= after.every_s, "it begins where it began: {began_s} {begins_s}");
    let first = |of: &[Option<f32>]| of.iter().flatten().next().copied();
    assert_eq!(first(&after.load_one), first(&fine.load_one));
    let hole = after.load_one.iter().filter(|load| load.is_none()).count();
    assert!(hole >= 1 && after.load_one.last().unwrap().is_some(), "{after:?}");
    assert!(after.filesystems.iter().any(|f| f.mount == root.mount && first(&f.used) == first(&root.used)), "{:?}", after.filesystems);

    terminal.top(&real.socket(), "env LC_ALL=C.UTF-8");
    terminal.until("a frame", |text| text.contains("[1 Filesystems]"));
    terminal.keys(&["6"]);
    let shown = terminal.until("the trends", |text| text.contains("[6 Trends]"));
    let load = shown.lines().find(|line| line.starts_with("load ")).unwrap_or_else(|| panic!("{shown}"));
    let curve: String = load.chars().skip_while(|c| !('▁'..='█').contains(c)).collect();
    assert!(shown.contains("LAST 15 MIN") && curve.chars().any(|c| ('▁'..='█').contains(&c)), "{shown}");
    terminal.keys(&["t"]);
    terminal.until("six hours", |text| text.contains("LAST 6 H") && !text.contains("LAST 15 MIN"));
    let text = ctl(&["--socket", &real.socket(), "top", "--once"]).well();
    assert!(text.contains("LAST 15 MIN") && text.contains("LAST 6 H") && text.contains("a history of "), "{text}");
}

/// Names that clear the screen, break lines and write backwards do nothing to a real terminal.
#[test]
fn hostile_names_do_nothing_to_a_terminal() {
    let Some(terminal) = Terminal::open(80, 24) else { return };
    let dir = tempfile::tempdir().unwrap();
    let agent = hostile(dir.path());
    terminal.top(agent.socket().to_str().unwrap(), "env NO_COLOR=1");
    let bare = |text: &str| text.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>();
    for pane in ["1", "6", "7"] {
        if pane != "1" {
            terminal.keys(&[pane]);
        }
        let expected = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/top/80x24-{pane}.txt"))).unwrap();
        terminal.until(&format!("every line where it was put:\n{expected}\n"), |text| bare(text) == bare(&expected));
    }
    let coloured = terminal.tmux(&["capture-pane", "-p", "-e"]);
    assert!(!coloured.contains("38;5;") && !(30..38).any(|c| coloured.contains(&format!("\x1b[{c}m"))), "NO_COLOR: {coloured:?}");
    terminal.keys(&["q"]);
    terminal.is_as_before(0);
    terminal.top(agent.socket().to_str().unwrap(), "");
    terminal.until("a frame", |text| text.contains("[1 Filesystems]"));
    let coloured = terminal.tmux(&["capture-pane", "-p", "-e"]);
    assert!(coloured.contains("\x1b[38;5;1m") || coloured.contains("\x1b[31m"), "what is bad is red: {coloured:?}");
}

#[test]
fn once_is_text_or_json_without_terminal_control() {
    let dir = tempfile::tempdir().unwrap();
    let agent = hostile(dir.path());
    let socket = agent.socket().to_str().unwrap();
    let text = ctl(&["--socket", socket, "top", "--once"]).well();
    assert_eq!(text, fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/top/once.txt")).unwrap());
    for args in [&["top", "--once", "--json"][..], &["top", "--json"]] {
        let json = ctl(&[&["--socket", socket], args].concat()).well();
        assert!(!json.contains(|c| c != '\n' && is_unprintable(c)));
        let sent = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/top/top.json")).unwrap();
        assert_eq!(serde_json::from_str::<Top>(&json).unwrap(), serde_json::from_str::<Top>(&sent).unwrap());
    }
}

/// What a real agent says of this host, to somebody who is not root but in the agent's group.
#[test]
fn a_real_agent_tells_whoever_is_in_its_group() {
    let real = Real::start();
    let text = ctl(&["--socket", &real.socket(), "top", "--once"]).well();
    for part in
        ["mode observe", "observe only: mode is observe in the agent's configuration", "PRESSURE", "Filesystems (", "MOUNT", "Signals ("]
    {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(real.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let Some(mut stranger) = as_nobody(dir.path(), &["--socket", &real.socket(), "top", "--once"]) else { return };
    let ran = Ran::of(&mut stranger);
    assert!(ran.code == 2 && ran.err.contains("Add yourself to group byteport"), "{}", ran.err);
    // The group of the socket is that of the agent, which here is root's.
    let mut member = as_nobody(dir.path(), &["--socket", &real.socket(), "top", "--once"]).unwrap();
    assert!(Ran::of(member.gid(0)).well().contains("MOUNT"));
}

#[test]
fn without_a_terminal_or_an_agent_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let agent = hostile(dir.path());
    let ran = ctl(&["--socket", agent.socket().to_str().unwrap(), "top"]);
    assert_eq!((ran.code, ran.out.as_str()), (64, ""));
    assert_eq!(ran.err, "byteportctl: top needs a terminal: for one frame as text add --once, for programs --json\n");

    let none = dir.path().join("none.sock");
    let ran = ctl(&["--socket", none.to_str().unwrap(), "top", "--once"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("cannot reach the agent at") && ran.err.contains("systemctl status byteport-agent"), "{}", ran.err);

    for wrong in ["0", "100ms", "2h", "2 s", "-1", "", "s", "61m", "1.5s", "99999999999999999999s"] {
        let ran = Ran::of(&mut command(&["top", "--once", &format!("--interval={wrong}")]));
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{wrong:?}: {}", ran.err);
    }
    for right in ["200ms", "2", "2s", "1m", "60min"] {
        let ran = ctl(&["--socket", agent.socket().to_str().unwrap(), "top", "--once", "--interval", right]);
        assert_eq!(ran.code, 0, "{right}: {}", ran.err);
    }
}
