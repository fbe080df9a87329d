//! `BYTEPORT_DRY_RUN` wins over everything, and in doubt it is set.

pub(super) const NAME: &str = "BYTEPORT_DRY_RUN";

/// Whether it is set, and what is odd about it.
pub(super) fn dry_run(env: &dyn Fn(&str) -> Option<String>) -> (bool, Option<String>) {
    let Some(value) = env(NAME) else { return (false, None) };
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => (true, None),
        "" | "false" | "0" | "no" | "off" => (false, None),
        _ => (true, Some(format!("{NAME}={value:?} is neither true nor false: taken as true, nothing is done"))),
    }
}
