//! A booted machine, saved once; every scenario takes it up again within a second or two.
//!
//! Saved as a migration into a file: the disk stays a plain file, and any number of machines start from both.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::accelerator::Accelerator;
use crate::image::Image;
use crate::machine::{Machine, QEMU, SIZE, disk, make_disks};
use crate::support::nspawn::lock;
use crate::support::output;

/// Generous: translated, on a machine that has other work.
const BOOT: Duration = Duration::from_secs(300);
const SAVE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct Snapshot {
    pub image: Image,
    pub accelerator: Accelerator,
    dir: PathBuf,
}

impl Snapshot {
    /// Made where there is none for this image, QEMU and accelerator: a state is good for one of each.
    pub fn ready(image: Image, payload: &Path) -> Snapshot {
        let accelerator = Accelerator::found(&image);
        let mut key = DefaultHasher::new();
        (accelerator, SIZE, output(Command::new(QEMU).arg("--version")), include_str!("machine.rs")).hash(&mut key);
        let dir = image.dir.join(format!("booted-{:016x}", key.finish()));
        let _one_at_a_time = lock(&dir);
        if !dir.exists() {
            let unfinished = dir.with_extension("unfinished");
            drop(fs::remove_dir_all(&unfinished));
            fs::create_dir(&unfinished).expect("a folder for the snapshot");
            if let Err(why) = save(&image, accelerator, payload, &unfinished) {
                let console = fs::read(unfinished.join("console.log")).unwrap_or_default();
                panic!("the machine was not saved: {why}\n{}", String::from_utf8_lossy(&console));
            }
            fs::rename(&unfinished, &dir).expect("rename");
        }
        Snapshot { image, accelerator, dir }
    }

    /// A machine of its own, in the state that was saved, with its clock at the moment of saving.
    pub fn restore(&self, payload: &Path, dir: &Path) -> Result<Machine, String> {
        make_disks(&disk(&self.dir, "root"), dir);
        let mut machine = Machine::start(&self.image, self.accelerator, payload, dir, Some(&self.dir.join("state")))?;
        wait(&mut machine, "query-status", SAVE, |status| matches!(status, "running" | "paused"))?;
        machine.ask("cont", json!({}))?;
        Ok(machine)
    }

    /// One that has lived on from here: `live` leaves its disks and its state in a folder of this name. Kept until the name is another.
    pub fn older(&self, life: &str, name: &str, live: impl FnOnce(&Path) -> Result<(), String>) -> Result<Snapshot, String> {
        let dir = self.dir.join(life);
        let told = dir.join(name);
        if !told.exists() {
            drop(fs::remove_dir_all(&dir));
            fs::create_dir(&dir).map_err(|e| e.to_string())?;
            live(&dir)?;
            fs::write(told, "").map_err(|e| e.to_string())?;
        }
        Ok(Snapshot { image: self.image.clone(), accelerator: self.accelerator, dir })
    }

    /// The same machine again, from the disks that it left.
    pub fn boot_again(&self, payload: &Path, dir: &Path) -> Result<Machine, String> {
        Machine::start(&self.image, self.accelerator, payload, dir, None)
    }
}

fn save(image: &Image, accelerator: Accelerator, payload: &Path, dir: &Path) -> Result<(), String> {
    make_disks(&image.root(), dir);
    let machine = Machine::start(image, accelerator, payload, dir, None)?;
    let mut guest = machine.guest(BOOT)?;
    let ran = guest.run("systemctl is-system-running --wait; sync; echo 3 >/proc/sys/vm/drop_caches", BOOT)?;
    if !ran.said.starts_with("running") {
        return Err(format!("the system is {}\n{}", ran.said, guest.run("systemctl --failed --no-pager; dmesg | tail -30", BOOT)?.said));
    }
    write_state(machine, dir)
}

/// Stops it, and keeps what is in its memory beside its disks.
pub fn write_state(mut machine: Machine, dir: &Path) -> Result<(), String> {
    machine.ask("stop", json!({}))?;
    machine.ask("migrate-set-parameters", json!({ "max-bandwidth": 1_u64 << 40 }))?;
    machine.ask("migrate", json!({ "uri": format!("exec:cat >'{}'", dir.join("state").display()) }))?;
    wait(&mut machine, "query-migrate", SAVE, |status| status == "completed")?;
    machine.end();
    Ok(())
}

fn wait(machine: &mut Machine, question: &str, limit: Duration, there: impl Fn(&str) -> bool) -> Result<(), String> {
    let end = Instant::now() + limit;
    loop {
        let answer = machine.ask(question, json!({}))?;
        let status = answer["status"].as_str().unwrap_or_default();
        if there(status) {
            return Ok(());
        }
        if Instant::now() >= end || status == "failed" {
            return Err(format!("{question}: {answer}"));
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}
