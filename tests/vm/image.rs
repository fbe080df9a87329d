//! The machine's disk, kernel and initial ramdisk, made once from the distribution's own packages.
//!
//! `target/vm-<hash of the recipe>/`: the programs under test are not in it, so that a change of them keeps it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::nspawn::{debian_sources, lock, mmdebstrap};
use crate::support::output;

/// Besides Debian's essential packages. What the package under test depends on is here: there is no network to get it by.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,kmod,procps,util-linux,mount,libssl3,e2fsprogs,xfsprogs,lvm2,dmsetup,curl,\
busybox-static,qemu-guest-agent,cron,earlyoom,systemd-oomd,default-jre-headless,linux-image-cloud-amd64";

/// Of the root filesystem, a file with holes. Page caches of most of a machine's memory fit on it without making it a full one.
const SIZE: &str = "3G";

/// A system that boots quickly and the same way every time; with its own small initial ramdisk, which loads the disk and no more.
const CUSTOMISE: &str = r#"
set -e
echo 8f1b2c3d4e5f60718293a4b5c6d7e8f9 >"$1/etc/machine-id"
echo byteport-vm >"$1/etc/hostname"
echo '/dev/vda / ext4 rw,noatime 0 0' >"$1/etc/fstab"
mkdir -p "$1/var/log/journal" "$1/etc/systemd/journald.conf.d"
printf '[Journal]\nRateLimitIntervalSec=0\n' >"$1/etc/systemd/journald.conf.d/test.conf"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    getty.target systemd-networkd.service systemd-resolved.service systemd-timesyncd.service; do
    ln -sf /dev/null "$1/etc/systemd/system/$unit"
done
# The way in outlives what is done to the rest: memory that is gone, a storm of forks, a spinner on each processor.
mkdir -p "$1/etc/systemd/system/qemu-guest-agent.service.d"
cat >"$1/etc/systemd/system/harness.slice" <<'END'
[Slice]
MemoryMin=48M
CPUWeight=1000
END
cat >"$1/etc/systemd/system/qemu-guest-agent.service.d/harness.conf" <<'END'
[Service]
Slice=harness.slice
OOMScoreAdjust=-1000
MemoryMin=48M
TasksMax=infinity
END
# What a scenario wants of these it starts itself.
for unit in cron.service earlyoom.service systemd-oomd.service systemd-oomd.socket dbus-org.freedesktop.oom1.service; do
    rm -f "$1"/etc/systemd/system/*.wants/"$unit" "$1/etc/systemd/system/$unit"
done

kernel=$(ls "$1/lib/modules")
tree=$1/boot/initrd
mkdir -p "$tree/bin" "$tree/lib" "$tree/dev" "$tree/proc" "$tree/sys" "$tree/root"
cp "$1/bin/busybox" "$tree/bin/"
n=100
for module in $(for wanted in virtio_pci virtio_blk crc32c ext4; do
    chroot "$1" modprobe --set-version "$kernel" --show-depends "$wanted"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'); do
    cp "$1$module" "$tree/lib/$n.ko"
    n=$((n + 1))
done
cat >"$tree/init" <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
for module in /lib/*.ko; do $b insmod "$module"; done
n=0
until [ -b /dev/vda ] || [ $n -gt 200 ]; do $b sleep 0.1; n=$((n + 1)); done
$b mount -t ext4 -o rw,noatime /dev/vda /root
$b umount /proc /sys
$b mount --move /dev /root/dev
exec $b switch_root /root /sbin/init
END
chmod +x "$tree/init"
(cd "$tree" && find . | ./bin/busybox cpio -o -H newc | gzip -1) >"$1/boot/initrd.gz"
rm -r "$tree"
"#;

/// Files that a machine is started from.
#[derive(Debug, Clone)]
pub struct Image {
    /// The folder of all that is made from this recipe.
    pub dir: PathBuf,
}

impl Image {
    /// Made where it is not there yet: a minute and a half.
    pub fn ready(target: &Path) -> Image {
        let sources = debian_sources();
        let mut recipe = DefaultHasher::new();
        (PACKAGES, CUSTOMISE, SIZE, &sources).hash(&mut recipe);
        let dir = target.join(format!("vm-{:016x}", recipe.finish()));
        let _one_at_a_time = lock(&dir);
        if !dir.exists() {
            make(&dir, &sources);
        }
        Image { dir }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.join("root.raw")
    }

    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd.gz")
    }
}

fn make(dir: &Path, sources: &str) {
    let unfinished = dir.with_extension("unfinished");
    let remove = |path: &Path| output(Command::new("rm").args(["-rf", "--one-file-system"]).arg(path));
    remove(&unfinished);
    fs::create_dir_all(&unfinished).expect("a folder for the image");
    let tree = unfinished.join("tree");
    mmdebstrap(&tree, PACKAGES, CUSTOMISE, sources);
    let boot = fs::read_dir(tree.join("boot")).expect("boot").map(|e| e.expect("entry").path());
    let kernel = boot.into_iter().find(|p| p.to_string_lossy().contains("/vmlinuz-")).expect("a kernel was installed");
    fs::copy(kernel, unfinished.join("vmlinuz")).expect("kernel");
    fs::copy(tree.join("boot/initrd.gz"), unfinished.join("initrd.gz")).expect("initrd");
    output(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(unfinished.join("root.raw")).arg(SIZE));
    remove(&tree);
    fs::rename(&unfinished, dir).expect("rename");
}
