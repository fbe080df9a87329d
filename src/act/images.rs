//! Container images of the local docker engine: which are there, and removing those that nobody uses.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::docker::{DockerError, Engine, Inspected, is_reference};
use super::files::growth;
use super::{Scene, Tally};
use crate::guard::{Limits, never};
use crate::host::bus::wait_for;
use crate::model::{Bytes, Effect, HostPath, ImageInfo, ImageStore, ImageTarget, Observed, SkipReason};

const LOOK: Duration = Duration::from_secs(18);
/// One image's removal, checks included.
const ONE: Duration = Duration::from_secs(120);
/// Set by containerd on what the node was given to keep.
const PINNED: &str = "io.cri-containerd.pinned";

pub(super) fn look(socket: &Path, now: Timestamp) -> Observed<ImageStore> {
    wait_for(LOOK, "docker", async { store(&Engine::at(socket), now).await.map_err(|e| e.to_string()) }).into()
}

async fn store(engine: &Engine, now: Timestamp) -> Result<ImageStore, DockerError> {
    let root = engine.info().await?.docker_root_dir;
    let disk = engine.disk_use().await?;
    let used = engine.used_images().await?;
    let mut images = Vec::new();
    for image in disk.images.unwrap_or_default() {
        let inspected = match engine.inspect(&image.id).await {
            Ok(inspected) => inspected,
            // Removed while we looked.
            Err(e) if e.status() == Some(404) => continue,
            Err(e) => return Err(e),
        };
        let unique = if image.shared_size < 0 { 0 } else { image.size - image.shared_size };
        images.push(ImageInfo {
            in_use: used.contains(&image.id) || pinned(&inspected),
            age_s: age_s(&inspected, now),
            tags: real_names(image.repo_tags),
            digests: real_names(image.repo_digests),
            unique: Bytes(u64::try_from(unique).unwrap_or(0)),
            id: image.id,
        });
    }
    Ok(ImageStore { root: HostPath::from(root.as_str()), images, layers: Bytes(u64::try_from(disk.layers_size).unwrap_or(0)) })
}

/// Older engines write `<none>:<none>` for an image without a name.
fn real_names(names: Option<Vec<String>>) -> Vec<String> {
    let mut names: Vec<String> = names.unwrap_or_default().into_iter().filter(|n| !n.contains("<none>")).collect();
    names.sort();
    names
}

fn pinned(image: &Inspected) -> bool {
    image.config.as_ref().and_then(|c| c.labels.as_ref()).is_some_and(|labels| labels.contains_key(PINNED))
}

/// Seconds since it was made or got a name here, whichever is later. What cannot be read is young.
fn age_s(image: &Inspected, now: Timestamp) -> u64 {
    let times = [image.created.as_deref(), image.metadata.as_ref().and_then(|m| m.last_tag_time.as_deref())];
    let newest = times.into_iter().flatten().filter_map(|t| t.parse::<Timestamp>().ok()).max();
    newest.map_or(0, |t| u64::try_from(now.as_second() - t.as_second()).unwrap_or(0))
}

pub(super) fn prune(images: &[ImageTarget], min_age_s: u64, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    let engine = Engine::at(scene.docker_socket);
    let root = wait_for(LOOK, "docker", async { engine.info().await.map_err(|e| e.to_string()) });
    let root = match root {
        Ok(info) => HostPath::from(info.docker_root_dir.as_str()),
        Err(why) => {
            tally.stop(why);
            return tally.finish(scene.now());
        }
    };
    let before = scene.room_at(&root);
    let min_age_s = min_age_s.max(Limits::MIN_IMAGE_AGE_S);
    for (at, target) in images.iter().enumerate() {
        if let Some(reason) = scene.must_stop(at, &mut tally) {
            tally.skip_rest((images.len() - at) as u64, reason);
            break;
        }
        if target.size.0 > scene.bytes_left.saturating_sub(tally.freed) {
            tally.skip(HostPath::from(target.id.as_str()), SkipReason::OverCap);
            continue;
        }
        let now = scene.now().wall;
        match wait_for(ONE.min(scene.left()), "docker", remove(&engine, target, min_age_s, now)) {
            Ok(()) => {
                tally.done += 1;
                tally.freed += target.size.0;
                let name = target.digests.first().or(target.tags.first()).unwrap_or(&target.id);
                tally.note(format!("removed {name}"));
            }
            Err(Left(reason, why)) => {
                if let Some(why) = why {
                    tally.note(why);
                }
                tally.skip(HostPath::from(target.id.as_str()), reason);
            }
        }
    }
    tally.available_delta = growth(before, tally.freed, || scene.room_at(&root));
    tally.finish(scene.now())
}

struct Left(SkipReason, Option<String>);

impl From<String> for Left {
    fn from(why: String) -> Self {
        Self(SkipReason::Error, Some(why))
    }
}

impl From<DockerError> for Left {
    fn from(e: DockerError) -> Self {
        match e.status() {
            Some(404) => Self(SkipReason::Gone, None),
            Some(409) => Self(SkipReason::InUse, Some(e.to_string())),
            _ => Self(SkipReason::Error, Some(e.to_string())),
        }
    }
}

/// One image, with everything looked at again just before. The engine itself refuses, without force, what a container has taken since.
async fn remove(engine: &Engine, target: &ImageTarget, min_age_s: u64, now: Timestamp) -> Result<(), Left> {
    if !is_reference(&target.id) || !target.tags.iter().all(|t| is_reference(t)) {
        return Err(Left(SkipReason::Error, Some("an image name with characters that no engine gives".into())));
    }
    let image = engine.inspect(&target.id).await?;
    let mut planned = target.tags.clone();
    planned.sort();
    let tags = real_names(image.repo_tags.clone());
    if tags != planned {
        return Err(Left(SkipReason::Changed, None));
    }
    if never::image(&tags) || pinned(&image) {
        return Err(Left(SkipReason::Protected, None));
    }
    if age_s(&image, now) < min_age_s {
        return Err(Left(SkipReason::TooYoung, None));
    }
    if engine.used_images().await?.contains(&target.id) {
        return Err(Left(SkipReason::InUse, None));
    }
    // By its id an image goes only while one repository names it.
    if tags.len() > 1 {
        for tag in &tags {
            engine.remove(tag).await?;
        }
    }
    match engine.remove(&target.id).await {
        Ok(()) => {}
        Err(e) if e.status() == Some(404) && tags.len() > 1 => {}
        Err(e) => return Err(e.into()),
    }
    match engine.inspect(&target.id).await {
        Err(e) if e.status() == Some(404) => Ok(()),
        Ok(_) => Err(Left(SkipReason::InUse, Some(format!("{} lost its names and stays: something is built on it", target.id)))),
        Err(e) => Err(e.into()),
    }
}
