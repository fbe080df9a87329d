//! systemd's units, kept up to date by what systemd says of itself: listed once, then only what changes costs anything.
//!
//! One connection, and one stream with everything that comes over it: answers and signals keep the order in which systemd sent them, so a
//! list that was asked for is never newer or older than the changes around it. Only what systemd itself sent is believed: anybody on the bus
//! may send us a signal that looks like one of its.

pub(super) mod consent;
pub(super) mod facts;
mod figures;
pub(super) mod kept;
pub(super) mod table;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use zbus::message::{Flags, Type};
use zbus::names::OwnedUniqueName;
use zbus::{Connection, Message, MessageStream, ObjectPath, Variant};

use self::figures::{Figure, Value};
use self::table::{Listed, Table, parse_unit_path, socket_of, unit_path};
use super::bus::{next, system_bus};
use super::{Read, ReadError};
use crate::model::Units;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const BUS: &str = "org.freedesktop.DBus";

/// What is listened to, and nothing else.
const RULES: &[&str] = &[
    "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.freedesktop.systemd1'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='UnitNew'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='UnitRemoved'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='Reloading'",
    "type='signal',sender='org.freedesktop.systemd1',member='PropertiesChanged',path_namespace='/org/freedesktop/systemd1/unit',arg0='org.freedesktop.systemd1.Unit'",
    "type='signal',sender='org.freedesktop.systemd1',member='PropertiesChanged',path_namespace='/org/freedesktop/systemd1/unit',arg0='org.freedesktop.systemd1.Service'",
    "type='signal',sender='org.freedesktop.systemd1',member='PropertiesChanged',path_namespace='/org/freedesktop/systemd1/unit',arg0='org.freedesktop.systemd1.Timer'",
];

const CONNECT: Duration = Duration::from_secs(10);
/// `daemon-reexec` on a loaded host answers nobody for half a minute.
const ANSWER: Duration = Duration::from_secs(45);
/// Changes come in bursts: what has to be asked about them is asked once.
const SETTLE: Duration = Duration::from_secs(1);
const LIST_EVERY: Duration = Duration::from_secs(600);
/// However often units are reloaded, listing all of them is not cheap for systemd.
const LIST_AT_MOST_EVERY: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// The bus allows 128 calls without an answer.
const MOST_CALLS: usize = 32;
/// So many new units at once are not named one by one.
const MOST_NAMED: usize = 64;

type ListedUnit<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, ObjectPath<'a>, u32, &'a str, ObjectPath<'a>);

/// Follows systemd, and knows at any time what it last said.
#[derive(Debug)]
pub struct UnitWatch {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: Table,
    /// Why there is nothing to tell.
    lost: Option<String>,
}

