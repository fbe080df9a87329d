//! The six calls of the docker engine's API that are needed, over its unix socket. Unversioned paths: the engine answers in its own
//! version, and the fields that are read here have been the same in all of them.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes as Body;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// An engine with 10,000 images stays below this.
const MAX_BODY: usize = 32 << 20;

pub(super) struct Engine {
    socket: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum DockerError {
    #[error("docker at {socket}: {why}")]
    Unreachable { socket: String, why: String },
    #[error("docker answered {path} with {status}: {message}")]
    Status { path: String, status: u16, message: String },
    #[error("docker's answer to {path} is not what was expected: {why}")]
    Form { path: String, why: String },
}

impl DockerError {
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Unreachable { .. } | Self::Form { .. } => None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    pub docker_root_dir: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DiskUse {
    #[serde(default)]
    pub layers_size: i64,
    /// Absent or null when there are none.
    pub images: Option<Vec<ImageUse>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ImageUse {
    pub id: String,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub repo_digests: Option<Vec<String>>,
    pub size: i64,
    /// -1 where the engine did not count.
    #[serde(default = "not_counted")]
    pub shared_size: i64,
}

const fn not_counted() -> i64 {
    -1
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    pub repo_tags: Option<Vec<String>>,
    pub created: Option<String>,
    pub metadata: Option<Metadata>,
    pub config: Option<ImageConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Metadata {
    pub last_tag_time: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ImageConfig {
    pub labels: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Container {
    #[serde(rename = "ImageID")]
    image_id: String,
}

#[derive(Debug, Deserialize)]
struct Problem {
    message: String,
}

type Result<T> = std::result::Result<T, DockerError>;

impl Engine {
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub async fn info(&self) -> Result<Info> {
        self.get("/info").await
    }

    /// `type=image` spares newer engines the walk through volumes; older ones do not know it and count everything.
    pub async fn disk_use(&self) -> Result<DiskUse> {
        self.get("/system/df?type=image").await
    }

    /// Ids of the images that any container was made from, running or not.
    pub async fn used_images(&self) -> Result<Vec<String>> {
        Ok(self.get::<Vec<Container>>("/containers/json?all=1").await?.into_iter().map(|c| c.image_id).collect())
    }

    pub async fn inspect(&self, id: &str) -> Result<Inspected> {
        self.get(&format!("/images/{id}/json")).await
    }

    /// Without force: the engine refuses what a container uses, and what other images are built on.
    pub async fn remove(&self, reference: &str) -> Result<()> {
        let path = format!("/images/{reference}?force=0&noprune=0");
        self.call(Method::DELETE, &path).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let body = self.call(Method::GET, path).await?;
        serde_json::from_slice(&body).map_err(|e| DockerError::Form { path: path.to_owned(), why: e.to_string() })
    }

    async fn call(&self, method: Method, path: &str) -> Result<Body> {
        let unreachable = |why: String| DockerError::Unreachable { socket: self.socket.display().to_string(), why };
        let stream = tokio::net::UnixStream::connect(&self.socket).await.map_err(|e| unreachable(e.to_string()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(e.to_string()))?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "docker")
            .body(Empty::<Body>::new())
            .map_err(|e| DockerError::Form { path: path.to_owned(), why: e.to_string() })?;
        let response = sender.send_request(request).await.map_err(|e| unreachable(e.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|e| unreachable(e.to_string()))?.to_bytes();
        driver.abort();
        if status.is_success() {
            return Ok(body);
        }
        let message = serde_json::from_slice::<Problem>(&body).map_or_else(|_| "no message".to_owned(), |p| p.message);
        Err(DockerError::Status { path: path.to_owned(), status: status.as_u16(), message })
    }
}

/// What may stand in a path of the API: the engine's own ids and names consist of nothing else.
pub(super) fn is_reference(text: &str) -> bool {
    !text.is_empty() && !text.contains("..") && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b))
}
