//! What can be typed, for all four programs. The man pages and completions are made from this file by `build.rs`, which
//! includes it by path: it uses std and clap and nothing of this crate.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Where the agent listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/byteport/agent.sock";

/// `option_env`, because the build script itself is compiled before it can say.
const VERSION: &str = match option_env!("BYTEPORT_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

const EXIT_CODES: &str = "Exit codes: 0 all is well, 1 there are findings, 2 it could not be done, 64 wrong arguments.";

const KEYS: &str = "Keys: 1-5 or Tab choose what to look at, arrows or j and k scroll, p pauses, ? helps, q ends.";

/// Ask BytePort what it sees, what it would do, what it did, and why
#[derive(Debug, Parser)]
#[command(name = "byteportctl", version = VERSION, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Ctl {
    /// The agent's socket [default: $BYTEPORT_SOCKET, else /run/byteport/agent.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Read the record in this folder instead of asking the agent, for when it is dead (usually /var/lib/byteport)
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// What the agent sees now: filesystems, signals, incidents, pauses, and whether it may act
    Status,
    /// Live view of what the agent sees: pressure, filesystems, units, processes, cgroups and signals
    #[command(after_help = KEYS)]
    Top(Top),
    /// Whether this host is ready for BytePort, and what to do about each finding
    Doctor(Doctor),
    /// List incidents, or show one
    Incidents(Incidents),
    /// Why this class, this confidence and these steps, and every refusal with its reason
    Explain(One),
    /// What would be done now; reads only
    Plan(Plan),
    /// Write one file from which anybody can replay an incident offline; secrets and names are masked
    Bundle(Bundle),
    /// Decide again from a bundle and compare byte for byte; needs neither agent nor rights
    Replay(Replay),
    /// Take back what an incident's steps did, as far as it can be taken back
    Undo(One),
    /// Do nothing to this host until told otherwise
    Pause(Pause),
    /// End a pause
    Resume(Resume),
    /// Say that something was released now, so that what grows after it is told to have begun with it
    MarkDeploy(MarkDeploy),
    /// Check configuration files; all faults at once
    Check(Check),
    /// Every runbook: its signals, classes and manual page
    Catalog(Catalog),
    /// The agent's configuration
    Config(Config),
}

