//! Logical volumes: how large, how much room beside them, and growing one with its filesystem while it is in use.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::files::growth;
use super::programs::{Program, run};
use super::{Scene, Tally};
use crate::host::ReadHost;
use crate::host::bus::wait_for;
use crate::model::{Bytes, Effect, GrowVolume, HostPath, Mount, Observed, SkipReason, VolumeInfo};

const LOOK: Duration = Duration::from_secs(18);

/// `lvs --reportformat json`.
#[derive(Debug, Deserialize)]
struct Report {
    report: Vec<Lines>,
}

#[derive(Debug, Deserialize)]
struct Lines {
    lv: Vec<Line>,
}

/// LVM writes numbers as text.
#[derive(Debug, Deserialize)]
struct Line {
    vg_name: String,
    lv_name: String,
    lv_size: String,
    vg_free: String,
    vg_extent_size: String,
    lv_kernel_major: String,
    lv_kernel_minor: String,
}

pub(super) fn look(root: &Path, host: &dyn ReadHost, mount: &HostPath) -> Observed<VolumeInfo> {
    match mounted(host, mount) {
        Ok(mount) => wait_for(LOOK, "lvs", volume_of(root, &mount)).into(),
        Err(why) => Observed::unavailable(why),
    }
}

fn mounted(host: &dyn ReadHost, at: &HostPath) -> Result<Mount, String> {
    let mounts = host.mounts().map_err(|e| e.to_string())?;
    mounts.into_iter().find(|m| &m.path == at || m.also_at.contains(at)).ok_or_else(|| format!("nothing is mounted at {at}"))
}

async fn volume_of(root: &Path, mount: &Mount) -> Result<VolumeInfo, String> {
    let columns = "vg_name,lv_name,lv_size,vg_free,vg_extent_size,lv_kernel_major,lv_kernel_minor";
    let arguments = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", columns].map(str::to_owned);
    let said = run(root, Program::Lvs, &arguments, None, LOOK).await?;
    let (major, minor) = (rustix::fs::major(mount.device), rustix::fs::minor(mount.device));
    find(&said, major, minor)?.ok_or_else(|| format!("{} is not on a logical volume", mount.path))
}

fn find(said: &[u8], major: u32, minor: u32) -> Result<Option<VolumeInfo>, String> {
    let report: Report = serde_json::from_slice(said).map_err(|e| format!("lvs: {e}"))?;
    let wanted = |line: &&Line| line.lv_kernel_major == major.to_string() && line.lv_kernel_minor == minor.to_string();
    let lines: Vec<Line> = report.report.into_iter().flat_map(|r| r.lv).collect();
    let Some(line) = lines.iter().find(wanted) else { return Ok(None) };
    let bytes = |text: &str| text.parse().map(Bytes).map_err(|_| format!("lvs: {text:?} is no number of bytes"));
    Ok(Some(VolumeInfo {
        vg: line.vg_name.clone(),
        lv: line.lv_name.clone(),
        size: bytes(&line.lv_size)?,
        vg_free: bytes(&line.vg_free)?,
        extent: bytes(&line.vg_extent_size)?,
    }))
}

pub(super) fn grow(grow: &GrowVolume, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    let before = scene.room_at(&grow.mount);
    let name = HostPath::from(format!("{}/{}", grow.vg, grow.lv).as_str());
    match wait_for(scene.left(), "growing", carry_out(grow, scene, &mut tally)) {
        Ok(()) => {
            tally.available_delta = growth(before, (grow.to.0 - grow.from.0) / 10 * 9, || scene.room_at(&grow.mount));
            tally.freed = tally.available_delta.and_then(|d| u64::try_from(d).ok()).unwrap_or(0);
            tally.note(format!("{name} grew from {} to {}", grow.from, grow.to));
        }
        Err(why) if tally.done == 0 => {
            tally.note(format!("nothing was grown: {why}"));
            tally.skip(name, SkipReason::Error);
        }
        Err(why) => tally.stop(format!("{name} was grown, its filesystem was not: {why}; finish it by hand")),
    }
    tally.finish(scene.now())
}

async fn carry_out(grow: &GrowVolume, scene: &Scene<'_>, tally: &mut Tally) -> Result<(), String> {
    let mount = mounted(scene.host, &grow.mount)?;
    if mount.fs_type != grow.fs_type {
        return Err(format!("{} is {} by now, the plan was made for {}", grow.mount, mount.fs_type, grow.fs_type));
    }
    let (enlarge, argument) = match grow.fs_type.as_str() {
        "ext4" => (Program::Resize2fs, format!("/dev/{}/{}", grow.vg, grow.lv)),
        "xfs" => (Program::XfsGrowfs, grow.mount.as_path().to_str().ok_or("a mount point that is not UTF-8")?.to_owned()),
        other => return Err(format!("{other} is not grown by this actuator: ext4 and xfs are")),
    };
    let found = volume_of(scene.root_path, &mount).await?;
    if (&found.vg, &found.lv, found.size) != (&grow.vg, &grow.lv, grow.from) {
        return Err(format!("{} is on {}/{} of {} by now", grow.mount, found.vg, found.lv, found.size));
    }
    let more = grow.to.0.saturating_sub(grow.from.0);
    if more > found.vg_free.0 {
        return Err(format!("{} are free in {}, {} are needed", found.vg_free, found.vg, Bytes(more)));
    }
    let size = ["--size".to_owned(), format!("{}B", grow.to.0), format!("{}/{}", grow.vg, grow.lv)];
    run(scene.root_path, Program::Lvextend, &size, None, scene.left()).await?;
    tally.done = 1;
    run(scene.root_path, enlarge, &[argument], None, scene.left()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_found_by_its_device_number() {
        let said = br#"{"report":[{"lv":[
            {"vg_name":"data","lv_name":"other","lv_size":"1","vg_free":"2","vg_extent_size":"3","lv_kernel_major":"253","lv_kernel_minor":"1"},
            {"vg_name":"data","lv_name":"logs","lv_size":"1073741824","vg_free":"4294967296","vg_extent_size":"4194304","lv_kernel_major":"253","lv_kernel_minor":"0"}
        ]}]}"#;
        let found = find(said, 253, 0).unwrap().unwrap();
        assert_eq!((found.lv.as_str(), found.size, found.vg_free), ("logs", Bytes(1 << 30), Bytes(4 << 30)));
        assert_eq!(find(said, 8, 0).unwrap(), None);
        assert!(find(b"  WARNING", 8, 0).is_err());
    }
}
