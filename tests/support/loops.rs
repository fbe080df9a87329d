//! Scratch filesystems on loop devices. A machine has few of those, and all test processes share them.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{is_root, missing, on_path, output};

/// How many tests may use a loop device at a time; most kernels start with eight devices.
const SLOTS: usize = 6;

/// Held while a loop device is in use, so that all test processes of this machine together stay within what there is.
#[derive(Debug)]
pub struct LoopLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

/// Waits until a loop device may be taken.
pub fn loop_lock() -> LoopLock {
    loop {
        for slot in 0..SLOTS {
            let path = std::env::temp_dir().join(format!("byteport-tests-loop-{slot}.lock"));
            let file = OpenOptions::new().create(true).append(true).open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            if file.try_lock().is_ok() {
                return LoopLock(file);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// A loop device over an image of its own. Detached when dropped.
#[derive(Debug)]
pub struct LoopDisk {
    pub device: PathBuf,
    mounted: Option<PathBuf>,
    _image: tempfile::TempPath,
    _lock: LoopLock,
}

impl LoopDisk {
    /// ext4 of this size, made with these further arguments to mkfs. `None`, loudly, where there are no loop devices for us.
    pub fn ext4(bytes: u64, mkfs: &[&str]) -> Option<LoopDisk> {
        Self::made_by(&["mkfs.ext4", "-q", "-F"], bytes, mkfs)
    }

    /// XFS is not made smaller than 300 MiB; the image is sparse.
    pub fn xfs(bytes: u64, mkfs: &[&str]) -> Option<LoopDisk> {
        Self::made_by(&["mkfs.xfs", "-q", "-f"], bytes, mkfs)
    }

    pub fn btrfs(bytes: u64) -> Option<LoopDisk> {
        Self::made_by(&["mkfs.btrfs", "-q", "-f"], bytes, &[])
    }

    fn made_by(program: &[&str], bytes: u64, mkfs: &[&str]) -> Option<LoopDisk> {
        if !is_root() || !Path::new("/dev/loop-control").exists() {
            missing("a loop device needs root and /dev/loop-control");
            return None;
        }
        if !on_path(program[0]) {
            missing(&format!("{}: packaging/setup.sh test", program[0]));
            return None;
        }
        let make = |image: &Path| drop(output(Command::new(program[0]).args(&program[1..]).args(mkfs).arg(image)));
        Some(Self::over(bytes, make))
    }

    /// Without a filesystem, and with so many partitions, as the kernel counts them.
    pub fn partitioned(partitions: u32) -> Option<LoopDisk> {
        if !is_root() || !on_path("addpart") {
            missing("partitions need root and addpart (util-linux)");
            return None;
        }
        let disk = Self::over(64 << 20, |_| {});
        for n in 1..=partitions {
            output(Command::new("addpart").arg(&disk.device).args([n, n * 64, 64].map(|n| n.to_string())));
        }
        Some(disk)
    }

    fn over(bytes: u64, make: impl FnOnce(&Path)) -> LoopDisk {
        let lock = loop_lock();
        let image = tempfile::NamedTempFile::new().expect("temp file").into_temp_path();
        OpenOptions::new().write(true).open(&image).and_then(|f| f.set_len(bytes)).expect("image");
        make(&image);
        // Partitions may be added only to a disk that is asked for them.
        let device = output(Command::new("losetup").args(["--partscan", "-f", "--show"]).arg(&*image)).trim().into();
        LoopDisk { device, mounted: None, _image: image, _lock: lock }
    }

    /// Sets access, change and modification time of these files (paths on the filesystem) to `days` ago. The change time cannot be
    /// set from above, so this is done to the image, while it is not mounted.
    pub fn age(&self, files: &[String], days: i64) {
        assert!(self.mounted.is_none(), "unmount first");
        let then = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days)).as_second();
        let mut script = String::new();
        for file in files {
            for field in ["atime", "ctime", "mtime"] {
                script.push_str(&format!("set_inode_field \"{file}\" {field} @{then}\n"));
            }
        }
        let mut commands = tempfile::NamedTempFile::new().expect("temp file");
        std::io::Write::write_all(&mut commands, script.as_bytes()).expect("temp file");
        output(Command::new("debugfs").arg("-w").arg("-f").arg(commands.path()).arg(&self.device));
    }

    pub fn unmount(&mut self) {
        let at = self.mounted.take().expect("is mounted");
        output(Command::new("umount").arg(at));
    }

    /// Mounts it; unmounted when dropped. Use a directory in a temp dir, best in a mount namespace of your own.
    pub fn mount(&mut self, at: &Path) {
        output(Command::new("mount").arg(&self.device).arg(at));
        self.mounted = Some(at.into());
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily: a failing test may still hold a file, and the device has to go all the same.
        if let Some(at) = self.mounted.take() {
            drop(Command::new("umount").arg("-l").arg(at).status());
        }
        drop(Command::new("losetup").arg("-d").arg(&self.device).status());
    }
}