#[derive(Debug, Args)]
pub struct Top {
    /// Print one frame as plain text and exit; implied by --json
    #[arg(long)]
    pub once: bool,
    /// Time between two looks (500ms, 2s, 1m)
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub interval: Duration,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Judge the host below this folder (a container that was given the host's root)
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The agent's configuration; actuator.toml is looked for beside it
    #[arg(long, value_name = "FILE", default_value = "/etc/byteport/agent.toml")]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Incidents {
    #[command(subcommand)]
    pub verb: Option<IncidentsVerb>,
    #[command(flatten)]
    pub list: List,
}

#[derive(Debug, Subcommand)]
pub enum IncidentsVerb {
    /// List incidents, newest first
    List(List),
    /// One incident's postmortem
    Show(Show),
}

#[derive(Debug, Args)]
pub struct List {
    /// Show no more than this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Only those that are still open
    #[arg(long)]
    pub open: bool,
}

#[derive(Debug, Args)]
pub struct Show {
    /// Incident id, the unique beginning of one, `last`, or a runbook's name for its last one
    pub id: String,
    /// As Markdown, for a ticket
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

#[derive(Debug, Args)]
pub struct One {
    /// Incident id, the unique beginning of one, `last`, or a runbook's name for its last one
    pub id: String,
}

#[derive(Debug, Args)]
pub struct Plan {
    /// Runbook, as `byteportctl catalog` lists them
    pub runbook: String,
    /// Mount point of the filesystem to look at
    #[arg(long, value_name = "PATH", conflicts_with = "unit")]
    pub mount: Option<OsString>,
    /// systemd unit to look at; neither this nor a mount: the host as a whole
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
}

#[derive(Debug, Args)]
pub struct Bundle {
    /// Incident id, the unique beginning of one, `last`, or a runbook's name for its last one
    pub id: String,
    /// File to write; must not exist yet
    #[arg(long, short = 'o', value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// A bundle, as `byteportctl bundle` writes it
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct Pause {
    /// Only this runbook; all of them without it
    pub runbook: Option<String>,
    /// How long (90s, 30m, 2h, 1d); until `resume` without it
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    pub for_s: Option<u64>,
    /// The reason, shown to whoever asks why nothing is done
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// Only this runbook's pause; every pause without it
    pub runbook: Option<String>,
}

#[derive(Debug, Args)]
pub struct MarkDeploy {
    /// The unit's or the package's name
    pub name: String,
    pub version: String,
}

#[derive(Debug, Args)]
pub struct Check {
    /// agent.toml, actuator.toml, collector.toml, or a drop-in of one of them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Catalog {
    /// Only this runbook, with its whole manual page
    pub runbook: Option<String>,
}

#[derive(Debug, Args)]
pub struct Config {
    /// Every setting: what the files ask for, what is applied, and why they differ
    #[arg(long, required = true)]
    pub effective: bool,
}

/// Notice, diagnose, decide, verify and explain; changes nothing itself
#[derive(Debug, Parser)]
#[command(name = "byteport-agent", version = VERSION, max_term_width = 100)]
pub struct Agent {
    /// Configuration; drop-ins are read from FILE.d beside it
    #[arg(long, value_name = "FILE", default_value = "/etc/byteport/agent.toml", global = true)]
    pub config: PathBuf,
    /// Where the host's root is, for a container that was given it
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Take one full sample, print the exposition and exit
    #[arg(long)]
    pub once: bool,
    /// Take a sample for each scrape instead of on a clock; for measuring what a sample costs
    #[arg(long, value_enum, value_name = "WHAT", hide = true, conflicts_with = "once")]
    pub sample_on_scrape: Option<SampleOnScrape>,
    /// Accept the empty record that was begun where a damaged one was set aside, and exit; stop the agent first
    #[arg(long, conflicts_with = "once")]
    pub trust_new_record: bool,
    /// Without one it runs until it is told to stop
    #[command(subcommand)]
    pub verb: Option<AgentVerb>,
}

#[derive(Debug, Subcommand)]
pub enum AgentVerb {
    /// Make this host known to a collector; an agent that runs reports to it within ten seconds
    Enroll(Enroll),
}

#[derive(Debug, Args)]
pub struct Enroll {
    /// The collector's address: https://HOST, with :PORT and /PREFIX where it has them
    #[arg(long, value_name = "URL")]
    pub collector: String,
    /// File with the token that the collector gave out; - reads it from standard input
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// Trust whom the certificates in this PEM file have signed, and nobody else
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Proxy on the way to the collector: http://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// Accept that everybody on the way may read and change what is sent
    #[arg(long)]
    pub insecure_plain_http: bool,
    /// Make a host that has a collector another one there, with a token of its own
    #[arg(long)]
    pub again: bool,
}

/// What a scrape's own sample holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SampleOnScrape {
    /// What every sample asks
    Host,
    /// That, and all processes
    Processes,
}

/// Carry out the agent's steps within the host's own policy; the only program of BytePort that changes anything
#[derive(Debug, Parser)]
#[command(name = "byteport-actuator", version = VERSION, max_term_width = 100)]
pub struct Actuator {
    /// Policy; drop-ins are read from FILE.d beside it
    #[arg(long, value_name = "FILE", default_value = "/etc/byteport/actuator.toml")]
    pub config: PathBuf,
    /// Start with an empty ledger where the old one was set aside as damaged: caps and cooldowns begin anew
    #[arg(long)]
    pub trust_new_ledger: bool,
}

const RESTORE: &str = "To put a backup back: stop the collector, take collector.db, collector.db-wal and collector.db-shm away from its \
                       state folder, copy the backup there as collector.db with the old owner and mode 0600, start it.";

/// Take what the hosts of a fleet report, keep it, and show it to people; it can hint and never command
#[derive(Debug, Parser)]
#[command(name = "byteport-collector", version = VERSION, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Collector {
    /// Configuration; drop-ins are read from FILE.d beside it
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/byteport/collector.toml")]
    pub config: PathBuf,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub verb: CollectorVerb,
}

#[derive(Debug, Subcommand)]
pub enum CollectorVerb {
    /// Serve agents and people, until told to stop
    Serve,
    /// Tokens that let hosts enrol
    #[command(subcommand)]
    Token(TokenVerb),
    /// The hosts, and who of them is listened to
    #[command(subcommand)]
    Agent(HostVerb),
    /// Messages about hosts that need a person
    #[command(subcommand)]
    Outbox(OutboxVerb),
    /// Copies of everything
    #[command(subcommand)]
    Backup(BackupVerb),
    /// The chains that hold what hosts and people did
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Check configuration files; all faults at once
    Check(CollectorCheck),
}

#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token and print it, this once
    Create(CreateToken),
    /// List tokens, newest first; what is secret about them is nowhere
    List,
    /// Let nobody in with it any more; who is in stays in
    Revoke(TokenId),
}

