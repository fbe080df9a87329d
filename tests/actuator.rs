//! The actuator from outside: what it keeps, what it refuses, and what is left when it dies.

mod acting;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use acting::{DISK, Later, Stand, admitted, batch, target, write};
use byteport::act::client::{Client, ClientError, Performed, UndoResult};
use byteport::host::PrivilegedReads;
use byteport::model::{
    Answer, Bytes, EffectState, FileFamily, FileTarget, GrowVolume, HostPath, ImageTarget, IntentId, Observed, Query, Refusal,
    RefusalReason, SkipReason, Step, StepKind, Subject, WriteTrial,
};
use byteport::wire::actuator::{Ask, IntentOutcome, Perform, Request, Response, VERSION};
use byteport::wire::frame;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use support::output;

/// Past the client, as somebody with the agent's rights and bad intentions would ask.
fn raw(stand: &Stand, ask: Ask) -> Response {
    let mut stream = UnixStream::connect(&stand.socket).unwrap();
    frame::write(&mut stream, &Request { version: VERSION, ask }).unwrap();
    frame::read(&mut stream).unwrap()
}

fn refused(stand: &Stand, change: impl FnOnce(&mut Perform)) -> Refusal {
    let mut perform = stand.asking("refused", 1, Step::DeleteFiles(stand.batch(FileFamily::Tmp, &["a"])));
    change(&mut perform);
    let (before, there) = (stand.server.counts().refused.load(Ordering::Relaxed), stand.root.join("a").exists());
    match raw(stand, Ask::Perform(Box::new(perform))) {
        Response::Refused(refusal) => {
            assert_eq!(stand.server.counts().refused.load(Ordering::Relaxed), before + 1, "not counted");
            assert_eq!(stand.root.join("a").exists(), there);
            refusal
        }
        other => panic!("{other:?}"),
    }
}

fn reasons(stand: &Stand, step: Step) -> Vec<(String, SkipReason)> {
    stand.effect(step).examples.into_iter().map(|s| (String::from_utf8_lossy(s.what.file_name()).into_owned(), s.reason)).collect()
}

#[test]
fn what_somebody_uses_stays() {
    let stand = Stand::new();
    let open = fs::File::open(stand.write("open", 10)).unwrap();
    let locked = fs::File::open(stand.write("locked", 10)).unwrap();
    rustix::fs::flock(&locked, rustix::fs::FlockOperation::LockShared).unwrap();
    // A running program is mapped, and no descriptor of it is open anywhere.
    fs::copy("/bin/sleep", stand.root.join("running")).unwrap();
    let mut running = Command::new(stand.root.join("running")).arg("60").spawn().unwrap();
    stand.write("idle", 10);
    let found = reasons(&stand, Step::DeleteFiles(stand.batch(FileFamily::Tmp, &["open", "locked", "running", "idle"])));
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(found, ["locked", "open", "running"].map(|n| (n.to_owned(), SkipReason::InUse)));
    assert!(!stand.root.join("idle").exists());
    drop((open, locked));
}

