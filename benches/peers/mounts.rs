//! Mounts that hang, and very many of them. Only in namespaces of its own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::contender::{Contender, Cost, MATCHED, in_turn};
use crate::floor::BareReads;
use crate::hang_fuse::HangFuse;
use crate::host::looked;
use crate::scrape::Scraper;
use crate::table::Table;

const REPETITIONS: usize = 3;
const SCRAPES: usize = 12;
const BETWEEN: Duration = Duration::from_millis(300);
const BINDS: usize = 5_000;

/// What a scraper meets while mounts begin to hang.
struct Behind {
    answered: usize,
    /// How many the last page says to hang.
    said: usize,
    slowest_us: f64,
    readers: usize,
}

impl Behind {
    /// A connection for each scrape: one that is not answered does not end the others.
    fn hung(count: usize, scratch: &Path, contender: &Contender, patience: Duration, scrapes: usize) -> Self {
        let mount = |n: usize| {
            let at = scratch.join(format!("hung-{n}"));
            fs::create_dir_all(&at).expect("scratch");
            HangFuse::mount(&at)
        };
        let _hung: Vec<HangFuse> = (0..count).map(mount).collect();
        let (mut walls, mut said) = (Vec::new(), 0);
        for _ in 0..scrapes {
            std::thread::sleep(BETWEEN);
            let asked = Instant::now();
            let mut scraper = Scraper::connect(contender.port, patience).expect("connected");
            if let Ok(page) = scraper.scrape() {
                walls.push(asked.elapsed().as_secs_f64() * 1e6);
                said = said_to_hang(page);
            }
        }
        let slowest_us = walls.iter().copied().fold(0.0, f64::max);
        Self { answered: walls.len(), said, slowest_us, readers: contender.threads("byteport-read") }
    }
}

fn said_to_hang(page: &[u8]) -> usize {
    let said = |line: &&str| line.starts_with("node_filesystem_device_error{") && line.contains("fuse.hang") && line.ends_with(" 1");
    String::from_utf8_lossy(page).lines().filter(said).count()
}

/// The slowest scrape of the best repetition: what hangs for anybody hangs in each of them. The agent samples every second meanwhile, and has
/// to find out within the time of a repetition.
pub fn hung(scratch: &Path, table: &mut Table) {
    let tried = |count: usize| -> Vec<Behind> {
        let agent = || Contender::sampled_agent(scratch, "sample_interval = \"1s\"\n");
        (0..REPETITIONS).map(|_| Behind::hung(count, scratch, &agent(), Duration::from_secs(10), SCRAPES)).collect()
    };
    let slowest_us = |tries: &[Behind]| tries.iter().map(|b| b.slowest_us).fold(f64::INFINITY, f64::min);
    let readers = |tries: &[Behind]| tries.iter().map(|b| b.readers).max().unwrap_or_default();
    let usual = tried(0);
    for count in [1, 5] {
        let tries = tried(count);
        let lost = REPETITIONS * SCRAPES - tries.iter().map(|b| b.answered).sum::<usize>();
        let said = tries.iter().map(|b| b.said).min().unwrap_or_default();
        let more = readers(&tries).saturating_sub(readers(&usual));
        let mut goal = |what: &str, most: f64, ours: f64, theirs: f64| {
            table.goal("7 hung mounts", format!("{count} hung, {what}"), most, Some(ours), Some(theirs));
        };
        goal("scrapes lost", 0.0, lost as f64, 1.0);
        goal("not said to hang", 0.0, count.saturating_sub(said) as f64, 1.0);
        goal("slowest to the usual slowest, us", 3.0, slowest_us(&tries), slowest_us(&usual));
        goal("reading threads more for each", 1.0, more as f64, count as f64);
        if let Some(node_exporter) = Contender::node_exporter(MATCHED) {
            let theirs = Behind::hung(count, scratch, &node_exporter, Duration::from_secs(1), 4);
            println!("{count} hung: node_exporter answered {} of 4 scrapes within a second each", theirs.answered);
        }
    }
}

/// Scratch below scratch: nothing but a tmpfs of our own is mounted again.
fn bind_many(at: &Path) {
    mount(Some("scratch"), at, Some("tmpfs"), MsFlags::empty(), Some("size=64m")).expect("tmpfs");
    for n in 0..=BINDS {
        fs::create_dir(at.join(n.to_string())).expect("scratch");
    }
    for n in 1..=BINDS {
        mount(Some(&at.join("0")), &at.join(n.to_string()), None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("bind mount");
    }
}

pub fn many(scratch: &Path, table: &mut Table) {
    let at = scratch.join("many");
    fs::create_dir(&at).expect("scratch");
    bind_many(&at);
    let agent = Contender::agent(scratch, "", Some("host"));
    let filesystem =
        Contender::node_exporter(&["--collector.disable-defaults", "--collector.filesystem", "--web.disable-exporter-metrics"]);
    let mut bare = BareReads::new();
    let [ours, floor, theirs] = in_turn(
        5,
        [&mut || Some(agent.scraped(10)), &mut || Some(looked(4, || bare.look())), &mut || Some(filesystem.as_ref()?.scraped(2))],
    );
    let cpu = |cost: Option<Cost>| Some(cost?.cpu_us);
    let bytes = |c: &Contender| c.scraper().scrape().expect("a page").len() as f64;
    let theirs_of = |figure: fn(&Contender) -> f64| filesystem.as_ref().map(figure);
    table.goal("8 5,000 bind mounts", "bare reads, CPU us", 0.15, cpu(ours), cpu(floor));
    table.goal("8 5,000 bind mounts", "node_exporter filesystem, CPU us", 0.02, cpu(ours), cpu(theirs));
    table.goal("8 5,000 bind mounts", "node_exporter filesystem, bytes", 0.05, Some(bytes(&agent)), theirs_of(bytes));
    let rss = |c: &Contender| c.memory().rss_kib;
    table.goal("8 5,000 bind mounts", "node_exporter filesystem, RSS KiB", 0.40, Some(rss(&agent)), theirs_of(rss));
    drop((agent, filesystem));
    umount2(&at, MntFlags::MNT_DETACH).expect("unmounted with all that is below it");
}
