//! How soon a memory stall is noticed, how soon after that a sample of it is ready, and how soon the first step is done.
//!
//! `cargo bench --bench reaction`; `BYTEPORT_BENCH_ROUNDS` sets how often (40; one takes a second and a half). Four things are measured, each
//! beside a bare loop in the same run that does the same and nothing else:
//!
//! - *called*: from a wake-up by the kernel to the waiter's return. A descriptor that is called stands in for a pressure trigger, which wakes in
//!   the same way.
//! - *looked*: from the growth of a total in a file of our own to the waiter's return, where no trigger is to be had, and on to the end of the
//!   fast sample.
//! - *way*: from the stall that was told to the first step done, on a host that is well (`reaction/way.rs`).
//! - *stalled*: the same as *looked* by the host's own file, in the best way that this kernel allows, while `BYTEPORT_BENCH_PRESSURE` runs: a shell command that
//!   makes memory pressure in a cgroup of its own. For a virtual machine; left out where it is not set. It begins when somebody who looks every
//!   millisecond has seen 150 ms of stall within a second.

#[path = "../tests/acting/mod.rs"]
mod acting;
#[path = "reaction/way.rs"]
mod way;

use std::collections::VecDeque;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use byteport::host::{LiveHost, Wake};
use byteport::sense::{Sampler, Want};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

const STALLED_US: u64 = 150_000;
const LOOK_EVERY: Duration = Duration::from_millis(200);
const CALLS: usize = 2000;
const LONGEST: Duration = Duration::from_secs(30);

fn main() {
    let rounds = std::env::var("BYTEPORT_BENCH_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(40);
    let mut sampler = Sampler::new(Arc::new(LiveHost::new(Path::new("/"), None, None).expect("this host")), 5.0);
    drop(sampler.sample(Want::Everything));
    println!("{:<28} {:>12} {:>12} {:>8} {:>8}", "", "p50 us", "p99 us", "p50 x", "p99 x");
    called();
    looked(rounds, &mut sampler);
    way::went(rounds, &mut sampler);
    match std::env::var("BYTEPORT_BENCH_PRESSURE") {
        Ok(command) => stalled(rounds, &command, &mut sampler),
        Err(_) => println!("stalled: left out, BYTEPORT_BENCH_PRESSURE names no command (for a virtual machine only)"),
    }
}

/// The wake-up alone.
fn called() {
    let mut wake = Wake::new(Path::new("/")).expect("a descriptor");
    let waker = wake.waker();
    let ours = calls(move || waker.wake(), move || wake.wait(LONGEST).called);
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("a descriptor"));
    let ring = Arc::clone(&bell);
    let bare = calls(
        move || assert_eq!(rustix::io::write(&*ring, &1_u64.to_ne_bytes()), Ok(8)),
        move || {
            let mut polled = [PollFd::new(&*bell, PollFlags::IN)];
            let rung = poll(&mut polled, Timespec::try_from(LONGEST).ok().as_ref()) == Ok(1);
            rung && rustix::io::read(&*bell, &mut [0; 8]) == Ok(8)
        },
    );
    line("called, bare", &bare, &bare);
    line("called", &ours, &bare);
}

/// Microseconds from each call to the return of whoever waited for it.
fn calls(call: impl Fn() + Send + 'static, mut wait: impl FnMut() -> bool + Send + 'static) -> Vec<f64> {
    let (sender, woken) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        for _ in 0..CALLS {
            while !wait() {}
            sender.send(Instant::now()).expect("somebody counts");
        }
    });
    let mut took = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        // It must be asleep.
        std::thread::sleep(Duration::from_millis(1));
        let begun = Instant::now();
        call();
        let ended = woken.recv().expect("it was called");
        took.push(us(ended.saturating_duration_since(begun)));
    }
    waiter.join().expect("it ends");
    took
}

/// Growth of a file of ours.
fn looked(rounds: usize, sampler: &mut Sampler) {
    let root = tempfile::tempdir().expect("scratch folder");
    std::fs::create_dir_all(root.path().join("proc/pressure")).expect("scratch folder");
    let path = root.path().join("proc/pressure/memory");
    let file = File::create(&path).expect("a file of ours");
    let mut total_us = 0;
    grow(&file, total_us);
    let mut wake = Wake::new(root.path()).expect("a descriptor");
    let (mut bare, mut woke, mut sampled) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let path = path.clone();
        let from_us = total_us;
        let floor = std::thread::spawn(move || bare_look(&path, from_us, LOOK_EVERY));
        total_us += 2 * STALLED_US;
        let (to_us, file) = (total_us, file.try_clone().expect("a descriptor"));
        // At every phase of whoever looks, and more than a second after the growth before.
        let apart = Duration::from_millis(1200 + 37 * (round as u64 % 11));
        let grown = std::thread::spawn(move || {
            std::thread::sleep(apart);
            let at = Instant::now();
            grow(&file, to_us);
            at
        });
        let mut stall = None;
        let begun = Instant::now();
        while stall.is_none() && begun.elapsed() < LONGEST {
            stall = wake.wait(LONGEST).stall;
        }
        let told = Instant::now();
        sampler.told_of(stall.expect("the file grew"));
        black_box(sampler.sample(Want::Stall { sweep: true }));
        let ready = Instant::now();
        let at = grown.join().expect("it ends");
        woke.push(us(told.saturating_duration_since(at)));
        sampled.push(us(ready.saturating_duration_since(told)));
        bare.push(us(floor.join().expect("it ends").saturating_duration_since(at)));
    }
    line("looked, bare", &bare, &bare);
    line("looked", &woke, &bare);
    line("  then the fast sample", &sampled, &bare);
}

