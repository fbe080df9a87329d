//! How well a file would compress, from a few samples of it.

use std::io::Write;
use std::os::unix::fs::FileExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::OFlags;

use super::root::{Root, io_error};
use super::{Read, ReadError};
use crate::model::HostPath;

const SAMPLE: u64 = 64 << 10;

/// Compressed size / size, over the beginning, the middle and the end. 1 for an empty file. A file that is no regular one is an error.
pub(super) fn read_ratio(root: &Root, path: &HostPath) -> Read<f64> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let file = match root.open_flags(path, flags | OFlags::NOATIME) {
        // Only the owner may leave the access time alone.
        Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => root.open_flags(path, flags)?,
        other => other?,
    };
    let file = std::fs::File::from(file);
    let metadata = file.metadata().map_err(|e| io_error(path, e))?;
    if !metadata.is_file() {
        return Err(ReadError::NotHere { what: path.to_string(), why: "not a regular file".to_owned() });
    }
    let size = metadata.len();
    let mut starts = vec![0, (size / 2).saturating_sub(SAMPLE / 2), size.saturating_sub(SAMPLE)];
    if size <= SAMPLE {
        starts.truncate(1);
    }
    let (mut raw, mut packed) = (0, 0);
    let mut buffer = vec![0; SAMPLE as usize];
    for start in starts {
        let mut length = 0;
        while length < buffer.len() {
            match file.read_at(&mut buffer[length..], start + length as u64) {
                Ok(0) => break,
                Ok(n) => length += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(io_error(path, e)),
            }
        }
        raw += length;
        packed += compressed(&buffer[..length]).map_err(|e| io_error(path, e))?;
    }
    Ok(if raw == 0 { 1.0 } else { packed as f64 / raw as f64 })
}

fn compressed(bytes: &[u8]) -> std::io::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_compresses_and_noise_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let ratio = |bytes: &[u8]| {
            std::fs::write(dir.path().join("f"), bytes).unwrap();
            read_ratio(&Root::open(dir.path()).unwrap(), &"/f".into()).unwrap()
        };
        let line = b"Nov 21 22:00:01 host app[1]: request served in 12 ms\n".repeat(20_000);
        assert!(ratio(&line) < 0.1);
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(400_000)
        .collect();
        assert!(ratio(&noise) > 0.95);
        // The middle counts too: half a file of noise is not hidden by its text at both ends.
        let mixed = [&line[..100_000], &noise[..200_000], &line[..100_000]].concat();
        assert!((0.25..0.6).contains(&ratio(&mixed)));
        assert_eq!(ratio(b""), 1.0);
    }
}
