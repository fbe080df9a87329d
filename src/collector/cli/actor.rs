//! Who types, for the audit.

/// The user's name, and whose it was before `sudo`; numbers where there are no names.
pub fn who() -> String {
    let user = nix::unistd::getuid();
    let name = nix::unistd::User::from_uid(user).ok().flatten().map_or_else(|| format!("user {user}"), |user| user.name);
    match std::env::var("SUDO_USER") {
        // Said by whoever started this: a hint for the reader, never a right.
        Ok(before) if user.is_root() && !before.is_empty() && before != name => format!("{name} ({before} by sudo)"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn somebody_always_types() {
        assert!(!super::who().is_empty());
    }
}
