//! A connection to a receiver that acknowledges nothing.
//!
//! What was written may still lie in a buffer when the connection breaks. So an entry counts as received when the connection has
//! lived on for a while: the kernel gives a connection up whose bytes the other side's kernel has not acknowledged for a
//! shorter while, and a receiver that dies with bytes unread resets it. Until then entries are held to be on their way, and a
//! break has all of them sent again.
//!
//! ```text
//! written --- PATIENCE: acknowledged by the other kernel, or broken --- SETTLED: read by the receiver, we assume
//! ```
//!
//! At a proper end there is more: a receiver that ends its side after ours has read everything.

use std::{collections::VecDeque, io, time::Duration};

use futures_util::FutureExt as _;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use super::{Failure, batch::Batch};

/// How long bytes may wait for the other kernel's acknowledgement.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a connection has to live on until an entry counts as received.
const SETTLED: Duration = Duration::from_secs(5);
/// Entries that were written within so long settle together, so that few instants are to be remembered.
const TOGETHER: Duration = Duration::from_millis(500);
/// What the kernel keeps of what the other side has not acknowledged, in bytes: little, so that it cannot lie there for longer
/// than [`SETTLED`] behind a receiver that is only slow.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// What a receiver of syslog says is nothing to us; so much is read of it at a time.
const ANSWER_BYTES_MAX: usize = 1_024;

/// A connection, and what is on its way.
#[derive(Debug)]
pub(super) struct Stream {
    wire: Wire,
    // The last entry of those that settle together, and until when others join them.
    on_its_way: VecDeque<(i64, Instant)>,
}

/// What carries the bytes.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

/// Has the kernel give the connection up in time.
pub(super) fn guarded(stream: TcpStream) -> io::Result<TcpStream> {
    let socket = SockRef::from(&stream);
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

// === impl Stream ===

impl Stream {
    /// Nothing is on its way yet.
    pub(super) const fn new(wire: Wire) -> Self {
        Self { wire, on_its_way: VecDeque::new() }
    }

    /// Writes records, and returns the last entry that can be taken for received.
    pub(super) async fn deliver(&mut self, batch: &Batch) -> Result<Option<i64>, Failure> {
        self.wire.is_open()?;
        if batch.records.is_empty() && self.on_its_way.is_empty() {
            return Ok(Some(batch.through));
        }
        if !batch.records.is_empty() {
            self.wire.write(&batch.joined()).await?;
        }
        let now = Instant::now();
        self.note(batch.through, now);
        Ok(self.settled(now))
    }

    /// Ends the connection, and tells whether the receiver has read everything.
    pub(super) async fn finish(mut self) -> bool {
        self.wire.is_open().is_ok() && self.wire.end().await.is_ok()
    }

    fn note(&mut self, through: i64, now: Instant) {
        match self.on_its_way.back_mut() {
            Some((last, _)) if *last == through => {}
            Some((last, until)) if now <= *until => *last = through,
            _ => self.on_its_way.push_back((through, now + TOGETHER)),
        }
    }

    fn settled(&mut self, now: Instant) -> Option<i64> {
        let mut settled = None;
        while let Some((last, until)) = self.on_its_way.front()
            && *until + SETTLED <= now
        {
            settled = Some(*last);
            self.on_its_way.pop_front();
        }
        settled
    }
}

// === impl Wire ===

impl Wire {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Secured(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        let mut answer = [0; ANSWER_BYTES_MAX];
        match self {
            Self::Plain(stream) => stream.read(&mut answer).await,
            Self::Secured(stream) => stream.read(&mut answer).await,
        }
    }

    // Looks, without waiting, whether the other side has ended or reset it.
    fn is_open(&mut self) -> Result<(), Failure> {
        match self.read().now_or_never() {
            None | Some(Ok(1..)) => Ok(()),
            Some(Ok(0)) => Err(Failure::Ended),
            Some(Err(error)) => Err(error.into()),
        }
    }

    // Ends our side, and waits for the other one to end.
    async fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await?,
            Self::Secured(stream) => stream.shutdown().await?,
        }
        loop {
            match self.read().await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // Many end TLS without saying so; the connection below was ended, and not reset.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
