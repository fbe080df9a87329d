//! Room for the next entries when the disk is full.
//!
//! Two stocks: free pages inside the book, which nobody else can take, and a preallocated file beside it, given back
//! when those are used up. Neither needs an inode at that time: the files are there from the start.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::folder;

/// Size of the ballast file.
pub(super) const BALLAST: u64 = 8 << 20;
/// Free pages of 4 KiB kept inside the book.
const RESERVE_PAGES: i64 = 256;
/// Pages of the book that are journalled once in advance, so that the journal file has its blocks as well.
const JOURNAL_PAGES: i64 = 64;
/// Nothing is taken back while less than this is free: the last bytes of a disk are not ours.
const PLENTY: u64 = 4 * BALLAST;
/// What the next entries need at least, of either stock or of the filesystem.
pub(super) const NEEDED_PAGES: i64 = 32;
pub(super) const NEEDED_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    ballast: Option<File>,
    held: bool,
}

impl Room {
    /// A ballast that cannot be made (no room for it) is made later.
    pub(super) fn open(path: PathBuf) -> Self {
        let ballast = folder::file(&path).ok();
        let held = ballast.as_ref().and_then(|f| f.metadata().ok()).is_some_and(|m| allocated(&m) >= BALLAST);
        let mut room = Self { path, ballast, held };
        room.take_back();
        room
    }

    /// Gives the ballast's bytes back to the filesystem. False when there were none.
    pub(super) fn release(&mut self) -> bool {
        // Emptied, not removed: making it again must not need an inode.
        let given = self.held && self.ballast.as_ref().is_some_and(|f| f.set_len(0).is_ok());
        self.held = false;
        given
    }

    /// Makes the ballast again when there is plenty of room.
    pub(super) fn take_back(&mut self) {
        if self.held || self.free() < PLENTY {
            return;
        }
        if self.ballast.is_none() {
            self.ballast = folder::file(&self.path).ok();
        }
        if let Some(file) = &self.ballast {
            self.held = fill(file).is_ok() && file.metadata().is_ok_and(|m| allocated(&m) >= BALLAST);
        }
    }

    pub(super) fn held(&self) -> bool {
        self.held
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Bytes that a user without privileges may still write; 0 when that cannot be told.
    pub(super) fn free(&self) -> u64 {
        folder::free_bytes(self.folder())
    }

    pub(super) fn read_only(&self) -> bool {
        rustix::fs::statvfs(self.folder()).is_ok_and(|s| s.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    }
}

fn allocated(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(meta) * 512
}

fn fill(file: &File) -> std::io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, BALLAST) {
        Err(rustix::io::Errno::OPNOTSUPP) => {
            use std::os::unix::fs::FileExt;
            let zeros = vec![0; 1 << 16];
            (0..BALLAST).step_by(zeros.len()).try_for_each(|at| file.write_all_at(&zeros, at))?;
            file.sync_all()
        }
        other => Ok(other?),
    }
}

/// Pages inside the book that an entry can use without asking the filesystem.
pub(super) fn free_pages(conn: &Connection) -> i64 {
    conn.query_row("PRAGMA freelist_count", [], |r| r.get(0)).unwrap_or(0)
}

/// Fills the stock inside the book when it has run low and the filesystem has plenty.
pub(super) fn restock(conn: &Connection, room: &Room) {
    if free_pages(conn) >= RESERVE_PAGES / 2 || room.free() < PLENTY {
        return;
    }
    // One row a page; written once, journalled once, then freed: the blocks stay with the file.
    let stock = format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < {RESERVE_PAGES})
         INSERT OR IGNORE INTO reserve(id, pad) SELECT i, zeroblob(3900) FROM n;
         COMMIT;
         UPDATE reserve SET pad = zeroblob(3899) WHERE id <= {JOURNAL_PAGES};
         DELETE FROM reserve;"
    );
    if conn.execute_batch(&stock).is_err() && !conn.is_autocommit() {
        // Only a stock: without it the ballast is still there, and the next entry tries again.
        let _ = conn.execute_batch("ROLLBACK");
    }
}