impl UnitWatch {
    /// `root`: where the host's root directory is found.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), state: Mutex::new(State { table: Table::default(), lost: Some("not connected yet".to_owned()) }) }
    }

    /// The units as systemd last told of them. Each failure is named once.
    ///
    /// # Errors
    /// While there is no connection, and before the first list.
    pub fn units(&self) -> Read<Units> {
        let mut state = self.state();
        let lost = state.lost.clone();
        let not_here = |why| ReadError::NotHere { what: "systemd's units".to_owned(), why };
        match lost {
            Some(why) => Err(not_here(why)),
            None => state.table.take().ok_or_else(|| not_here("not listed yet".to_owned())),
        }
    }

    /// Follows systemd for ever, and connects again whenever the bus or systemd went away. `failed` is called with the name of each unit that
    /// fails; of those that had failed before anybody looked it is not.
    pub async fn follow(&self, failed: impl Fn(&str)) {
        let mut pause = FIRST_RETRY;
        loop {
            let (why, listed) = self.session(&failed).await;
            self.state().lost = Some(why);
            pause = if listed { FIRST_RETRY } else { (pause * 2).min(LAST_RETRY) };
            sleep(pause).await;
        }
    }

    /// One connection, until it is of no use any more: why, and whether it had given a list.
    async fn session(&self, failed: &impl Fn(&str)) -> (String, bool) {
        let bus = match timeout(CONNECT, system_bus(&self.root)).await {
            Ok(Ok(bus)) => bus,
            Ok(Err(why)) => return (why, false),
            Err(_) => return (format!("system bus below {}: no answer within {CONNECT:?}", self.root.display()), false),
        };
        let mut stream = MessageStream::from(&bus);
        let mut session = Session::new(self, &bus, failed);
        let why = loop {
            if let Err(why) = session.ask().await {
                break why;
            }
            let message = tokio::select! {
                message = next(&mut stream) => message,
                () = tokio::time::sleep_until(session.wakes_at()) => {
                    match session.overdue() {
                        Some(why) => break why,
                        None => continue,
                    }
                }
            };
            match message {
                Some(Ok(message)) => {
                    if let Err(why) = session.hear(&message) {
                        break why;
                    }
                }
                Some(Err(e)) => break format!("the system bus went away: {e}"),
                None => break "the system bus went away".to_owned(),
            }
        };
        (why, session.listed_at.is_some())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was asked, to be known again by its answer.
#[derive(Debug)]
enum Asked {
    /// Of the bus: to hear signals.
    Rule,
    Subscribe,
    All,
    Some,
    Version,
    Virtualization,
    SystemState,
    Figure(String, Figure),
}

struct Session<'a, F> {
    watch: &'a UnitWatch,
    bus: &'a Connection,
    failed: &'a F,
    /// systemd's own name on the bus, once it has answered.
    systemd: Option<OwnedUniqueName>,
    waiting: HashMap<NonZeroU32, (Asked, Instant)>,
    queue: VecDeque<Asked>,
    listed_at: Option<Instant>,
    list_at: Instant,
    new: BTreeSet<String>,
    /// Of these the figures are asked once it has settled: sockets whose connections come and go, and what is new and not at work. Most of the
    /// latter are unloaded at once, and asking for one that is would load it again, to be told as new again.
    unasked: BTreeSet<String>,
    stale: bool,
    /// When the questions that have come up are asked.
    settled_at: Option<Instant>,
}

impl<'a, F: Fn(&str)> Session<'a, F> {
    fn new(watch: &'a UnitWatch, bus: &'a Connection, failed: &'a F) -> Self {
        let queue = std::iter::repeat_with(|| Asked::Rule).take(RULES.len()).chain([
            Asked::Subscribe,
            Asked::Version,
            Asked::Virtualization,
            Asked::All,
            Asked::SystemState,
        ]);
        Self {
            watch,
            bus,
            failed,
            systemd: None,
            waiting: HashMap::new(),
            queue: queue.collect(),
            listed_at: None,
            list_at: Instant::now() + LIST_EVERY,
            new: BTreeSet::new(),
            unasked: BTreeSet::new(),
            stale: false,
            settled_at: None,
        }
    }

    fn wakes_at(&self) -> Instant {
        let answers = self.waiting.values().map(|(_, until)| *until);
        answers.chain(self.settled_at).chain([self.list_at]).min().unwrap_or(self.list_at)
    }

    fn overdue(&self) -> Option<String> {
        let now = Instant::now();
        let late = self.waiting.values().find(|(_, until)| *until <= now)?;
        Some(format!("systemd has not answered within {ANSWER:?}: {:?}", late.0))
    }

    /// Asks what is due, as far as the bus allows.
    async fn ask(&mut self) -> Result<(), String> {
        let now = Instant::now();
        if now >= self.list_at {
            self.list_at = now + LIST_EVERY;
            self.queue.extend([Asked::All, Asked::SystemState]);
        }
        if self.settled_at.is_some_and(|at| now >= at) {
            self.settled_at = None;
            if self.new.len() > MOST_NAMED {
                self.list_soon();
                self.new.clear();
            } else if !self.new.is_empty() {
                self.queue.push_back(Asked::Some);
            }
            let unasked = std::mem::take(&mut self.unasked);
            let figures = self.watch.state().table.figures(unasked.iter().map(String::as_str));
            self.ask_of(figures);
            if std::mem::take(&mut self.stale) {
                self.queue.push_back(Asked::SystemState);
            }
        }
        while self.waiting.len() < MOST_CALLS
            && let Some(asked) = self.queue.pop_front()
        {
            let message = self.question(&asked).map_err(|e| format!("{asked:?} cannot be asked: {e}"))?;
            match timeout(ANSWER, self.bus.send(&message)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return Err(format!("the system bus went away: {e}")),
                Err(_) => return Err(format!("the system bus has taken nothing for {ANSWER:?}")),
            }
            self.waiting.insert(message.primary_header().serial_num(), (asked, Instant::now() + ANSWER));
        }
        Ok(())
    }

