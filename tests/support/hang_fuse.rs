//! A FUSE filesystem that is mounted and never answers: the nearest thing to a dead NFS server that one machine can have.
//!
//! Spoken raw on `/dev/fuse`, so no library is needed. Mount it in a namespace of the test's own (`namespaces.rs`).

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

const OP_STATFS: u32 = 17;
const OP_FORGET: u32 = 2;
const OP_INTERRUPT: u32 = 36;
const OP_BATCH_FORGET: u32 = 42;

/// Dropping it is the death of its daemon: whoever waits gets an error, and the mount goes away.
pub struct HangFuse {
    device: Option<File>,
    at: PathBuf,
}

impl HangFuse {
    /// Mounts it. It answers the kernel's greeting, then nothing any more.
    pub fn mount(at: &Path) -> Self {
        let mut device = OpenOptions::new().read(true).write(true).open("/dev/fuse").expect("/dev/fuse");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        mount(Some("hang"), at, Some("fuse.hang"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options.as_str()))
            .expect("mount fuse.hang");
        let (_, unique) = next_request(&mut device).expect("the kernel's greeting");
        // Protocol 7.31, no features, small limits.
        let mut init = Vec::new();
        for word in [7u32, 31, 65_536, 0] {
            init.extend(word.to_ne_bytes());
        }
        for half in [12u16, 10] {
            init.extend(half.to_ne_bytes());
        }
        for word in [65_536u32, 1] {
            init.extend(word.to_ne_bytes());
        }
        for half in [32u16, 0] {
            init.extend(half.to_ne_bytes());
        }
        init.resize(64, 0);
        reply(&mut device, unique, 0, &init).expect("answer to the greeting");
        Self { device: Some(device), at: at.to_path_buf() }
    }

    /// From now on it answers statvfs, also those that were asked before: 1000 blocks of 4096 bytes, half of them free.
    pub fn wake(&mut self) {
        let mut device = self.device.as_ref().expect("alive").try_clone().expect("another handle");
        std::thread::spawn(move || {
            while let Ok((operation, unique)) = next_request(&mut device) {
                let done = match operation {
                    OP_FORGET | OP_BATCH_FORGET | OP_INTERRUPT => Ok(()),
                    OP_STATFS => {
                        let mut answer = Vec::new();
                        for count in [1000u64, 500, 500, 100, 50] {
                            answer.extend(count.to_ne_bytes());
                        }
                        for word in [4096u32, 255, 4096] {
                            answer.extend(word.to_ne_bytes());
                        }
                        answer.resize(80, 0);
                        reply(&mut device, unique, 0, &answer)
                    }
                    _ => reply(&mut device, unique, -nix::libc::ENOSYS, &[]),
                };
                // Who asked may have given up meanwhile.
                drop(done);
            }
        });
    }
}

impl Drop for HangFuse {
    fn drop(&mut self) {
        drop(self.device.take());
        // Gone already when the namespace is.
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

/// Operation and number of the next request.
fn next_request(device: &mut File) -> std::io::Result<(u32, u64)> {
    let mut buffer = vec![0; 1 << 17];
    let length = device.read(&mut buffer)?;
    assert!(length >= 16, "a request of {length} bytes");
    let operation = u32::from_ne_bytes(buffer[4..8].try_into().expect("four bytes"));
    Ok((operation, u64::from_ne_bytes(buffer[8..16].try_into().expect("eight bytes"))))
}

fn reply(device: &mut File, unique: u64, error: i32, body: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(16 + body.len()).expect("short");
    let message = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes(), body].concat();
    device.write_all(&message)
}
