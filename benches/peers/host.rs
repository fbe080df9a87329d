//! What a host without anything special costs: samples, scrapes, memory and system calls.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::contender::{Contender, Cost, MATCHED, in_turn};
use crate::floor::{BareReads, cpu_us};
use crate::table::Table;

const ROUNDS: usize = 25;
const LOOKS: usize = 20;

/// One look's part of so many.
pub fn looked(times: usize, mut look: impl FnMut()) -> Cost {
    let (begun, asked) = (cpu_us(), Instant::now());
    for _ in 0..times {
        look();
    }
    Cost { cpu_us: (cpu_us() - begun) / times as f64, wall_us: asked.elapsed().as_secs_f64() * 1e6 / times as f64 }
}

pub fn sample(scratch: &Path, table: &mut Table) {
    let agent = Contender::agent(scratch, "", Some("host"));
    let matched = Contender::node_exporter(MATCHED);
    let mut bare = BareReads::new();
    let [ours, floor, theirs] = in_turn(
        ROUNDS,
        [&mut || Some(agent.scraped(LOOKS)), &mut || Some(looked(LOOKS, || bare.look())), &mut || Some(matched.as_ref()?.scraped(LOOKS))],
    );
    let cpu = |cost: Option<Cost>| Some(cost?.cpu_us);
    table.goal("1 sample and page", "bare reads, CPU us", 2.0, cpu(ours), cpu(floor));
    table.goal("1 sample and page", "node_exporter matched, CPU us", 0.20, cpu(ours), cpu(theirs));

    let calls = agent.system_calls(scratch, LOOKS).map_err(|why| table.left_out(format!("system calls: {why}"))).ok();
    let theirs = matched.as_ref().and_then(|m| m.system_calls(scratch, LOOKS).ok());
    table.goal("6 system calls", "of a sample and a page", 52.0, calls, Some(1.0));
    table.goal("6 system calls", "node_exporter matched", 0.26, calls, theirs);
}

/// As it ships: sampled by the clock, answered from what is ready.
pub fn scrape(scratch: &Path, table: &mut Table) {
    let agent = Contender::sampled_agent(scratch, "");
    let matched = Contender::node_exporter(MATCHED);
    let page = agent.scraper().scrape().expect("a page").to_vec();
    let ready = Contender::ready_body(scratch, &page);
    let [ours, floor, theirs] = in_turn(
        ROUNDS,
        [&mut || Some(agent.scraped(LOOKS)), &mut || Some(ready.scraped(LOOKS)), &mut || Some(matched.as_ref()?.scraped(LOOKS))],
    );
    let wall = |cost: Option<Cost>| Some(cost?.wall_us);
    table.goal("2 scrape", "a ready body, median us", 3.0, wall(ours), wall(floor));
    table.goal("2 scrape", "a ready body, CPU us", 4.0, ours.map(|c| c.cpu_us), floor.map(|c| c.cpu_us));
    table.goal("2 scrape", "node_exporter matched, median us", 0.15, wall(ours), wall(theirs));
}

/// Of one process each, because what two share counts half for both.
pub fn memory(scratch: &Path, table: &mut Table) {
    let agent = Contender::sampled_agent(scratch, "");
    let default = Contender::node_exporter(&[]);
    for _ in 0..5 {
        for contender in [Some(&agent), default.as_ref()].into_iter().flatten() {
            contender.scraped(10);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let (ours, theirs) = (agent.memory(), default.map(|d| d.memory()));
    table.goal("5 memory", "node_exporter, RSS KiB", 0.40, Some(ours.rss_kib), theirs.as_ref().map(|m| m.rss_kib));
    table.goal("5 memory", "node_exporter, PSS KiB", 0.35, Some(ours.pss_kib), theirs.as_ref().map(|m| m.pss_kib));
}