#[test]
fn what_is_not_as_examined_stays() {
    let stand = Stand::new();
    for name in ["written", "replaced", "linked", "gone", "symlink", "directory", "same", "sub/moved"] {
        stand.write(name, 10);
    }
    let batch = stand.batch(FileFamily::Tmp, &["written", "replaced", "linked", "gone", "symlink", "directory", "same", "sub/moved"]);
    let at = |name: &str| stand.root.join(name);
    fs::OpenOptions::new().append(true).open(at("written")).unwrap().write_all(b"more").unwrap();
    fs::rename(write(&stand.dir.path().join("other"), 10), at("replaced")).unwrap();
    fs::hard_link(at("linked"), stand.dir.path().join("second")).unwrap();
    fs::remove_file(at("gone")).unwrap();
    fs::rename(at("symlink"), stand.dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink(stand.dir.path().join("real"), at("symlink")).unwrap();
    fs::remove_file(at("directory")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    fs::rename(at("sub"), stand.dir.path().join("sub")).unwrap();
    std::os::unix::fs::symlink(stand.dir.path().join("sub"), at("sub")).unwrap();
    let mut found = reasons(&stand, Step::DeleteFiles(batch));
    found.sort();
    let expected = [
        ("directory", SkipReason::Changed),
        ("gone", SkipReason::Gone),
        ("linked", SkipReason::HardLinked),
        ("moved", SkipReason::Outside),
        ("replaced", SkipReason::Changed),
        ("symlink", SkipReason::Outside),
        ("written", SkipReason::Changed),
    ];
    assert_eq!(found, expected.map(|(n, r)| (n.to_owned(), r)));
    assert!(!at("same").exists() && stand.dir.path().join("sub/moved").exists() && stand.dir.path().join("real").exists());
}

/// Not a byte can be written any more, to no file: then nothing is done either.
#[test]
fn what_cannot_be_written_down_first_is_not_done() {
    if !support::namespaces::inside("what_cannot_be_written_down_first_is_not_done", &[]) {
        return;
    }
    // Inherited by all threads: a write over the limit is an error then, and no end of the process.
    SigSet::from_iter([Signal::SIGXFSZ]).thread_block().unwrap();
    let stand = Stand::new();
    stand.write("a", 10);
    let step = Step::DeleteFiles(stand.batch(FileFamily::Tmp, &["a"]));
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 0, hard).unwrap();
    let answer = stand.perform(step);
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard).unwrap();
    assert!(matches!(&answer, Ok(Performed::Refused(r)) if r.reason == RefusalReason::LedgerUntrusted), "{answer:?}");
    assert!(stand.root.join("a").exists());
}

/// By itself each of them says that it is another file.
#[test]
fn every_part_of_an_identity_counts() {
    let altered: [fn(&mut FileTarget); 4] = [|t| t.ino += 1, |t| t.size += 1, |t| t.mtime_ns += 1, |t| t.ctime_ns += 1];
    for (which, alter) in altered.into_iter().enumerate() {
        let stand = Stand::new();
        stand.write("a", 10);
        let mut batch = stand.batch(FileFamily::Tmp, &["a"]);
        alter(&mut batch.files[0]);
        assert_eq!(reasons(&stand, Step::DeleteFiles(batch)), [("a".to_owned(), SkipReason::Changed)], "part {which}");
    }
    // Of a directory as well; what its size and links are changes with what is in it.
    let altered: [fn(&mut FileTarget); 3] = [|t| t.ino += 1, |t| t.mtime_ns += 1, |t| t.ctime_ns += 1];
    for (which, alter) in altered.into_iter().enumerate() {
        let stand = Stand::new();
        stand.write("d/a", 10);
        let mut batch = stand.batch(FileFamily::Tmp, &["d/a"]);
        batch.dirs = vec![target(&stand.root, &HostPath::from("d"))];
        alter(&mut batch.dirs[0]);
        assert_eq!(reasons(&stand, Step::DeleteFiles(batch)), [("d".to_owned(), SkipReason::Changed)], "part {which}");
        assert!(stand.root.join("d").exists() && !stand.root.join("d/a").exists());
    }
}

#[test]
fn the_actuators_own_clock_decides_what_is_old() {
    let stand = Stand::on(tempfile::tempdir().unwrap(), Later { days: 0, ..Later::new() }, |_| {});
    stand.write("new", 10);
    let found = reasons(&stand, Step::DeleteFiles(stand.batch(FileFamily::Tmp, &["new"])));
    assert_eq!(found, [("new".to_owned(), SkipReason::TooYoung)]);
}

