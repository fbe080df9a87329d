//! Running the program and looking at what it left.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        // A copy of the program may still be held for writing by a child that another test is just starting.
        let out = loop {
            match command.output() {
                Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::sleep(std::time::Duration::from_millis(20)),
                out => break out.unwrap(),
            }
        };
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: out.status.code().expect("it exits, whatever happens"), out: text(out.stdout), err: text(out.stderr) }
    }

    /// Its output, when it went well and said nothing on stderr.
    pub fn well(&self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "stdout: {}", self.out);
        self.out.clone()
    }
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_byteportctl"));
    command.args(args).stdin(Stdio::null());
    for var in ["BYTEPORT_SOCKET", "NO_COLOR", "COLUMNS", "CLICOLOR_FORCE", "RUST_BACKTRACE"] {
        command.env_remove(var);
    }
    command
}

pub fn ctl(args: &[&str]) -> Ran {
    Ran::of(&mut command(args))
}

/// The program run by a user without rights, from a copy in `dir`, where that user can find it.
pub fn as_nobody(dir: &Path, args: &[&str]) -> Option<Command> {
    if fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) != 0) {
        assert!(std::env::var_os("CI").is_none(), "not root: cannot become nobody");
        eprintln!("NOT TESTED: only root can become nobody");
        return None;
    }
    let program = dir.join("byteportctl");
    fs::copy(env!("CARGO_BIN_EXE_byteportctl"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(program);
    command.args(args).uid(65534).gid(65534).stdin(Stdio::null());
    Some(command)
}

/// Every file below a folder with what is in it.
pub fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    entries.map(|e| (e.file_name().to_string_lossy().into_owned(), fs::read(e.path()).unwrap())).collect()
}

/// A state folder that no other process has ever had open: a program that another test is just starting may hold the original's lock
/// for a moment longer.
pub fn copy(made: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for (name, bytes) in content(made) {
        fs::write(to.join(name), bytes).unwrap();
    }
}

/// Against a committed file; `UPDATE_EXPECT=1` writes it anew.
pub fn expect(path: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(actual.lines()).find(|(e, a)| e != a);
    assert!(expected == actual, "{} differs: {differs:?}; UPDATE_EXPECT=1 writes it anew", path.display());
}
