//! Framing on the actuator's socket: four bytes of length, big endian, then that much JSON.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// A plan of 20,000 files with long names stays below this; anything larger is not ours.
pub const MAX_FRAME: usize = 32 << 20;

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the other side closed the connection")]
    Closed,
    #[error("a frame of {0} bytes announced, at most {MAX_FRAME} are read")]
    TooLarge(usize),
    #[error("not the JSON that was expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// # Errors
/// `Closed` at a clean end between frames; everything else means the connection is of no more use.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, FrameError> {
    let mut head = [0; 4];
    if let Err(e) = from.read_exact(&mut head) {
        return Err(if e.kind() == io::ErrorKind::UnexpectedEof { FrameError::Closed } else { e.into() });
    }
    let len = u32::from_be_bytes(head) as usize;
    if len > MAX_FRAME {
        return Err(FrameError::TooLarge(len));
    }
    // Grown as the bytes arrive: a client that only announces a large frame gets no memory for it.
    let mut body = Vec::new();
    from.take(len as u64).read_to_end(&mut body)?;
    if body.len() < len {
        return Err(FrameError::Closed);
    }
    Ok(serde_json::from_slice(&body)?)
}

/// # Errors
/// When the value is too large or the other side does not take it.
pub fn write<T: Serialize>(to: &mut impl Write, value: &T) -> Result<(), FrameError> {
    let body = serde_json::to_vec(value)?;
    let len = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_FRAME).ok_or(FrameError::TooLarge(body.len()))?;
    let mut whole = Vec::with_capacity(body.len() + 4);
    whole.extend_from_slice(&len.to_be_bytes());
    whole.extend_from_slice(&body);
    Ok(to.write_all(&whole)?)
}
