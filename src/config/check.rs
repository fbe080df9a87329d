//! `byteportctl check FILE`: the same reading as at a start, for one file by itself.

use std::path::Path;

use super::layers::{self, Owner};
use super::problem::Problem;
use super::web::Web;
use super::{actuator, agent};

/// Everything that is wrong with a file, whichever of the two it is: by its name or its folder's (`actuator.toml`,
/// `actuator.toml.d/50-site.toml`), else the one that it is closer to.
pub fn check(file: &Path) -> Vec<Problem> {
    let read = || layers::read_one(file, Owner::Anybody).map(|source| vec![source]).map_err(|p| vec![p]);
    let env = |_: &str| None;
    let as_agent = || read().and_then(|s| listener(&agent::build(&s, &env)?.config)).err().unwrap_or_default();
    let as_actuator = || read().and_then(|s| actuator::build(&s, &env).map(drop)).err().unwrap_or_default();
    let named = |kind: &str| {
        let says = |part: Option<&std::ffi::OsStr>| part.is_some_and(|n| n.as_encoded_bytes().starts_with(kind.as_bytes()));
        says(file.file_name()) || says(file.parent().and_then(Path::file_name))
    };
    match (named("agent"), named("actuator")) {
        (true, false) => as_agent(),
        (false, true) => as_actuator(),
        _ => {
            let (agent, actuator) = (as_agent(), as_actuator());
            if actuator.len() < agent.len() { actuator } else { agent }
        }
    }
}

/// What the agent's file names is checked with it, where it is here: a copy may be checked on another host.
fn listener(config: &agent::Agent) -> Result<(), Vec<Problem>> {
    let path = config.web_config_file.as_ref().filter(|path| path.exists());
    path.map_or(Ok(()), |path| Web::read(path).map(drop).map_err(|why| vec![Problem::of_file(path, why, None)]))
}
