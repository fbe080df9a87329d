//! Whatever a host says, no parser panics. `fuzz/run` builds this and runs it.

#![no_main]

use std::path::Path;
use std::{env, fs};

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: write_seeds(), |bytes: &[u8]| byteport::host::feed(bytes));

/// What was recorded, each with the byte before it that leads to its parser.
fn write_seeds() {
    let Some(to) = env::var_os("BYTEPORT_SEEDS") else { return };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let hosts = fs::read_dir(here.join("../fixtures/hosts")).expect("recorded hosts").map(|host| host.expect("a host").path());
    for (host, tree) in hosts.chain([here.join("seeds")]).enumerate() {
        for (which, path) in byteport::host::fed() {
            if let Ok(recorded) = fs::read(tree.join(path)) {
                let seed = Path::new(&to).join(format!("{which}-{host}"));
                fs::write(seed, [&[which], recorded.as_slice()].concat()).expect("a seed");
            }
        }
    }
}
