//! `backup create|verify`: a copy of everything, and whether one is good.

use anyhow::Result;

use super::audit;
use super::desk::Desk;
use crate::cli::Done;
use crate::cli::args::{BackupFile, BackupVerb};
use crate::collector::store::{Backup, create_backup, verify_backup};
use crate::model::HostPath;
use crate::report::clean;

pub(super) fn run(verb: &BackupVerb, desk: &mut Desk<'_>) -> Result<Done> {
    match verb {
        BackupVerb::Create(args) => create(args, desk),
        BackupVerb::Verify(args) => verify(args, desk),
    }
}

fn create(args: &BackupFile, desk: &mut Desk<'_>) -> Result<Done> {
    create_backup(&desk.file(), &args.file)?;
    desk.line(&format!("{} is written; `byteport-collector backup verify` looks through it", HostPath::from(args.file.as_path())))
}

fn verify(args: &BackupFile, desk: &mut Desk<'_>) -> Result<Done> {
    let backup = verify_backup(&args.file)?;
    desk.show(&backup, |backup| words(args, backup))?;
    Ok(if backup.is_good() { Done::Well } else { Done::Findings })
}

fn words(args: &BackupFile, backup: &Backup) -> String {
    let mut text: String = backup.damage.iter().map(|line| format!("damaged: {}\n", clean(line))).collect();
    let counts: Vec<String> = backup.counts.iter().map(|(table, rows)| format!("{rows} {table}")).collect();
    text.push_str(&audit::words(&backup.verified));
    let is = if backup.is_good() { "good" } else { "NOT good" };
    text + &format!("{} is {is}: {}\n", HostPath::from(args.file.as_path()), counts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::start::tests::typed;
    use crate::collector::store::test_file::{Made, agent};

    #[test]
    fn a_backup_is_made_once_and_a_changed_one_is_a_finding() {
        let made = Made::new();
        made.agent("web-1");
        made.stream(&agent("web-1"), "s1", 12);
        let file = made.file().with_file_name("backup.db");
        let name = file.to_str().unwrap();
        assert!(typed(&made, &["backup", "create", name]).well().contains("is written"));
        let ran = typed(&made, &["backup", "create", name]);
        assert!(ran.code == 2 && ran.err.contains("is there already"), "{ran:?}");
        let told = typed(&made, &["backup", "verify", name]).well();
        assert!(told.contains("web-1") && told.contains("is good: 1 agents, 0 tokens") && told.contains("12 records"), "{told}");
        let mut bytes = fs::read(&file).unwrap();
        let at = bytes.windows(12).position(|w| w == b"row number 3").unwrap();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        let ran = typed(&made, &["backup", "verify", name]);
        assert!(ran.code == 1 && ran.out.contains("BROKEN at row 3") && ran.out.contains("is NOT good"), "{ran:?}");
        let json: serde_json::Value = serde_json::from_str(&typed(&made, &["backup", "verify", name, "--json"]).out).unwrap();
        assert_eq!(json["verified"]["streams"][0]["chain"]["broken"]["row"], 3);
    }
}
