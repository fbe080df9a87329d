//! What has passed on this very package: a run of all scenarios goes on where the one before it ended.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::score::Passed;

pub struct Kept {
    file: PathBuf,
    passed: BTreeMap<String, Passed>,
}

impl Kept {
    /// `payload`: the package and what is installed with it.
    pub fn of(target: &Path, payload: &Path) -> Self {
        let mut package = DefaultHasher::new();
        fs::read(payload).expect("the payload").hash(&mut package);
        let folder = target.join("vm-passed");
        fs::create_dir_all(&folder).expect("target/vm-passed");
        let file = folder.join(format!("{:016x}.json", package.finish()));
        let passed = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { file, passed }
    }

    pub fn find(&self, name: &str) -> Option<Passed> {
        self.passed.get(name).copied()
    }

    pub fn add(&mut self, name: &str, came: Passed) {
        self.passed.insert(name.to_owned(), came);
        let text = serde_json::to_vec(&self.passed).expect("names and numbers");
        fs::write(&self.file, text).expect("target/vm-passed");
    }
}