#[test]
fn hostile_names_are_only_names() {
    let stand = Stand::new();
    let names: [&[u8]; 6] = [b"new\nline", b"not \xff utf-8", b"-rf", b"a b\\x41'\"$(touch x)", b"..hidden", "\u{202e}txt".as_bytes()];
    for name in names {
        write(&stand.root.join(std::ffi::OsStr::from_bytes(name)), 10);
    }
    let keep = stand.write("keep", 10);
    let batch = batch(&stand.root, FileFamily::Tmp, names.into_iter().map(HostPath::from_bytes).collect());
    assert_eq!(stand.effect(Step::DeleteFiles(batch)).done, 6);
    assert_eq!(fs::read_dir(&stand.root).unwrap().count(), 1);
    assert!(keep.exists());
}

#[test]
fn a_directory_goes_when_it_was_old_and_is_empty_and_nobody_locks_it() {
    let stand = Stand::new();
    for name in ["empty/file", "full/file", "full/other", "locked/file"] {
        stand.write(name, 10);
    }
    let mut batch = stand.batch(FileFamily::Tmp, &["empty/file", "full/file", "locked/file"]);
    batch.dirs = ["empty", "full", "locked"].map(|d| target(&stand.root, &HostPath::from(d))).into();
    let lock = fs::File::open(stand.root.join("locked")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared).unwrap();
    let effect = stand.effect(Step::DeleteFiles(batch));
    assert!(!stand.root.join("empty").exists() && stand.root.join("full/other").exists());
    // The lock protects what lies below as well: that is how a program tells cleaners to keep away.
    assert!(stand.root.join("locked/file").exists());
    assert_eq!(effect.skipped.get(&SkipReason::NotEmpty), Some(&1));
    assert_eq!(effect.skipped.get(&SkipReason::InUse), Some(&2));
}

#[test]
fn freed_is_what_the_filesystem_gained() {
    let Some(mut disk) = support::loops::LoopDisk::ext4(256 << 20, &["-m", "5"]) else { return };
    let at = tempfile::tempdir().unwrap();
    disk.mount(at.path());
    let root = at.path().join("root");
    let stand = Stand::over(tempfile::tempdir().unwrap(), root.clone(), Later::new(), |_| {});
    write(&root.join("dense"), 60 << 20);
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &vec![1; 8 << 20], 500 << 20).unwrap();
    drop(sparse);
    for n in 0..500 {
        write(&root.join(format!("small-{n}")), 100);
    }
    rustix::fs::sync();
    let names = fs::read_dir(&root).unwrap().map(|e| HostPath::from(Path::new(&e.unwrap().file_name()))).collect();
    let batch = batch(&root, FileFamily::Tmp, names);
    let predicted = batch.on_disk();
    let effect = stand.effect(Step::DeleteFiles(batch));
    let gained = effect.available_delta.unwrap() as f64;
    eprintln!("predicted {predicted}, counted {}, the filesystem gained {}", effect.freed, Bytes(gained as u64));
    assert_eq!((effect.done, effect.freed), (502, predicted));
    assert!((gained - predicted.0 as f64).abs() <= predicted.0 as f64 * 0.02);
    assert!(predicted.0 < 100 << 20, "holes were counted as bytes");
}

#[test]
fn the_same_intent_is_carried_out_once() {
    let stand = Stand::new();
    stand.write("a", 10);
    let perform = stand.asking("once", 1, Step::DeleteFiles(stand.batch(FileFamily::Tmp, &["a"])));
    let ask = || stand.client.perform(&admitted(&stand.policy, &perform), perform.clone()).unwrap();
    let first = ask();
    stand.write("a", 10);
    assert_eq!(ask(), first);
    assert!(stand.root.join("a").exists());
    assert!(matches!(stand.client.outcome(&perform.intent).unwrap(), IntentOutcome::Done(_)));
    assert_eq!(stand.client.outcome(&IntentId("never/1.1".into())).unwrap(), IntentOutcome::Unknown);
}

