//! Files of the kernel that every sample reads.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Read;
use super::root::{MAX_FILE, Root, io_error};
use crate::model::HostPath;

/// The smallest page there is: the kernel hands out tables of many records a page at a time, however large our buffer is.
const PAGE: usize = 4096;
/// No line of a table that is [`Ends::BeforeAPage`] is longer.
const LONGEST_LINE: usize = 512;

/// How the end of a file is told. Asking until nothing more comes is always right, and one call more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// When nothing more comes.
    WithNothing,
    /// One record, which the kernel hands out at once: what leaves room in the buffer is all of it.
    InOneRead,
    /// A table of short lines: a page that had room for another line is the last.
    BeforeAPage,
}

impl Ends {
    /// Whether a read of `got` bytes into `space` was the last.
    const fn is_last(self, got: usize, space: usize) -> bool {
        match self {
            Self::WithNothing => got == 0,
            Self::InOneRead => got < space,
            Self::BeforeAPage => got < PAGE - LONGEST_LINE,
        }
    }
}

/// A file that is kept open and read again from its beginning into the same buffer, which grows to fit and is not allocated again.
///
/// Some kernels (6.12.43, 6.14) refuse to read some files at an offset; such a file is opened anew each time, from then on.
#[derive(Debug)]
pub(super) struct HotFile {
    path: Cow<'static, str>,
    ends: Ends,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    buffer: Vec<u8>,
    /// Reading at an offset was refused once.
    sequential: bool,
}

impl HotFile {
    /// A file of any kind.
    pub(super) fn new(path: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.into(), ends: Ends::WithNothing, state: Mutex::default() }
    }

    /// A file of `/proc` or `/sys` that the kernel makes as one record: all but tables with a line a device, a mount or a counter.
    pub(super) fn one_record(path: impl Into<Cow<'static, str>>) -> Self {
        Self { ends: Ends::InOneRead, ..Self::new(path) }
    }

    /// A table of `/proc` that the kernel makes line by line, none of which is longer than 512 bytes.
    pub(super) fn short_lines(path: impl Into<Cow<'static, str>>) -> Self {
        Self { ends: Ends::BeforeAPage, ..Self::new(path) }
    }

    /// Hands the content to `use_it`.
    pub(super) fn read<T>(&self, root: &Root, use_it: impl FnOnce(&[u8]) -> Read<T>) -> Read<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let length = state.refill(root, &self.path, self.ends)?;
        use_it(&state.buffer[..length])
    }

    /// Whether the kernel has something new in it since this was asked last (or the file was opened), as it says of mount tables. `true`
    /// wherever that cannot be told, and before the first read.
    pub(super) fn may_have_changed(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &state.file else { return true };
        let mut asked = [PollFd::new(file, PollFlags::PRI)];
        !matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0))
    }

    /// Whether it is one of the kernel's own files: others never say that they have changed.
    pub(super) fn is_kernels(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.file.as_ref().is_some_and(|f| rustix::fs::fstatfs(f).is_ok_and(|s| s.f_type == rustix::fs::PROC_SUPER_MAGIC))
    }
}

impl State {
    /// Reads all of it; says how long it is.
    fn refill(&mut self, root: &Root, path: &str, ends: Ends) -> Read<usize> {
        if let Some(file) = self.file.take()
            && let Ok(length) = fill(&mut self.buffer, ends, |rest, at| file.read_at(rest, at))
        {
            self.file = Some(file);
            return Ok(length);
        }
        // Read for the first time; or what was kept open is there no more, which says nothing about what is there now.
        let host = HostPath::from(path);
        if !self.sequential {
            let file = root.open_file(&host)?;
            match fill(&mut self.buffer, ends, |rest, at| file.read_at(rest, at)) {
                Ok(length) => {
                    self.file = Some(file);
                    return Ok(length);
                }
                Err(e) if cannot_seek(&e) => {}
                Err(e) => return Err(io_error(&host, e)),
            }
        }
        let mut file = root.open_file(&host)?;
        let length = fill(&mut self.buffer, Ends::WithNothing, |rest, _| file.read(rest)).map_err(|e| io_error(&host, e))?;
        self.sequential = true;
        Ok(length)
    }
}

