//! A stream whose reader gets so much time to take an answer, and no more: a reader of one byte a second would hold its connection for
//! a day. hyper limits how long a request may take to come, not how long an answer may take to go.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Runs from the first write that had to wait until everything is written; some progress does not stop it.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, waits: None }
    }

    fn or_late<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            let patience = self.patience;
            let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(patience)));
            if waits.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer was not taken in time")));
            }
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.or_late(cx, polled)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.or_late(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Asked for only when all that was to be written is: then the time is over.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if polled.is_ready() {
            self.waits = None;
        }
        self.or_late(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.or_late(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn run<T>(test: impl Future<Output = T>) -> T {
        // The limit only ends a test that would hang.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await }).expect("ended by itself")
    }

    #[test]
    fn one_byte_at_a_time_is_not_enough() {
        run(async {
            let (ours, mut theirs) = duplex(16);
            let reader = tokio::spawn(async move {
                let mut read = 0_usize;
                while theirs.read_u8().await.is_ok() {
                    read += 1;
                    sleep(Duration::from_millis(20)).await;
                }
                read
            });
            let written = Patient::new(ours, Duration::from_millis(200)).write_all(&[0; 100_000]).await;
            assert_eq!(written.expect_err("nobody reads that").kind(), io::ErrorKind::TimedOut);
            let read = reader.await.expect("reader");
            assert!(read > 0 && read < 1000, "{read}");
        });
    }

    #[test]
    fn a_pause_between_two_answers_costs_nothing() {
        run(async {
            let (ours, mut theirs) = duplex(16);
            let mut ours = Patient::new(ours, Duration::from_secs(3));
            let reader = tokio::spawn(async move {
                let mut all = vec![0; 80];
                theirs.read_exact(&mut all).await.expect("all of it");
            });
            for _ in 0..2 {
                // 40 bytes through 16: each has to wait a moment.
                ours.write_all(&[1; 40]).await.expect("written");
                ours.flush().await.expect("flushed");
                sleep(Duration::from_secs(4)).await;
            }
            reader.await.expect("reader");
        });
    }
}
