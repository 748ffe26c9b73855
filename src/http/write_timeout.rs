//! A connection's socket that waits only so long for its peer to take what is written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::forward::forward_flushes;

/// Below TLS, where only the peer can hold up a write. A write that makes no progress for the whole time is an error,
/// and so ends whatever is spoken above, whether or not the peer goes on sending.
pub struct WriteTimeout {
    stream: TcpStream,
    within: Duration,
    /// Made when a write first has to wait, kept for the next time.
    deadline: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl WriteTimeout {
    /// Bounds each write's time.
    pub fn new(stream: TcpStream, within: Duration) -> Self {
        Self { stream, within, deadline: None, waiting: false }
    }

    fn check_progress<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = false;
            return polled;
        }
        if !self.waiting {
            self.waiting = true;
            let at = Instant::now() + self.within;
            match &mut self.deadline {
                Some(deadline) => deadline.as_mut().reset(at),
                None => self.deadline = Some(Box::pin(sleep_until(at))),
            }
        }
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        // A peer that sends without end has used up the task's budget (tokio::task::coop) whenever the timer is asked.
        if Instant::now() < deadline.deadline() {
            ready!(deadline.as_mut().poll(cx));
        }
        metrics::counter!("confgate_clients_stuck_total").increment(1);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl AsyncRead for WriteTimeout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteTimeout {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.check_progress(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.check_progress(cx, polled)
    }

    forward_flushes!(stream);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let connecting = TcpStream::connect(listener.local_addr().expect("an address"));
        let (connected, accepted) = tokio::join!(connecting, listener.accept());
        (connected.expect("connected"), accepted.expect("accepted").0)
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_is_given_up_though_it_goes_on_sending() {
        let (mut peer, accepted) = pair().await;
        let (mut reads, mut writes) = tokio::io::split(WriteTimeout::new(accepted, Duration::from_millis(100)));
        let sending = async { while peer.write_all(&[7; 1024]).await.is_ok() {} };
        let reading = async {
            let mut bytes = [0; 4096];
            while reads.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
        };
        let writing = async { while writes.write_all(&[0; 65_536]).await.is_ok() {} };
        tokio::select! {
            () = sending => panic!("the peer was cut"),
            () = reading => panic!("nothing is read any more"),
            () = writing => {}
        }
    }

    #[tokio::test]
    async fn a_peer_that_reads_slowly_is_waited_for() {
        let (mut peer, accepted) = pair().await;
        let mut patient = WriteTimeout::new(accepted, Duration::from_secs(5));
        const BYTES: usize = 16 * 1024 * 1024;
        let writing = async {
            patient.write_all(&vec![0; BYTES]).await.expect("it is read");
            patient.shutdown().await.expect("it is read");
        };
        let reading = async {
            let mut all = 0;
            let mut bytes = vec![0; 1024 * 1024];
            loop {
                let n = peer.read(&mut bytes).await.expect("it is written");
                if n == 0 {
                    return all;
                }
                all += n;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ((), read) = tokio::join!(writing, reading);
        assert_eq!(read, BYTES);
    }
}