fn cannot_seek(error: &io::Error) -> bool {
    [Errno::SPIPE, Errno::INVAL].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

/// Calls `read` with what is left of the buffer, and its offset, until the end.
fn fill(buffer: &mut Vec<u8>, ends: Ends, mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        // Less than a page of room would make more calls than the kernel has pages.
        if buffer.len() - length < PAGE {
            if length as u64 >= MAX_FILE {
                return Ok(length);
            }
            buffer.resize((buffer.len() * 2).max(PAGE), 0);
        }
        let rest = &mut buffer[length..];
        let space = rest.len();
        match read(rest, length as u64) {
            Ok(got) => {
                length += got;
                if got == 0 || ends.is_last(got, space) {
                    return Ok(length);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(hot: &HotFile, root: &Root) -> Vec<u8> {
        hot.read(root, |b| Ok(b.to_vec())).unwrap()
    }

    #[test]
    fn it_is_read_anew_each_time_and_may_grow() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hot");
        let root = Root::open(dir.path()).unwrap();
        for hot in [HotFile::new("/hot"), HotFile::one_record("/hot")] {
            std::fs::write(&file, "one").unwrap();
            assert_eq!(content(&hot, &root), b"one");
            std::fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
            assert_eq!(content(&hot, &root).len(), 3 << 20);
            let grown = hot.state.lock().unwrap().buffer.as_ptr();
            std::fs::write(&file, "3").unwrap();
            assert_eq!(content(&hot, &root), b"3");
            assert_eq!(content(&hot, &root), b"3");
            assert_eq!(hot.state.lock().unwrap().buffer.as_ptr(), grown, "the buffer was allocated again");
        }
    }

    #[test]
    fn what_was_replaced_is_found_again() {
        let proc = Root::open(std::path::Path::new("/proc")).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let hot = HotFile::one_record(format!("/{}/stat", child.id()));
        assert!(content(&hot, &proc).starts_with(child.id().to_string().as_bytes()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(super::super::root::is_absent(&hot.read(&proc, |_| Ok(())).unwrap_err()));
        assert!(hot.state.lock().unwrap().file.is_none());
    }

    #[test]
    fn a_file_that_cannot_seek_is_read_from_its_beginning() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let root = Root::open(dir.path()).unwrap();
        // Something written stays in a pipe only as long as somebody has it open.
        let keeper = root.open_file(&"/fifo".into()).unwrap();
        let hot = HotFile::one_record("/fifo");
        for text in [b"first\n".as_slice(), &vec![b'x'; 9000], b"third\n"] {
            File::options().write(true).open(&path).unwrap().write_all(text).unwrap();
            assert_eq!(content(&hot, &root), text);
            assert!(hot.state.lock().unwrap().sequential);
        }
        drop(keeper);
    }

    #[test]
    fn a_disk_with_many_partitions_hides_none_after_it() {
        // One record a disk, partitions and all: the first page ends long before it is full.
        let records: Vec<Vec<u8>> = (0..6).map(|disk| vec![b'a' + disk; 1500]).collect();
        let (mut buffer, mut calls) = (Vec::new(), 0);
        let length = fill(&mut buffer, Ends::WithNothing, kernel(&records, &mut calls)).unwrap();
        assert_eq!(buffer[..length], records.concat());
    }

    /// What a kernel does that hands out `page` bytes of whole records a call, and what it costs in calls.
    fn kernel<'a>(records: &'a [Vec<u8>], calls: &'a mut usize) -> impl FnMut(&mut [u8], u64) -> io::Result<usize> + 'a {
        let whole = records.concat();
        move |rest, at| {
            *calls += 1;
            let (mut from, mut given) = (0, 0);
            for record in records {
                let fits = given + record.len() <= rest.len() && (given + record.len() <= PAGE || given == 0);
                if from >= at as usize && fits {
                    rest[given..given + record.len()].copy_from_slice(&whole[from..from + record.len()]);
                    given += record.len();
                } else if from >= at as usize {
                    break;
                }
                from += record.len();
            }
            Ok(given)
        }
    }

    #[test]
    fn no_more_calls_than_pages_and_none_for_the_end_where_it_shows() {
        let count = |ends, records: &[Vec<u8>]| {
            let (mut calls, mut buffer) = (0, Vec::new());
            let length = fill(&mut buffer, ends, kernel(records, &mut calls)).unwrap();
            assert_eq!(length, records.concat().len());
            calls
        };
        let lines = |n: usize| vec![vec![b'x'; 256]; n];
        assert_eq!(count(Ends::BeforeAPage, &lines(3)), 1);
        assert_eq!(count(Ends::BeforeAPage, &lines(16)), 2, "a full page may not be the last");
        assert_eq!(count(Ends::WithNothing, &lines(3)), 2);
        // 1 MiB: a call a page, and one for the end.
        assert_eq!(count(Ends::WithNothing, &lines(4096)), 257);
        assert_eq!(count(Ends::InOneRead, &lines(3)), 1);
    }

    #[test]
    fn the_mount_table_says_whether_it_changed() {
        let root = Root::open(std::path::Path::new("/")).unwrap();
        let table = HotFile::new("/proc/self/mountinfo");
        assert!(table.may_have_changed(), "never read");
        content(&table, &root);
        assert!(table.is_kernels());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mountinfo"), "").unwrap();
        let (made_up, below) = (HotFile::new("/mountinfo"), Root::open(dir.path()).unwrap());
        content(&made_up, &below);
        assert!(!made_up.is_kernels());
    }

    proptest! {
        #[test]
        fn a_table_is_whole_wherever_its_pages_end(lengths in proptest::collection::vec(1usize..=LONGEST_LINE, 0..60)) {
            let records: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(i, n)| vec![b'a' + (i % 26) as u8; *n]).collect();
            let (mut calls, mut buffer) = (0, Vec::new());
            let length = fill(&mut buffer, Ends::BeforeAPage, kernel(&records, &mut calls)).unwrap();
            prop_assert_eq!(&buffer[..length], records.concat());
        }
    }
}
