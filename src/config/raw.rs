//! What may be written, key by key. Every key is optional; unknown ones are refused. A runbook's section is no field here:
//! the registry knows how to read it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::maintenance::RawWindow;
use crate::guard::Mode;
use crate::model::{Percent, RunbookId, Seconds};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAgent {
    pub(super) mode: Option<Mode>,
    pub(super) allow: Option<Vec<KnownRunbook>>,
    pub(super) state_dir: Option<AbsolutePath>,
    pub(super) socket: Option<AbsolutePath>,
    pub(super) actuator_socket: Option<AbsolutePath>,
    pub(super) listen: Option<Listen>,
    pub(super) web_config_file: Option<AbsolutePath>,
    pub(super) node_metrics: Option<bool>,
    pub(super) sample_interval: Option<Interval>,
    pub(super) cpu_budget_percent: Option<CpuBudget>,
    pub(super) node_url: Option<HttpUrl>,
    pub(super) request_metrics: Option<BTreeMap<UnitName, MetricUrl>>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) maintenance: Option<Vec<RawWindow>>,
    pub(super) journal_units: Option<Vec<UnitName>>,
    pub(super) journal_markers: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawActuator {
    pub(super) allow: Option<Vec<KnownRunbook>>,
    pub(super) agent_user: Option<String>,
    pub(super) socket: Option<AbsolutePath>,
    pub(super) state_dir: Option<AbsolutePath>,
    pub(super) docker_socket: Option<AbsolutePath>,
    pub(super) log_level: Option<LogLevel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCollector {
    pub(super) state_dir: Option<AbsolutePath>,
    pub(super) agents_listen: Option<Listen>,
    pub(super) agents_web_config_file: Option<AbsolutePath>,
    pub(super) plain_http: Option<bool>,
    pub(super) people_listen: Option<Listen>,
    pub(super) people_web_config_file: Option<AbsolutePath>,
    pub(super) heartbeat_interval: Option<HeartbeatInterval>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) sinks: Option<Vec<RawSink>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSink {
    pub(super) name: SinkName,
    pub(super) file: SinkFile,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// A path that means the same wherever the program was started.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct AbsolutePath(pub(super) PathBuf);

impl TryFrom<String> for AbsolutePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let path = PathBuf::from(&text);
        match path.is_absolute() && !text.contains('\0') && !text.ends_with('/') {
            true => Ok(Self(path)),
            false => Err(format!("{text:?} is no absolute path of a file or folder: begin with / and end with its name")),
        }
    }
}

/// Where a TCP listener is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Listen(pub(super) SocketAddr);

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("{text:?} is no address with a port, such as 127.0.0.1:9634 or [::1]:9634"))
    }
}

/// Between samples: often enough to see a disk fill, seldom enough not to be seen.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Seconds")]
pub(super) struct Interval(pub(super) Seconds);

impl TryFrom<Seconds> for Interval {
    type Error = String;

    fn try_from(s: Seconds) -> Result<Self, String> {
        match (1.0..=15.0).contains(&s.0) {
            true => Ok(Self(s)),
            false => Err(format!("{s} is not between 1 s and 15 s: a longer gap would hide what raises a signal")),
        }
    }
}

/// Between heartbeats: often enough to see soon that a host is silent, seldom enough for many hosts.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Seconds")]
pub(super) struct HeartbeatInterval(pub(super) Seconds);

impl TryFrom<Seconds> for HeartbeatInterval {
    type Error = String;

    fn try_from(s: Seconds) -> Result<Self, String> {
        match (10.0..=300.0).contains(&s.0) {
            true => Ok(Self(s)),
            false => Err(format!("{s} is not between 10 s and 300 s: after three of them a host is shown as silent")),
        }
    }
}

/// What deliveries and metrics call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct SinkName(pub(super) String);

impl TryFrom<String> for SinkName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        match (1..=32).contains(&name.len()) && name.bytes().all(plain) {
            true => Ok(Self(name)),
            false => Err(format!("{name:?} is no name of a sink: write up to 32 of a-z, 0-9, - and _")),
        }
    }
}

/// `None`: stdout.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct SinkFile(pub(super) Option<PathBuf>);

impl TryFrom<String> for SinkFile {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "-" => Ok(Self(None)),
            _ => AbsolutePath::try_from(text).map(|path| Self(Some(path.0))).map_err(|e| format!("{e}, or write - for stdout")),
        }
    }
}

/// Of one core. Less than the least would stretch everything for ever; more than a core one thread cannot spend.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct CpuBudget(pub(super) Percent);

impl TryFrom<f64> for CpuBudget {
    type Error = String;

    fn try_from(percent: f64) -> Result<Self, String> {
        match (0.05..=100.0).contains(&percent) {
            true => Ok(Self(Percent(percent))),
            false => Err(format!("{percent} is not between 0.05 and 100 percent of one core")),
        }
    }
}

/// Plain HTTP: the kubelet's read-only port or a local proxy.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct HttpUrl(pub(super) String);

impl TryFrom<String> for HttpUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // A name and a password in it would be told wherever the address is.
        match !host.is_empty() && !host.contains('@') && text.is_ascii() && !text.contains(char::is_whitespace) {
            true => Ok(Self(text)),
            false => Err("this is no address of the form http://HOST[:PORT]/PATH, without a name and a password".to_owned()),
        }
    }
}

/// A counter, and where it is exposed.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct MetricUrl(pub(super) String);

impl TryFrom<String> for MetricUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let metric = text.split_once('#').map(|(_, metric)| metric).unwrap_or_default();
        let named = !metric.is_empty() && metric.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'));
        match HttpUrl::try_from(text.clone()) {
            Ok(url) if named => Ok(Self(url.0)),
            _ => Err("this is no address of a counter, of the form http://HOST[:PORT]/metrics#NAME_OF_THE_COUNTER".to_owned()),
        }
    }
}

/// A runbook that exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct KnownRunbook(pub(super) RunbookId);

impl TryFrom<String> for KnownRunbook {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match crate::runbooks::ALL.iter().find(|e| e.id.0 == text) {
            Some(entry) => Ok(Self(entry.id.clone())),
            None => {
                let known: Vec<&str> = crate::runbooks::ALL.iter().map(|e| e.id.0.as_ref()).collect();
                Err(format!("there is no runbook {text:?}; {}", super::findings::meant(&text, &known)))
            }
        }
    }
}

/// A whole name: journalctl would resolve a pattern once, and miss what comes later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct UnitName(pub(super) String);

impl TryFrom<String> for UnitName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.contains('.') && !name.contains(['*', '?', '[', '/', ' ']) {
            true => Ok(Self(name)),
            false => Err(format!("{name:?} is no whole name of a unit: write it with its ending, without a pattern, as in nginx.service")),
        }
    }
}