#[test]
fn whatever_the_policy_does_not_allow_is_refused_and_counted() {
    let stand = Stand::new();
    stand.write("a", 10);
    let reason = |number: u32, change: &dyn Fn(&mut Perform)| {
        refused(&stand, |p| {
            p.intent = IntentId::new(&p.incident, 1, number);
            change(p);
        })
        .reason
    };
    let files = |p: &mut Perform, change: &dyn Fn(&mut byteport::model::FileBatch)| {
        if let Step::DeleteFiles(batch) = &mut p.planned.step {
            change(batch);
        }
    };
    assert_eq!(reason(1, &|p| p.runbook = byteport::model::RunbookId::new("memory")), RefusalReason::PolicyForbids);
    assert_eq!(reason(2, &|p| p.confidence = 0.69), RefusalReason::LowConfidence);
    assert_eq!(reason(3, &|p| files(p, &|b| b.root = "/etc".into())), RefusalReason::OutsideRoots);
    assert_eq!(reason(4, &|p| files(p, &|b| b.files[0].path = "../a".into())), RefusalReason::Malformed);
    assert_eq!(reason(5, &|p| files(p, &|b| b.min_age_s = 60)), RefusalReason::TooYoung);
    assert_eq!(reason(6, &|p| files(p, &|b| b.files[0].path = ".X11-unix/X0".into())), RefusalReason::NeverList);
    assert_eq!(reason(7, &|p| p.subject = byteport::model::Subject::Host), RefusalReason::NoOptIn);
    assert_eq!(
        reason(8, &|p| {
            files(p, &|b| b.device = 4711);
            if let byteport::model::Subject::Filesystem { device, .. } = &mut p.subject {
                *device = 4711;
            }
        }),
        RefusalReason::Stale
    );
    let grow = GrowVolume { vg: "vg".into(), lv: "-rf".into(), mount: "/".into(), fs_type: "ext4".into(), from: Bytes(1), to: Bytes(2) };
    assert_eq!(reason(9, &|p| p.planned.step = Step::GrowVolume(grow.clone())), RefusalReason::Malformed);
    let pause = ImageTarget { id: "sha256:1".into(), tags: vec!["registry.k8s.io/pause:3.9".into()], digests: vec![], size: Bytes(1) };
    assert_eq!(
        reason(10, &|p| p.planned.step = Step::PruneImages { images: vec![pause.clone()], min_age_s: 600 }),
        RefusalReason::NeverList
    );
    // An answer that was given stays the answer.
    let again = stand.asking("refused", 2, Step::DeleteFiles(stand.batch(FileFamily::Tmp, &["a"])));
    assert!(matches!(raw(&stand, Ask::Perform(Box::new(again))), Response::Refused(r) if r.reason == RefusalReason::LowConfidence));
    assert!(matches!(stand.client.outcome(&IntentId("refused/1.2".into())).unwrap(), IntentOutcome::Refused(_)));
}

#[test]
fn steps_that_are_not_listed_dry_runs_caps_and_package_managers_hold() {
    let reason = |host: Later, change: fn(&mut byteport::act::server::Settings)| {
        let stand = Stand::on(tempfile::tempdir().unwrap(), host, change);
        stand.write("a", 10_000);
        refused(&stand, |_| {}).reason
    };
    assert_eq!(reason(Later::new(), |s| s.dry_run = true), RefusalReason::ReportOnly);
    assert_eq!(reason(Later::new(), |s| s.policies.get_mut(&DISK).unwrap().runbook_allowed = false), RefusalReason::PolicyForbids);
    assert_eq!(
        reason(Later::new(), |s| s.policies.get_mut(&DISK).unwrap().limits.steps.retain(|k| *k != StepKind::Tmp)),
        RefusalReason::PolicyForbids
    );
    assert_eq!(reason(Later::new(), |s| s.policies.get_mut(&DISK).unwrap().limits.mounts.clear()), RefusalReason::NoOptIn);
    assert_eq!(reason(Later::new(), |s| s.policies.get_mut(&DISK).unwrap().limits.max_files = 0), RefusalReason::OverCap);
    assert_eq!(reason(Later::new(), |s| s.policies.get_mut(&DISK).unwrap().limits.max_bytes = Bytes(9_999)), RefusalReason::OverCap);
    let apt = Later { package_manager: Some("apt".into()), ..Later::new() };
    assert_eq!(reason(apt, |_| {}), RefusalReason::PackageManager);
}

