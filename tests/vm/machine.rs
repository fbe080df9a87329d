//! One virtual machine: QEMU with a fixed set of devices, so that a state that was saved by one can be taken up by another.
//!
//! No network but its own loopback. It ends with us: asked through its monitor, else by its own pid.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::accelerator::Accelerator;
use crate::exec::Guest;
use crate::image::Image;
use crate::support::output;
use crate::talk::Talk;

pub const QEMU: &str = "qemu-system-x86_64";
/// Part of what a saved state is good for.
pub const SIZE: [&str; 4] = ["-smp", "2", "-m", "1024"];
const KERNEL_LINE: &str = "console=ttyS0 rw panic=-1 quiet psi=1 mitigations=off tsc=unstable systemd.getty_auto=no";
const DISKS: [&str; 3] = ["root", "scratch0", "scratch1"];
const SCRATCH_SIZE: u64 = 512 << 20;
const MONITOR: Duration = Duration::from_secs(30);

/// Its disks in this folder: the system's a copy of `root`, the others empty. Files with holes, so that they take half a gigabyte.
pub fn make_disks(root: &Path, dir: &Path) {
    output(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(root).arg(disk(dir, "root")));
    for name in DISKS.into_iter().skip(1) {
        File::create(disk(dir, name)).and_then(|file| file.set_len(SCRATCH_SIZE)).expect("a scratch disk");
    }
}

pub fn remove_disks(dir: &Path) {
    DISKS.into_iter().for_each(|name| drop(fs::remove_file(disk(dir, name))));
}

pub fn disk(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.raw"))
}

#[derive(Debug)]
pub struct Machine {
    process: Started,
    monitor: Talk,
    /// Here and not in the machine's own folder: the path of a socket has at most 107 bytes.
    sockets: tempfile::TempDir,
}

impl Machine {
    /// Boots from `root.raw` and the scratch disks of this folder, or takes up a state in which those were its disks. The console goes
    /// to `console.log`.
    pub fn start(image: &Image, accelerator: Accelerator, payload: &Path, dir: &Path, state: Option<&Path>) -> Result<Machine, String> {
        let sockets = tempfile::tempdir().expect("temp dir");
        let socket = |name: &str| sockets.path().join(name);
        // The program follows us out of the world: also where we are ended without a chance to clean up.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", QEMU, "-nodefaults", "-no-user-config", "-M", "q35", "-display", "none", "-no-reboot"]);
        command.args(accelerator.arguments()).args(SIZE).args(["-nic", "none", "-rtc", "base=utc,clock=vm"]);
        command.arg("-kernel").arg(image.kernel()).arg("-initrd").arg(image.initrd()).args(["-append", KERNEL_LINE]);
        let console = format!("file,id=console,path={},append=on", dir.join("console.log").display());
        command.args(["-chardev", &console, "-serial", "chardev:console"]);
        command.args(["-qmp", &format!("unix:{},server=on,wait=off", socket("monitor").display())]);
        command.args(["-device", "virtio-serial-pci", "-device", "virtio-rng-pci"]);
        command.args(["-chardev", &format!("socket,id=agent,path={},server=on,wait=off", socket("agent").display())]);
        command.args(["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]);
        let mut drive = |name: &str, path: &Path, options: &str| {
            command.args(["-drive", &format!("file={},if=none,id={name},{options}", path.display())]);
            command.args(["-device", &format!("virtio-blk-pci,drive={name},serial={name}")]);
        };
        // Flushes come to nothing: what the guest wrote is lost with the guest's own memory only, which is what a power cut is here.
        for name in DISKS {
            drive(name, &disk(dir, name), "format=raw,cache=unsafe");
        }
        drive("payload", payload, "format=raw,readonly=on");
        if let Some(state) = state {
            command.args(["-incoming", &format!("exec:cat '{}'", state.display())]);
        }
        let errors = File::create(dir.join("qemu.log")).expect("qemu.log");
        command.stdin(Stdio::null()).stdout(errors.try_clone().expect("qemu.log")).stderr(errors);
        let process = Started::of(command);
        let mut monitor = Talk::connect(&socket("monitor"), MONITOR)?;
        monitor.ask("qmp_capabilities", json!({}), MONITOR)?;
        Ok(Machine { process, monitor, sockets })
    }

    pub fn ask(&mut self, execute: &str, arguments: Value) -> Result<Value, String> {
        self.monitor.ask(execute, arguments, MONITOR)
    }

    /// The agent in the guest, once it answers.
    pub fn guest(&self, limit: Duration) -> Result<Guest, String> {
        Guest::reached(&self.sockets.path().join("agent"), limit)
    }

    /// Waits until it has ended by itself.
    pub fn ended(mut self, limit: Duration) -> Result<(), String> {
        self.process.ends_within(limit).map(drop).ok_or_else(|| format!("it is still there after {limit:?}"))
    }

    /// Ends it, whatever it is doing: as where the power is cut.
    pub fn end(mut self) {
        drop(self.ask("quit", json!({})));
        self.process.ends_within(Duration::from_secs(10));
    }
}

/// A process of ours, killed by its pid when it is dropped.
#[derive(Debug)]
pub struct Started(Child);

impl Started {
    pub fn of(mut command: Command) -> Started {
        Started(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    pub fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.0.try_wait().expect("wait") {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, which is fine.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