    fn question(&mut self, asked: &Asked) -> zbus::Result<Message> {
        let call = |to: &'static str, path: &str, interface: &'static str, method: &'static str| {
            let path = ObjectPath::try_from(path.to_owned())?;
            Ok::<_, zbus::Error>(Message::method_call(path, method).destination(to).interface(interface).with_flags(Flags::NO_AUTO_START))
        };
        let get = |path: &str, interface: &str, name: &str| call(SYSTEMD, path, PROPERTIES, "Get")?.build(&(interface, name));
        match asked {
            Asked::Rule => {
                let rules_left = self.queue.iter().filter(|a| matches!(a, Asked::Rule)).count();
                let rule = RULES.iter().rev().nth(rules_left).copied().unwrap_or_default();
                call(BUS, "/org/freedesktop/DBus", BUS, "AddMatch")?.build(&(rule,))
            }
            Asked::Subscribe => call(SYSTEMD, MANAGER_PATH, MANAGER, "Subscribe")?.build(&()),
            Asked::All => call(SYSTEMD, MANAGER_PATH, MANAGER, "ListUnits")?.build(&()),
            // Unlike asking for a unit itself, this loads none that is gone already, which would be told as new again.
            Asked::Some => {
                let names: Vec<String> = std::mem::take(&mut self.new).into_iter().collect();
                call(SYSTEMD, MANAGER_PATH, MANAGER, "ListUnitsByPatterns")?.build(&(Vec::<&str>::new(), names))
            }
            Asked::Version => get(MANAGER_PATH, MANAGER, "Version"),
            Asked::Virtualization => get(MANAGER_PATH, MANAGER, "Virtualization"),
            Asked::SystemState => get(MANAGER_PATH, MANAGER, "SystemState"),
            Asked::Figure(name, figure) => get(&unit_path(name), figure.interface(), figure.property()),
        }
    }

    /// Takes in one message.
    ///
    /// # Errors
    /// When nothing more is to be expected of this connection.
    fn hear(&mut self, message: &Message) -> Result<(), String> {
        let header = message.header();
        match message.message_type() {
            Type::Signal if header.sender().is_some_and(|s| self.systemd.as_ref().is_some_and(|own| own.as_str() == s.as_str())) => {
                self.signal(message).map_err(|e| format!("a signal of systemd cannot be read: {e}"))
            }
            // The only signal of the bus itself that was asked for; what it tells each client of its own name is none.
            Type::Signal if header.sender().is_some_and(|s| s.as_str() == BUS) => {
                match message.body().deserialize::<(&str, &str, &str)>() {
                    Ok((SYSTEMD, ..)) => Err("systemd left the bus or came back to it".to_owned()),
                    _ => Ok(()),
                }
            }
            Type::MethodReturn | Type::Error => {
                let Some((asked, _)) = header.reply_serial().and_then(|serial| self.waiting.remove(&serial)) else { return Ok(()) };
                if matches!(asked, Asked::Subscribe) {
                    self.systemd = header.sender().map(|s| s.to_owned().into());
                }
                let refused = message.message_type() == Type::Error;
                match asked {
                    // A unit that is gone by now, or an old systemd without the property: it stays unknown.
                    Asked::Figure(..) | Asked::Version | Asked::Virtualization if refused => Ok(()),
                    // systemd before 230.
                    Asked::Some if refused => {
                        self.list_soon();
                        Ok(())
                    }
                    asked if refused => {
                        let why = message.body().deserialize::<&str>().map(str::to_owned).unwrap_or_default();
                        Err(format!("{asked:?}: {}: {why}", header.error_name().map_or("error", |n| n.as_str())))
                    }
                    asked => self.answer(&asked, message).map_err(|e| format!("{asked:?}: the answer cannot be read: {e}")),
                }
            }
            Type::Signal | Type::MethodCall => Ok(()),
        }
    }

    fn answer(&mut self, asked: &Asked, message: &Message) -> zbus::Result<()> {
        let body = message.body();
        let mut failed = Vec::new();
        match asked {
            Asked::Rule | Asked::Subscribe => {}
            Asked::All | Asked::Some => {
                let listed: Vec<ListedUnit<'_>> = body.deserialize()?;
                let listed: Vec<Listed<'_>> =
                    listed.iter().map(|(name, _, load, active, sub, ..)| Listed { name, load, active, sub }).collect();
                let mut state = self.watch.state();
                let all = matches!(asked, Asked::All);
                if all {
                    self.listed_at = Some(Instant::now());
                    failed = state.table.replace(&listed);
                } else {
                    failed = state.table.add(&listed);
                }
                let (now, later): (Vec<&Listed<'_>>, Vec<_>) = listed.iter().partition(|l| all || l.active != "inactive");
                let figures = state.table.figures(now.iter().map(|l| l.name));
                state.lost = None;
                drop(state);
                self.ask_of(figures);
                if !later.is_empty() {
                    self.unasked.extend(later.iter().map(|l| l.name.to_owned()));
                    self.settle();
                }
            }
            Asked::SystemState => self.watch.state().table.system_state(<&str>::try_from(&body.deserialize::<Variant<'_>>()?)?),
            Asked::Version => self.watch.state().table.version(<&str>::try_from(&body.deserialize::<Variant<'_>>()?)?),
            Asked::Virtualization => self.watch.state().table.virtualization(<&str>::try_from(&body.deserialize::<Variant<'_>>()?)?),
            Asked::Figure(name, figure) => {
                if let Some(value) = value_of(&body.deserialize::<Variant<'_>>()?) {
                    self.watch.state().table.figure(name, *figure, value);
                }
            }
        }
        failed.iter().for_each(|name| (self.failed)(name));
        Ok(())
    }

    fn signal(&mut self, message: &Message) -> zbus::Result<()> {
        let (header, body) = (message.header(), message.body());
        match header.member().map(|m| m.as_str()).unwrap_or_default() {
            "PropertiesChanged" => {
                let Some(name) = header.path().and_then(|p| parse_unit_path(p.as_str())) else { return Ok(()) };
                let (interface, changed, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) = body.deserialize()?;
                let text = |property: &str| changed.get(property).and_then(|v| <&str>::try_from(v).ok());
                if interface == UNIT {
                    let active = text("ActiveState");
                    let fails = self.watch.state().table.state(&name, active, text("SubState"));
                    if active.is_some() {
                        self.stale = true;
                        self.unasked.extend(socket_of(&name));
                        self.settle();
                        if self.watch.state().table.is_not_loaded(&name) {
                            self.new.insert(name.clone());
                        }
                    }
                    if fails {
                        (self.failed)(&name);
                    }
                } else {
                    for figure in Figure::of(&name).iter().filter(|f| f.interface() == interface) {
                        if let Some(value) = changed.get(figure.property()).and_then(value_of) {
                            self.watch.state().table.figure(&name, *figure, value);
                        }
                    }
                }
            }
            "UnitNew" => {
                let (name, _): (&str, ObjectPath<'_>) = body.deserialize()?;
                self.new.insert(name.to_owned());
                self.unasked.extend(socket_of(name));
                self.settle();
            }
            "UnitRemoved" => {
                let (name, _): (&str, ObjectPath<'_>) = body.deserialize()?;
                self.new.remove(name);
                self.watch.state().table.remove(name);
                self.unasked.extend(socket_of(name));
                self.stale = true;
                self.settle();
            }
            // The last job of a boot makes `starting` `running`, and no unit need change for it.
            "JobRemoved" => {
                self.stale = true;
                self.settle();
            }
            "Reloading" if !body.deserialize::<bool>()? => self.list_soon(),
            _ => {}
        }
        Ok(())
    }

    fn ask_of(&mut self, figures: Vec<(String, Figure)>) {
        self.queue.extend(figures.into_iter().map(|(name, figure)| Asked::Figure(name, figure)));
    }

    fn settle(&mut self) {
        self.settled_at.get_or_insert_with(|| Instant::now() + SETTLE);
    }

    fn list_soon(&mut self) {
        let earliest = self.listed_at.map_or_else(Instant::now, |at| at + LIST_AT_MOST_EVERY);
        self.list_at = self.list_at.min(earliest.max(Instant::now() + SETTLE));
    }
}

/// `None`: it is neither text nor a number of those that are asked.
fn value_of<'a>(variant: &'a Variant<'_>) -> Option<Value<'a>> {
    if let Ok(text) = <&str>::try_from(variant) {
        return Some(Value::Text(text));
    }
    u32::try_from(variant).map(u64::from).or_else(|_| u64::try_from(variant)).ok().map(Value::Number)
}
