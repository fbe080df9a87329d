//! What one run hands on to the next: a file that may be missing, old or damaged, because nothing rests on it but comfort.

use std::io::{Read as _, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RecordError;

const NAME: &str = "carried.json";
/// More than every history there can be; a file that grew beyond it is not ours.
const MOST_BYTES: u64 = 32 << 20;

/// Replaces what was handed on before, whole or not at all.
///
/// # Errors
/// Naming the file.
pub fn carry<T: Serialize>(state_dir: &Path, what: &T) -> Result<(), RecordError> {
    let (path, new) = (state_dir.join(NAME), state_dir.join(format!("{NAME}.new")));
    let io = |source| RecordError::Io { file: new.clone(), source };
    let json = serde_json::to_vec(what).map_err(|e| io(e.into()))?;
    let mut file = crate::folder::file(&new)?;
    file.set_len(0).and_then(|()| file.write_all(&json)).and_then(|()| file.sync_all()).map_err(io)?;
    std::fs::rename(&new, &path).map_err(|source| RecordError::Io { file: path, source })
}

/// What the run before handed on; `None` when it did not, or what is there cannot be read.
pub fn carried<T: DeserializeOwned>(state_dir: &Path) -> Option<T> {
    let mut json = Vec::new();
    let file = crate::folder::file(&state_dir.join(NAME)).ok()?;
    file.take(MOST_BYTES).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_comes_back_and_damage_is_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(carried::<Vec<u8>>(dir.path()), None);
        carry(dir.path(), &vec![1_u8, 2, 3]).unwrap();
        carry(dir.path(), &vec![4_u8]).unwrap();
        assert_eq!(carried::<Vec<u8>>(dir.path()), Some(vec![4]));
        std::fs::write(dir.path().join(NAME), b"[4").unwrap();
        assert_eq!(carried::<Vec<u8>>(dir.path()), None);
        std::fs::remove_file(dir.path().join(NAME)).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join(NAME)).unwrap();
        assert_eq!(carried::<String>(dir.path()), None, "a link is nothing of ours");
    }
}
