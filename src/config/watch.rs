//! Tells when a configuration has changed on disk.
//!
//! The kernel's events only say when to look; whether something changed is told by the files themselves. So nothing is
//! missed where events are (a full queue, no watches left, a network filesystem): there it is only seen later.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::layers;

/// Editors write in several strokes: wait until it is quiet for so long.
const QUIET: Duration = Duration::from_millis(300);
/// ... but not for more than so many strokes.
const STROKES: usize = 20;
/// Between looks where events are had, and where they are not.
const WITH_EVENTS: Duration = Duration::from_secs(60);
const WITHOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Watch {
    /// One message a change; several changes between two reads are one.
    pub changes: mpsc::Receiver<()>,
    /// Why it looks every few seconds instead of being told by the kernel.
    pub polling: Option<String>,
}

impl Watch {
    /// Watches a configuration file and its drop-ins until the receiver is dropped.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn new(path: &Path) -> std::io::Result<Self> {
        let (tell, changes) = mpsc::channel(1);
        let (event, events) = channel();
        let path = path.to_owned();
        let watcher = notify::recommended_watcher(move |e: notify::Result<notify::Event>| {
            if !e.as_ref().is_ok_and(|e| e.kind.is_access()) {
                // Nobody listens only when the thread has ended.
                let _ = event.send(());
            }
        });
        let mut watcher = watcher.and_then(|mut w| {
            w.watch(path.parent().unwrap_or(Path::new("/")), RecursiveMode::NonRecursive)?;
            Ok(w)
        });
        let polling = watcher.as_ref().err().map(|e| format!("no file events ({e}): looking every {} s", WITHOUT.as_secs()));
        let every = if watcher.is_ok() { WITH_EVENTS } else { WITHOUT };
        let mut last = look(&path);
        follow_drop_ins(watcher.as_mut().ok(), &path);
        std::thread::Builder::new().name("config-watch".into()).spawn(move || {
            while !tell.is_closed() {
                match events.recv_timeout(every) {
                    Ok(()) => {
                        for _ in 0..STROKES {
                            if events.recv_timeout(QUIET).is_err() {
                                break;
                            }
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    // Without a watcher nobody holds the sending end.
                    Err(RecvTimeoutError::Disconnected) => std::thread::park_timeout(every),
                }
                let now = look(&path);
                if now != last {
                    last = now;
                    follow_drop_ins(watcher.as_mut().ok(), &path);
                    // Full: a change is told already and not read yet.
                    let _ = tell.try_send(());
                }
            }
        })?;
        Ok(Self { changes, polling })
    }
}

/// The folder may come and go.
fn follow_drop_ins(watcher: Option<&mut RecommendedWatcher>, path: &Path) {
    if let Some(watcher) = watcher {
        // Where it fails (no folder, no watches left) changes are found by looking.
        let _ = watcher.watch(&layers::drop_in_dir(path), RecursiveMode::NonRecursive);
    }
}

type Face = (PathBuf, u64, u64, i64, i64);

/// What distinguishes a file that was written again.
fn look(path: &Path) -> Vec<Face> {
    let drop_ins = layers::drop_ins(path).unwrap_or_default();
    let mut faces = Vec::new();
    for file in std::iter::once(layers::drop_in_dir(path)).chain([path.to_owned()]).chain(drop_ins) {
        if let Ok(meta) = fs::metadata(&file) {
            let size = if meta.is_dir() { 0 } else { meta.size() };
            let (s, ns) = if meta.is_dir() { (0, 0) } else { (meta.ctime(), meta.ctime_nsec()) };
            faces.push((file, meta.ino(), size, s, ns));
        }
    }
    faces
}
