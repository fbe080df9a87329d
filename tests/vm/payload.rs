//! What is brought into the machine: the .deb of this tree, as a tar on a read-only disk.
//!
//! Not part of the image. The disk always has the same size, so that a saved machine does not notice that it is another one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::output;

const SIZE: u64 = 64 << 20;

/// Builds the package (`PROFILE`: dev unless it is set) and packs the disk.
pub fn pack(repository: &Path, to: &Path) -> PathBuf {
    let profile = std::env::var("PROFILE").unwrap_or_else(|_| "dev".into());
    output(Command::new(repository.join("packaging/build.sh")).arg("deb").env("PROFILE", profile));
    let built = fs::read_dir(repository.join("target/packages")).expect("built").map(|e| e.expect("entry").path());
    let is_ours = |p: &PathBuf| p.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("byteport_") && n.ends_with(".deb"));
    let deb = built.into_iter().find(is_ours).expect("a .deb was built");
    fs::copy(deb, to.join("byteport.deb")).expect("copied");
    let disk = to.join("payload.img");
    output(Command::new("tar").arg("-C").arg(to).arg("-cf").arg(&disk).arg("byteport.deb"));
    let file = File::options().append(true).open(&disk).expect("payload");
    assert!(file.metadata().expect("payload").len() < SIZE, "the package has outgrown the payload's disk");
    file.set_len(SIZE).expect("payload");
    disk
}
