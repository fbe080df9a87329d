//! The actuator: the only program that changes anything. No network, one small socket for the agent's user, its own policy and ledger.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use byteport::act::server::{Server, Settings, bind};
use byteport::cli::args::Actuator as Args;
use byteport::host::{Clock, LiveHost};
use byteport::record::Ledger;
use byteport::{config, events, host};
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            drop(e.print());
            return if e.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    let loaded = match config::load_actuator(&args.config, &|key| std::env::var_os(key).map(|v| v.to_string_lossy().into_owned())) {
        Ok(loaded) => loaded,
        Err(problems) => {
            problems.iter().for_each(|p| eprintln!("{p}\n"));
            return ExitCode::from(64);
        }
    };
    match run(&args, loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("byteport-actuator: {e:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args, loaded: config::Loaded<config::Actuator>) -> anyhow::Result<()> {
    let config = loaded.config.clone();
    events::init_log(config.log_level);
    loaded.notes.iter().for_each(|note| tracing::warn!("configuration: {note}"));
    host::stay_resident().unwrap_or_else(|e| tracing::warn!("{e}"));
    let host = Arc::new(LiveHost::new(Path::new("/"), None, None)?);
    let mut ledger = Ledger::open(&config.state_dir)?;
    if args.trust_new_ledger {
        return Ok(ledger.trust(&host::user_name(rustix::process::getuid().as_raw()), &host.now())?);
    }
    if let Some(why) = ledger.health().why() {
        tracing::error!("nothing will be done to this host: {why}");
    }
    // Blocked before any thread starts, so that all of them leave these to the descriptor.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block()?;
    let stop = SignalFd::new(&signals)?;
    let user = nix::unistd::User::from_name(&config.agent_user)?
        .with_context(|| format!("agent_user {}: there is no such user", config.agent_user))?;
    let listener = bind(&config.socket, user.gid.as_raw())?;
    let settings = Settings {
        agent_uid: user.uid.as_raw(),
        root: "/".into(),
        docker_socket: config.docker_socket,
        dry_run: config.dry_run,
        policies: config.policies,
    };
    let server = Server::new(listener, settings, ledger, host)?;
    tracing::info!("started: serving {} on {}", config.agent_user, config.socket.display());
    notify(sd_notify::NotifyState::Ready);
    Ok(server.run(stop.as_fd(), Duration::from_secs(5), &|| notify(sd_notify::NotifyState::Watchdog))?)
}

/// Where there is no systemd, there is nobody to tell.
fn notify(state: sd_notify::NotifyState<'_>) {
    drop(sd_notify::notify(&[state]));
}
