//! Real systemd, D-Bus and journald in a container, at native speed, from the distribution's own packages.
//!
//! [`Machine::ready`] makes the root once (`target/nspawn-<hash of the recipe>`); [`Machine::boot`] boots it with an overlay in
//! memory, so that every boot starts from the same files, runs one script to its end and powers off. The container has no
//! network and cannot set the clock: the clock has no namespace, it would be that of the machine we run on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{is_root, missing, on_path};

/// Besides Debian's essential packages. What the packages under test depend on is here: there is no network to get it by.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,e2fsprogs,xfsprogs,libssl3,procps,util-linux,mount";

/// Where the script finds what it was given, and leaves what it wants to be read afterwards (`out/`).
pub const SHARE: &str = "/harness";

/// What a script sets for the part of a test that runs in the container.
pub const INSIDE: &str = "BYTEPORT_TEST_INSIDE";

/// What it was set to; `None` outside. Such a part restarts and replaces what a host stands on: whatever the environment says, nowhere but in a
/// container that was made for it.
///
/// # Panics
/// When it is set, and this is no container of ours.
pub fn inside() -> Option<String> {
    let told = std::env::var(INSIDE).ok()?;
    let container = fs::read_to_string("/run/systemd/container").unwrap_or_default();
    assert_eq!(container.trim(), "systemd-nspawn", "this is no container of ours: nothing was touched");
    Some(told)
}

const UNIT: &str = "\
[Unit]
Description=The script of a test
[Service]
Type=exec
Environment=LC_ALL=C.UTF-8 HOME=/root
WorkingDirectory=/harness
ExecStart=/bin/bash -u /harness/script
StandardOutput=append:/harness/out/stdout
StandardError=append:/harness/out/stderr
ExecStopPost=/bin/sh -c 'echo \"$EXIT_STATUS\" >/harness/out/status'
ExecStopPost=systemctl poweroff --no-block
[Install]
WantedBy=multi-user.target
";

/// Makes a freshly bootstrapped root one that boots quickly and the same way every time.
const CUSTOMISE: &str = r#"
echo 8f1b2c3d4e5f60718293a4b5c6d7e8f9 >"$1/etc/machine-id"
echo byteport-test >"$1/etc/hostname"
mkdir -p "$1/var/log/journal" "$1/harness" "$1/etc/systemd/journald.conf.d"
printf '[Journal]\nRateLimitIntervalSec=0\n' >"$1/etc/systemd/journald.conf.d/test.conf"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    getty.target console-getty.service systemd-resolved.service systemd-networkd.service; do
    ln -sf /dev/null "$1/etc/systemd/system/$unit"
done
mkdir -p "$1/etc/systemd/system/multi-user.target.wants"
ln -s /etc/systemd/system/harness.service "$1/etc/systemd/system/multi-user.target.wants/harness.service"
"#;

/// A root that can be booted.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
}

/// One boot: what goes in, and how long it may take.
#[derive(Debug)]
pub struct Boot {
    script: String,
    payload: Vec<(PathBuf, String)>,
    devices: Vec<PathBuf>,
    deadline: Duration,
}

/// What a boot left behind.
#[derive(Debug)]
pub struct Told {
    /// The script's exit status.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    files: BTreeMap<String, String>,
}

impl Machine {
    /// `None`, loudly, where a container cannot be booted.
    pub fn ready() -> Option<Machine> {
        if !is_root() {
            missing("a container with systemd needs root");
            return None;
        }
        if let Some(program) = ["systemd-nspawn", "mmdebstrap", "apt-get"].into_iter().find(|p| !on_path(p)) {
            missing(&format!("a container with systemd needs {program}: packaging/setup.sh test"));
            return None;
        }
        let sources = debian_sources();
        let mut recipe = DefaultHasher::new();
        (PACKAGES, UNIT, CUSTOMISE, &sources).hash(&mut recipe);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
        let root = target.join(format!("nspawn-{:016x}", recipe.finish()));
        let _one_at_a_time = lock(&root);
        if !root.exists() {
            bootstrap(&root, &sources);
        }
        Some(Machine { root })
    }