#[test]
fn the_cooldown_is_the_ledgers() {
    let mut stand = Stand::on(tempfile::tempdir().unwrap(), Later::new(), |s| {
        s.policies.get_mut(&DISK).unwrap().limits.cooldown = byteport::model::Seconds(3600.0);
    });
    stand.write("a", 10);
    stand.write("b", 10);
    stand.effect(Step::DeleteFiles(stand.batch(FileFamily::Tmp, &["b"])));
    assert_eq!(refused(&stand, |_| {}).reason, RefusalReason::Cooldown);
    stand.stop();
}

#[test]
fn strangers_and_garbage_get_nothing() {
    let others = Stand::on(tempfile::tempdir().unwrap(), Later::new(), |s| s.agent_uid = 4711);
    fs::set_permissions(others.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&others.socket, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(others.client.hello(), Err(ClientError::Unknown { .. })), "somebody who is not the agent was answered");
    if support::is_root() {
        let socket = others.socket.clone();
        let as_nobody = std::thread::spawn(move || {
            let nobody = rustix::fs::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            Client::new(socket).hello()
        });
        assert!(matches!(as_nobody.join().unwrap(), Err(ClientError::Unknown { .. })), "a stranger was answered");
        assert_eq!(others.server.counts().strangers.load(Ordering::Relaxed), 2);
    } else {
        support::missing("another user to be needs root");
    }
    let stand = Stand::new();

    let malformed = || stand.server.counts().malformed.load(Ordering::Relaxed);
    let say = |bytes: &[u8]| {
        let before = malformed();
        let mut stream = UnixStream::connect(&stand.socket).unwrap();
        stream.write_all(bytes).unwrap();
        let answer = frame::read::<Response>(&mut stream);
        assert!(matches!(answer, Ok(Response::Malformed { .. })), "{answer:?}");
        assert_eq!(malformed(), before + 1);
    };
    let framed = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    say(&[0xff; 64]);
    say(&framed(b"not json"));
    say(&framed(br#"{"version":1,"ask":"format_the_disk"}"#));
    say(&framed(br#"{"version":2,"ask":"hello"}"#));
    say(&framed("[".repeat(100_000).as_bytes()));

    assert_eq!(stand.client.hello().unwrap().version, VERSION);
}

/// They are kept for a month, and read again at every start.
#[test]
fn names_and_reasons_have_a_bound() {
    let stand = Stand::new();
    let long = || "x".repeat(256);
    assert!(matches!(raw(&stand, Ask::Outcome { intent: IntentId(long()) }), Response::Malformed { .. }));
    assert!(matches!(raw(&stand, Ask::Undo { intent: IntentId(long()) }), Response::Malformed { .. }));
    let mut perform = stand.asking("one", 1, Step::DeleteFiles(stand.batch(FileFamily::Tmp, &[])));
    perform.incident = byteport::model::IncidentId(long());
    assert!(matches!(raw(&stand, Ask::Perform(Box::new(perform))), Response::Malformed { .. }));
    let mut perform = stand.asking("two", 1, Step::DeleteFiles(stand.batch(FileFamily::Tmp, &[])));
    perform.subject = Subject::Filesystem { mount: HostPath::from("x".repeat(100_000).as_str()), device: 7 };
    let intent = perform.intent.clone();
    assert!(matches!(raw(&stand, Ask::Perform(Box::new(perform))), Response::Refused(_)));
    match raw(&stand, Ask::Outcome { intent }) {
        Response::Outcome(IntentOutcome::Refused(kept)) => assert!(kept.detail.len() <= 500, "{} bytes are kept", kept.detail.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_act_at_a_time_and_none_for_an_asker_who_left() {
    let stand = Stand::new();
    let names: Vec<String> = (0..20_000).map(|n| format!("f{n:05}")).collect();
    names.iter().for_each(|n| drop(stand.write(n, 1)));
    let all = stand.batch(FileFamily::Tmp, &names.iter().map(String::as_str).collect::<Vec<_>>());
    stand.write("a", 1);
    let perform = stand.asking("long", 1, Step::DeleteFiles(all));
    let mut leaving = UnixStream::connect(&stand.socket).unwrap();
    frame::write(&mut leaving, &Request { version: VERSION, ask: Ask::Perform(Box::new(perform.clone())) }).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while fs::read_dir(&stand.root).unwrap().count() == 20_001 && Instant::now() < until {}
    let other = refused(&stand, |p| {
        p.planned.step = Step::DeleteFiles(byteport::model::FileBatch { files: vec![], ..stand.batch(FileFamily::Tmp, &[]) });
    });
    assert_eq!(other.reason, RefusalReason::AnotherEpisode);
    assert_eq!(raw(&stand, Ask::Perform(Box::new(perform.clone()))), Response::Outcome(IntentOutcome::Open));
    drop(leaving);
    let effect = loop {
        match stand.client.outcome(&perform.intent).unwrap() {
            IntentOutcome::Done(effect) => break effect,
            _ => assert!(Instant::now() < until, "the act went on without anybody waiting for it"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(effect.state, EffectState::Partial, "{effect:?}");
    assert_eq!(fs::read_dir(&stand.root).unwrap().count() as u64, 20_001 - effect.done);
}

#[test]
fn told_to_stop_it_reaches_a_safe_point_and_writes_it_down() {
    let mut stand = Stand::new();
    let names: Vec<String> = (0..20_000).map(|n| format!("f{n:05}")).collect();
    names.iter().for_each(|n| drop(stand.write(n, 1)));
    let all = stand.batch(FileFamily::Tmp, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let perform = stand.asking("long", 1, Step::DeleteFiles(all));
    let asked = std::thread::spawn({
        let (client, admitted, perform) = (stand.client.clone(), admitted(&stand.policy, &perform), perform.clone());
        move || client.perform(&admitted, perform)
    });
    while fs::read_dir(&stand.root).unwrap().count() == 20_000 {}
    stand.stop();
    match asked.join().unwrap().unwrap() {
        Performed::Effect(effect) => {
            assert_eq!(effect.state, EffectState::Partial);
            assert_eq!(fs::read_dir(&stand.root).unwrap().count() as u64, 20_000 - effect.done);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_is_packed_with_all_that_was_its_own_and_unpacked_again() {
    let stand = Stand::new();
    let log = stand.root.join("app.log.1");
    let text: Vec<u8> = (0..200_000).flat_map(|n| format!("line {n} of a log\n").into_bytes()).collect();
    fs::write(&log, &text).unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o640)).unwrap();
    if support::is_root() {
        std::os::unix::fs::chown(&log, Some(4711), Some(4712)).unwrap();
    }
    let was = fs::metadata(&log).unwrap();
    let perform = stand.asking("pack", 1, Step::CompressLogs(stand.batch(FileFamily::ClosedLogs, &["app.log.1"])));
    let effect = match stand.client.perform(&admitted(&stand.policy, &perform), perform.clone()).unwrap() {
        Performed::Effect(effect) => effect,
        other => panic!("{other:?}"),
    };
    let archive = stand.root.join("app.log.1.gz");
    assert!(!log.exists(), "{effect:?}");
    let is = fs::metadata(&archive).unwrap();
    let what = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec());
    assert_eq!(what(&is), what(&was));
    assert_eq!(effect.freed.0, (was.blocks() - is.blocks()) * 512);
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(&archive).unwrap()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, text);

    // Somebody began a new log under that name: it stays, and so does the archive.
    stand.write("app.log.1", 3);
    let undo = |intent: &IntentId| match stand.client.undo(intent).unwrap() {
        UndoResult::Undone(effect) => effect,
        UndoResult::Refused(refusal) => panic!("{refusal}"),
    };
    fs::remove_file(stand.root.join("app.log.1")).unwrap();
    let undone = undo(&perform.intent);
    assert_eq!(undone.done, 1, "{undone:?}");
    assert!(!archive.exists());
    assert_eq!(fs::read(&log).unwrap(), text);
    assert_eq!(what(&fs::metadata(&log).unwrap()), what(&was));
    // Asked again it tells the same, and does nothing.
    fs::remove_file(&log).unwrap();
    assert_eq!(undo(&perform.intent), undone);
    assert!(!log.exists());
}

#[test]
fn packing_leaves_alone_what_it_must_and_undo_overwrites_nothing() {
    let stand = Stand::new();
    let noise: Vec<u8> = {
        let mut bytes = vec![0; 1 << 20];
        fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
        bytes
    };
    fs::write(stand.root.join("noise.log"), noise).unwrap();
    stand.write("taken.log", 100_000);
    stand.write("taken.log.gz", 5);
    stand.write("open.log", 100_000);
    stand.write("good.log", 100_000);
    let open = fs::File::open(stand.root.join("open.log")).unwrap();
    let batch = stand.batch(FileFamily::ClosedLogs, &["good.log", "noise.log", "open.log", "taken.log"]);
    let perform = stand.asking("pack", 1, Step::CompressLogs(batch));
    let effect = match stand.client.perform(&admitted(&stand.policy, &perform), perform.clone()).unwrap() {
        Performed::Effect(effect) => effect,
        other => panic!("{other:?}"),
    };
    drop(open);
    assert_eq!(effect.done, 1);
    assert_eq!(effect.skipped.values().sum::<u64>(), 3);
    assert_eq!(fs::read(stand.root.join("taken.log.gz")).unwrap(), b"xxxxx");
    let mut left: Vec<_> = fs::read_dir(&stand.root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["good.log.gz", "noise.log", "open.log", "taken.log", "taken.log.gz"]);
    stand.write("good.log", 3);
    assert!(matches!(stand.client.undo(&perform.intent).unwrap(), UndoResult::Undone(e) if e.done == 0));
    assert_eq!(fs::read(stand.root.join("good.log")).unwrap(), b"xxx");
    assert!(stand.root.join("good.log.gz").exists());
}

#[test]
fn without_room_a_log_stays_as_it_was() {
    let Some(mut disk) = support::loops::LoopDisk::ext4(16 << 20, &["-m", "0", "-O", "^has_journal"]) else { return };
    let at = tempfile::tempdir().unwrap();
    disk.mount(at.path());
    let root = at.path().join("root");
    let stand = Stand::over(tempfile::tempdir().unwrap(), root.clone(), Later::new(), |_| {});
    let mut noise = vec![0; 6 << 20];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    noise.extend(vec![b'x'; 2 << 20]);
    fs::write(root.join("a.log"), noise).unwrap();
    let mut filler = fs::File::create(at.path().join("filler")).unwrap();
    while filler.write_all(&[1; 65_536]).is_ok() {}
    drop(filler);
    let found = reasons(&stand, Step::CompressLogs(stand.batch(FileFamily::ClosedLogs, &["a.log"])));
    assert_eq!(found, [("a.log".to_owned(), SkipReason::NoSpace)]);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
}

/// The very file that was examined, by another way than it was examined on: whatever else agrees, the way does not.
#[test]
fn the_same_file_by_way_of_a_link_or_a_mount_stays() {
    if !support::namespaces::inside("the_same_file_by_way_of_a_link_or_a_mount_stays", &[]) {
        return;
    }
    let stand = Stand::new();
    stand.write("real/through-link", 10);
    stand.write("real/through-mount", 10);
    std::os::unix::fs::symlink("real", stand.root.join("link")).unwrap();
    fs::create_dir(stand.root.join("mount")).unwrap();
    let _mounted = support::namespaces::Mounted::bind(&stand.root.join("real"), &stand.root.join("mount"));
    let found = reasons(&stand, Step::DeleteFiles(stand.batch(FileFamily::Tmp, &["link/through-link", "mount/through-mount"])));
    assert_eq!(found, [("through-link".to_owned(), SkipReason::Outside), ("through-mount".to_owned(), SkipReason::Outside)]);
    assert!(stand.root.join("real/through-link").exists() && stand.root.join("real/through-mount").exists());
}

#[test]
fn a_write_is_tried_where_the_owner_opted_in_and_nowhere_else() {
    if !support::namespaces::inside("a_write_is_tried_where_the_owner_opted_in_and_nowhere_else", &[]) {
        return;
    }
    let Some(mut disk) = support::loops::LoopDisk::ext4(64 << 20, &[]) else { return };
    let at = tempfile::tempdir().unwrap();
    disk.mount(at.path());
    let device = at.path().metadata().unwrap().dev();
    let stand = Stand::over(tempfile::tempdir().unwrap(), at.path().join("root"), Later::new(), |_| {});
    let tried = |stand: &Stand| match stand.client.look(&Query::Writes) {
        Observed::Value { value: Answer::Writes(trials), .. } => trials,
        other => panic!("{other:?}"),
    };
    assert_eq!(tried(&stand), [WriteTrial { device, accepted: Observed::fresh(true) }]);

    // Frozen, a write waits for as long as it takes; the actuator does not.
    output(Command::new("fsfreeze").arg("-f").arg(at.path()));
    let frozen = tried(&stand);
    let again = tried(&stand);
    let threads = fs::read_dir("/proc/self/task").unwrap().count();
    for _ in 0..3 {
        tried(&stand);
    }
    assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), threads, "each try leaves another thread behind");
    assert!(stand.client.hello().is_ok());
    output(Command::new("fsfreeze").arg("-u").arg(at.path()));
    for trials in [frozen, again] {
        assert!(trials.len() == 1 && trials[0].accepted.why().is_some_and(|why| why.contains("hangs")), "{trials:?}");
    }

    // The kernel found damage: writes fail from now on, and the mount flags go on saying rw.
    let name = disk.device.file_name().unwrap().to_str().unwrap().to_owned();
    output(Command::new("mount").args(["-o", "remount,errors=remount-ro"]).arg(at.path()));
    fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "1").unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    // Kernels that say so elsewhere have it known as read-only, and then nothing is tried.
    while tried(&stand).iter().any(|trial| trial.accepted.value() != Some(&false)) {
        assert!(Instant::now() < until, "{:?}", tried(&stand));
        std::thread::sleep(Duration::from_millis(100));
    }

    let stand = Stand::over(tempfile::tempdir().unwrap(), at.path().into(), Later::new(), |s| {
        s.policies.get_mut(&DISK).unwrap().limits.mounts = vec![];
    });
    assert_eq!(tried(&stand), []);
    drop(stand);
    disk.unmount();
}

#[test]
fn what_cannot_be_had_here_is_said() {
    let stand = Stand::new();
    let images = stand.client.look(&Query::Images);
    assert!(images.why().is_some_and(|why| why.contains("docker.sock")), "{images:?}");
    let image = ImageTarget { id: "sha256:1".into(), tags: vec![], digests: vec![], size: Bytes(1) };
    let effect = stand.effect(Step::PruneImages { images: vec![image], min_age_s: 600 });
    assert_eq!(effect.state, EffectState::Failed);
    assert!(effect.notes[0].contains("docker"), "{effect:?}");
}
