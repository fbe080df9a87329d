//! `byteportctl check FILE`: the same reading as at a start, for one file by itself.

use std::path::Path;

use super::layers::{self, Owner};
use super::problem::Problem;
use super::web::Web;
use super::{actuator, agent, collector};

/// Everything that is wrong with a file, whichever of the three it is: by its name or its folder's (`actuator.toml`,
/// `actuator.toml.d/50-site.toml`), else the one that it is closest to.
pub fn check(file: &Path) -> Vec<Problem> {
    let read = || layers::read_one(file, Owner::Anybody).map(|source| vec![source]).map_err(|p| vec![p]);
    let env = |_: &str| None;
    let as_agent = || read().and_then(|s| listener(&agent::build(&s, &env)?.config)).err().unwrap_or_default();
    let as_actuator = || read().and_then(|s| actuator::build(&s, &env).map(drop)).err().unwrap_or_default();
    // What a file names is checked with it, where it is here: a copy may be checked on another host.
    let here = |path: &Path| path.exists().then(|| Web::read(path));
    let as_collector = || read().and_then(|s| collector::build(&s, &here).map(drop)).err().unwrap_or_default();
    let named = |kind: &str| {
        let says = |part: Option<&std::ffi::OsStr>| part.is_some_and(|n| n.as_encoded_bytes().starts_with(kind.as_bytes()));
        says(file.file_name()) || says(file.parent().and_then(Path::file_name))
    };
    let kinds: [(&str, &dyn Fn() -> Vec<Problem>); 3] = [("agent", &as_agent), ("actuator", &as_actuator), ("collector", &as_collector)];
    let mut told = kinds.iter().filter(|(kind, _)| named(kind));
    match (told.next(), told.next()) {
        (Some((_, as_told)), None) => as_told(),
        _ => kinds.iter().map(|(_, as_it)| as_it()).min_by_key(Vec::len).unwrap_or_default(),
    }
}

fn listener(config: &agent::Agent) -> Result<(), Vec<Problem>> {
    let path = config.web_config_file.as_ref().filter(|path| path.exists());
    path.map_or(Ok(()), |path| Web::read(path).map(drop).map_err(|why| vec![Problem::of_file(path, why, None)]))
}