    /// Boots, runs the script, powers off.
    ///
    /// # Panics
    /// When the container does not come to its end within the deadline; the message has what it said until then.
    pub fn boot(&self, boot: &Boot) -> Told {
        let _one_at_a_time = lock(&self.root);
        let share = tempfile::tempdir().expect("temp dir");
        fs::create_dir(share.path().join("out")).expect("out");
        fs::write(share.path().join("script"), &boot.script).expect("script");
        for (from, name) in &boot.payload {
            fs::copy(from, share.path().join(name)).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        }
        let console = share.path().join("console");
        let log = File::create(&console).expect("console");
        let mut command = Command::new("systemd-nspawn");
        command
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .args(["--quiet", "--boot", "--volatile=overlay", "--register=no", "--keep-unit", "--private-network", "--link-journal=no"])
            .args(["--resolv-conf=off", "--timezone=off", "--capability=all", "--drop-capability=CAP_SYS_TIME"])
            .arg(format!("--machine=byteport-{}", std::process::id()))
            .arg("-D")
            .arg(&self.root)
            .arg(format!("--bind={}:{SHARE}", share.path().display()))
            .args(boot.devices.iter().map(|d| format!("--bind={}", d.display())))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("console"))
            .stderr(log);
        let ended = Running(command.spawn().expect("systemd-nspawn")).wait(boot.deadline);
        let read = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let out = share.path().join("out");
        let (stdout, stderr) = (read(out.join("stdout")), read(out.join("stderr")));
        let Some(Ok(status)) = ended.then(|| read(out.join("status")).trim().parse()) else {
            let why = if ended { "powered off without an exit status" } else { "was ended at its deadline" };
            panic!("the container {why}\n-- stdout\n{stdout}\n-- stderr\n{stderr}\n-- console\n{}", read(console));
        };
        let files = fs::read_dir(&out).expect("out").map(|e| e.expect("out").path());
        let files = files.map(|p| (p.file_name().unwrap_or_default().to_string_lossy().into_owned(), read(p))).collect();
        Told { status, stdout, stderr, files }
    }
}

impl Boot {
    /// The script is run by bash with `-u`, as root, while the rest of the system comes up.
    pub fn of(script: impl Into<String>) -> Boot {
        Boot { script: script.into(), payload: Vec::new(), devices: Vec::new(), deadline: Duration::from_secs(180) }
    }

    /// A file of ours, as `/harness/NAME` there.
    pub fn with(mut self, from: impl Into<PathBuf>, name: impl Into<String>) -> Boot {
        self.payload.push((from.into(), name.into()));
        self
    }

    /// A device node of ours, under its own name there.
    pub fn with_device(mut self, device: impl Into<PathBuf>) -> Boot {
        self.devices.push(device.into());
        self
    }

    pub fn within(mut self, deadline: Duration) -> Boot {
        self.deadline = deadline;
        self
    }
}

impl Told {
    /// What the script wrote to `/harness/out/NAME`.
    pub fn file(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    /// # Panics
    /// When the script failed; the message has all it said.
    pub fn succeeded(&self) -> &Told {
        assert_eq!(self.status, 0, "the script failed\n-- stdout\n{}\n-- stderr\n{}", self.stdout, self.stderr);
        self
    }
}

/// The container, ended with us.
struct Running(Child);

impl Running {
    /// Whether it ended by itself in time.
    fn wait(mut self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().expect("wait") {
                return status.signal().is_none();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // All of the container dies with the process that holds it; one that has ended already cannot be killed, which is fine.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The machine's own sources of Debian packages, as apt knows them: one-line entries.
pub fn debian_sources() -> String {
    let ask = || {
        super::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
            "Origin: Debian",
        ]))
    };
    let known = ask();
    if !known.is_empty() {
        return known;
    }
    super::output(Command::new("apt-get").args(["update", "-q"]));
    ask()
}

fn bootstrap(root: &Path, sources: &str) {
    let unfinished = root.with_extension("unfinished");
    drop(fs::remove_dir_all(&unfinished));
    mmdebstrap(&unfinished, PACKAGES, CUSTOMISE, sources);
    fs::write(unfinished.join("etc/systemd/system/harness.service"), UNIT).expect("unit");
    fs::rename(&unfinished, root).expect("rename");
}

/// A small root with these packages besides the essential ones; the script customises it and is given its path.
pub fn mmdebstrap(root: &Path, packages: &str, customise: &str, sources: &str) {
    let list = tempfile::NamedTempFile::new().expect("temp file");
    fs::write(&list, sources).expect("sources");
    // The suite decides which packages are essential; the first source is the release itself.
    let suite = sources.split_whitespace().nth(2).expect("apt names at least one source");
    super::output(
        Command::new("mmdebstrap")
            .args([
                "--mode=root",
                "--variant=minbase",
                "--aptopt=Acquire::Languages \"none\"",
                "--aptopt=APT::Install-Recommends \"false\"",
            ])
            .args(["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"])
            .arg(format!("--include={packages}"))
            .arg(format!("--customize-hook={customise}"))
            .args([suite.as_ref(), root.as_os_str(), list.path().as_os_str()]),
    );
}

/// Held until it is dropped: one process at a time makes or boots what lies at this path.
pub fn lock(root: &Path) -> File {
    let path = root.with_extension("lock");
    let file = File::options().create(true).append(true).open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.lock().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file
}
