//! A host on which the agent has looked on for a while: it knows what is usual, and what has been growing.
//!
//! No line is drawn through less than five minutes, and nothing is called usual before ten. So it is lived once for a package, and saved;
//! a scenario goes on from there. Until it makes one of them sick, all units are well but grow a little.

use std::time::Duration;

use super::{cpu, memory};
use crate::faults::{Consent, Unit};
use crate::host::Host;

const LIFE: Duration = Duration::from_secs(11 * 60);

/// Has no limit of its own: when it leaks, the host is short.
pub const APP: &str = "app.service";
/// Has a limit.
pub const WEB: &str = "web.service";
/// Has one, and keeps state by its name.
pub const REDIS: &str = "redis.service";
/// Has one, and was released just before it began to grow.
pub const SHOP: &str = "shop.service";
pub const RELEASE: &str = "2.0.1";

/// Part of what the saved state is good for.
pub const RECIPE: [&str; 6] = [include_str!("aged.rs"), memory::SHORT, memory::LIMITS, memory::LIMITED, cpu::SHORT, cpu::LIMITS];

pub fn live(host: &mut Host<'_>) {
    host.faults();
    let limited = |name, run| Unit { name, run, lines: memory::LIMITED, consent: Consent::None };
    host.units(&[
        Unit { name: APP, run: "/usr/local/bin/sick app 4000", lines: "", consent: Consent::None },
        limited(WEB, "/usr/local/bin/sick web 226"),
        limited(REDIS, "/usr/local/bin/sick redis 226"),
        limited(SHOP, "/usr/local/bin/sick shop 226"),
    ]);
    host.installed(
        &format!(
            "mode = \"act\"\nallow = [\"memory\", \"cpu\"]\nsample_interval = \"2s\"\n[memory]\n{}\n[memory.limits]\n{}[cpu]\n{}\n[cpu.limits]\n{}",
            memory::SHORT,
            memory::LIMITS,
            cpu::SHORT,
            cpu::LIMITS
        ),
        &format!("allow = [\"memory\", \"cpu\"]\n[memory]\n{}[cpu]\n{}", memory::LIMITS, cpu::LIMITS),
    );
    host.sh(&format!("byteportctl mark-deploy shop {RELEASE}; systemctl start app web redis shop"));
    std::thread::sleep(LIFE);
    // Nothing was wrong yet.
    host.nothing_was_found("memory");
    host.nothing_was_found("cpu");
}

/// From now on it leaks. Seconds on the boot clock.
pub fn leaks(host: &mut Host<'_>, unit: &str) -> f64 {
    let fault = host.uptime();
    host.sh(&format!("touch /run/leak-{}", unit.trim_end_matches(".service")));
    fault
}

/// From now on it spins, for so long.
pub fn spins(host: &mut Host<'_>, unit: &str, seconds: u64) -> f64 {
    let name = unit.trim_end_matches(".service");
    let fault = host.uptime();
    host.sh(&format!("touch /run/spin-{name}; systemd-run -q --on-active={seconds} --timer-property=AccuracySec=1s rm /run/spin-{name}"));
    fault
}
