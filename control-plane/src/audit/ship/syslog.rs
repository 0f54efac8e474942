//! A receiver of syslog: RFC 5424 over UDP (RFC 5426), over TCP with octet counting (RFC 6587), or over TLS (RFC 5425).
//!
//! Syslog acknowledges nothing. What was handed to a datagram socket counts as taken; what a stream has taken, see [`stream`].
//!
//! [`stream`]: super::stream

use std::{io, sync::Arc};

use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio_rustls::TlsConnector;
use tollgate_audit::{Placed, export::syslog::Message};

use super::{
    Failure,
    batch::Batch,
    settings::{SyslogSettings, Transport},
    stream::{Stream, Wire, guarded},
    tls::Tls,
};

/// A receiver, and the connection to it if there is one.
#[derive(Debug)]
pub(super) struct Syslog {
    settings: SyslogSettings,
    open: Option<Open>,
}

#[derive(Debug)]
enum Open {
    Datagrams(UdpSocket),
    Stream(Stream),
}

impl Syslog {
    /// A receiver that nothing is sent to yet.
    pub(super) const fn new(settings: SyslogSettings) -> Self {
        Self { settings, open: None }
    }

    /// The message of an entry: in a stream, behind its length.
    pub(super) fn record(&self, host: &str, placed: &Placed<'_>) -> Vec<u8> {
        let message = if self.settings.is_cef { Message::with_cef(host, placed) } else { Message::new(host, placed) };
        match self.settings.transport {
            Transport::Udp => message.into_bytes(),
            Transport::Tcp | Transport::Tls(..) => message.octet_counted(),
        }
    }

    /// Sends messages, and returns the last entry that can be taken for received.
    ///
    /// # Errors
    /// When there is no connection, or it broke: what it carried is to be sent again.
    pub(super) async fn deliver(&mut self, batch: &Batch) -> Result<Option<i64>, Failure> {
        if self.open.is_none() && batch.records.is_empty() {
            return Ok(Some(batch.through));
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        match self.open.insert(open) {
            Open::Datagrams(socket) => {
                for message in &batch.records {
                    socket.send(message).await?;
                }
                Ok(Some(batch.through))
            }
            Open::Stream(stream) => stream.deliver(batch).await,
        }
    }

    /// Ends the connection, and tells whether all that it carried was received.
    pub(super) async fn finish(&mut self) -> bool {
        match self.open.take() {
            Some(Open::Stream(stream)) => stream.finish().await,
            Some(Open::Datagrams(_)) | None => true,
        }
    }

    /// Drops the connection.
    pub(super) fn reset(&mut self) {
        self.open = None;
    }

    async fn connect(&self) -> io::Result<Open> {
        let SyslogSettings { host, port, transport, .. } = &self.settings;
        let place = (host.as_str(), *port);
        Ok(match transport {
            Transport::Udp => Open::Datagrams(datagrams(place).await?),
            Transport::Tcp => Open::Stream(Stream::new(Wire::Plain(guarded(TcpStream::connect(place).await?)?))),
            Transport::Tls(Tls(config), server) => {
                let (connector, server): (_, ServerName<'static>) =
                    (TlsConnector::from(Arc::clone(config)), server.clone());
                let secured = connector.connect(server, guarded(TcpStream::connect(place).await?)?).await?;
                Open::Stream(Stream::new(Wire::Secured(Box::new(secured))))
            }
        })
    }
}

// A connected socket learns that nobody listens, where the receiver's machine says so.
async fn datagrams(place: (&str, u16)) -> io::Result<UdpSocket> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let address = lookup_host(place).await?.next().ok_or_else(unknown)?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}
