//! Who is on the other end of a local socket, and the kernel's random source.

use std::ffi::CString;

use nix::unistd::{Gid, Uid, User, getgrouplist};

/// The user's name, or the number where there is none.
pub fn user_name(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => uid.to_string(),
    }
}

/// Whether this user belongs to a group: as primary group of the process, or by the group database.
pub fn in_group(uid: u32, primary: u32, group: u32) -> bool {
    if primary == group {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&Gid::from_raw(group)))
}

/// Sixteen bits that nobody can foresee; 0 where the kernel gives none (they only tell incidents of one second apart).
pub fn random_u16() -> u16 {
    let mut bytes = [0; 2];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(2) => u16::from_ne_bytes(bytes),
        Ok(_) | Err(_) => 0,
    }
}