/// Pressure of the host's own.
fn stalled(rounds: usize, command: &str, sampler: &mut Sampler) {
    let path = Path::new("/proc/pressure/memory");
    let (mut woke, mut sampled, mut missed) = (Vec::new(), Vec::new(), 0);
    let mut wake = Wake::new(Path::new("/")).expect("a descriptor");
    println!("stalled: {}", wake.without_stall_trigger().unwrap_or_else(|| "the kernel tells".into()));
    for _ in 0..rounds {
        // What is left of the round before is no part of this one.
        std::thread::sleep(Duration::from_secs(2));
        while wake.wait(Duration::from_millis(1100)).stall.is_some() {}
        let floor = std::thread::spawn(move || first_stall(path));
        let mut pressure = Command::new("sh").args(["-c", command]).process_group(0).spawn().expect("the command");
        let (mut stall, begun) = (None, Instant::now());
        while stall.is_none() && begun.elapsed() < LONGEST {
            stall = wake.wait(LONGEST.saturating_sub(begun.elapsed())).stall;
        }
        let told = Instant::now();
        if let Some(stall) = stall {
            sampler.told_of(stall);
            black_box(sampler.sample(Want::Stall { sweep: true }));
        }
        let ready = Instant::now();
        if let Some(group) = i32::try_from(pressure.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        drop(pressure.wait());
        let grown = floor.join().expect("it ends");
        if stall.is_none() {
            missed += 1;
            continue;
        }
        woke.push(us(told.saturating_duration_since(grown)));
        sampled.push(us(ready.saturating_duration_since(told)));
    }
    println!("stalled: {missed} of {rounds} rounds brought none within {} s", LONGEST.as_secs());
    if !woke.is_empty() {
        line("stalled", &woke, &woke);
        line("  then the fast sample", &sampled, &woke);
    }
}

/// What nobody can do sooner with as many looks: a read, its digits, and nothing else. When it saw the growth.
fn bare_look(path: &Path, from_us: u64, every: Duration) -> Instant {
    let file = File::open(path).expect("the file is there");
    let begun = Instant::now();
    while total(&file) < from_us + STALLED_US && begun.elapsed() < LONGEST {
        std::thread::sleep(every);
    }
    Instant::now()
}

/// When a stall was there to be seen.
fn first_stall(path: &Path) -> Instant {
    let file = File::open(path).expect("the file is there");
    let (begun, mut seen) = (Instant::now(), VecDeque::new());
    loop {
        let (now, full_us) = (Instant::now(), total(&file));
        while seen.front().is_some_and(|(then, _)| now.duration_since(*then) > Duration::from_secs(1)) {
            seen.pop_front();
        }
        if seen.front().is_some_and(|(_, before_us)| full_us - before_us > STALLED_US) || now.duration_since(begun) > LONGEST {
            return now;
        }
        seen.push_back((now, full_us));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The number at the end of the line that begins with `full`.
fn total(file: &File) -> u64 {
    let mut text = [0; 512];
    let read = file.read_at(&mut text, 0).expect("a pressure file");
    let full = text[..read].split(|b| *b == b'\n').find(|l| l.starts_with(b"full")).unwrap_or_default();
    full.rsplit(|b| *b == b'=').next().unwrap_or_default().iter().fold(0, |n, b| n * 10 + u64::from(b - b'0'))
}

fn grow(file: &File, full_us: u64) {
    let line = |kind| format!("{kind} avg10=0.00 avg60=0.00 avg300=0.00 total={full_us:020}\n");
    file.write_all_at((line("some") + &line("full")).as_bytes(), 0).expect("a file of ours");
}

fn us(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

fn line(name: &str, of: &[f64], floor: &[f64]) {
    let at = |of: &[f64], share: f64| {
        let mut sorted = of.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * share).round() as usize]
    };
    let (half, most) = (at(of, 0.5), at(of, 0.99));
    println!("{name:<28} {half:>12.1} {most:>12.1} {:>8.2} {:>8.2}", half / at(floor, 0.5), most / at(floor, 0.99));
}