#[derive(Debug, Args)]
pub struct CreateToken {
    /// How many hosts it lets in
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub uses: u64,
    /// How long it holds (30m, 24h, 7d)
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = lifetime)]
    pub expires: Duration,
}

#[derive(Debug, Args)]
pub struct TokenId {
    /// As `byteport-collector token list` shows it
    pub id: String,
}

#[derive(Debug, Subcommand)]
pub enum HostVerb {
    /// List hosts, worst first
    List,
    /// One host
    Show(OneAgent),
    /// Take nothing of it any more, for good
    Revoke(OneAgent),
    /// Take nothing of it until it is released
    Quarantine(Quarantine),
    /// End a quarantine
    Release(OneAgent),
}

#[derive(Debug, Args)]
pub struct OneAgent {
    /// Agent id, the unique beginning of one, or a host's name
    pub id: String,
}

#[derive(Debug, Args)]
pub struct Quarantine {
    #[command(flatten)]
    pub agent: OneAgent,
    /// The reason, shown to whoever looks at the host
    #[arg(long, value_name = "TEXT")]
    pub why: String,
}

#[derive(Debug, Subcommand)]
pub enum OutboxVerb {
    /// List messages, dead ones first, then the newest
    List,
    /// Send a dead message again; the dead one stays
    Replay(MessageId),
}

#[derive(Debug, Args)]
pub struct MessageId {
    /// As `byteport-collector outbox list` shows it
    pub id: u64,
}

#[derive(Debug, Subcommand)]
pub enum BackupVerb {
    /// Copy everything into a new file, while the collector runs
    #[command(after_help = RESTORE)]
    Create(BackupFile),
    /// Whether a backup is good: its pages, its tables, and every chain in it
    #[command(after_help = RESTORE)]
    Verify(BackupFile),
}

#[derive(Debug, Args)]
pub struct BackupFile {
    pub file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Whether every host's record is as that host has signed it, and what people did here as it was written
    Verify(VerifyAudit),
}

#[derive(Debug, Args)]
pub struct VerifyAudit {
    /// A head that `audit verify` has printed before: whether everything up to it is still there
    #[arg(long, value_name = "N:HASH")]
    pub head: Option<String>,
}

#[derive(Debug, Args)]
pub struct CollectorCheck {
    /// collector.toml or drop-ins of it; without any, the configuration as a start would read it
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `30m`, `24h`, `7d`.
fn lifetime(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "s" => Some(1),
        "m" | "min" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    match factor.zip(digits.parse::<u64>().ok()).and_then(|(factor, count)| count.checked_mul(factor)) {
        None => Err("write a number with m, h or d: 30m, 24h, 7d".into()),
        Some(s) if (60..=30 * 86_400).contains(&s) => Ok(Duration::from_secs(s)),
        Some(_) => Err("between 1m and 30d: a token that is lost lets strangers in as long as it holds".into()),
    }
}

/// `90`, `90s`, `30m`, `2h`, `1d` in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a number with s, m, h or d: 90s, 30m, 2h, 1d".into()),
    };
    let count: u64 = digits.parse().map_err(|_| "write a number with s, m, h or d: 90s, 30m, 2h, 1d".to_owned())?;
    match count.checked_mul(factor) {
        Some(0) => Err("a pause of no time is none; to end one, use `byteportctl resume`".into()),
        Some(s) if s <= 366 * 86_400 => Ok(s),
        _ => Err("more than a year: leave --for out to pause until `byteportctl resume`".into()),
    }
}

/// `2`, `2s`, `500ms`, `1m`.
fn interval(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" | "min" => Some(60_000),
        _ => None,
    };
    let ms = factor.zip(digits.parse::<u64>().ok()).and_then(|(factor, count)| count.checked_mul(factor));
    match ms {
        None => Err("write a number with ms, s or m: 500ms, 2s, 1m".into()),
        Some(ms) if (200..=3_600_000).contains(&ms) => Ok(Duration::from_millis(ms)),
        Some(_) => Err("between 200ms and 60m".into()),
    }
}
