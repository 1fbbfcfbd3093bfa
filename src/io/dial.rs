//! Opens connections to backends: TCP or a Unix socket, plain or under TLS.

use super::{directory::EndpointAddress, tls::ClientTls};
use rustls::pki_types::ServerName;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A connection to a backend, whatever it goes over.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over one of the others.
    Tls(Box<TlsStream<Self>>),
}

/// How to reach one endpoint.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Where it is.
    pub address: EndpointAddress,
    /// TLS, and for which name; `None`: plain.
    pub tls: Option<(ClientTls, ServerName<'static>)>,
}

impl Dial {
    /// Opens a connection; whether the two sides agreed on HTTP/2 under TLS. With `http1` that is not offered.
    ///
    /// # Errors
    /// What the system or the handshake says.
    pub async fn open(&self, http1: bool) -> io::Result<(Socket, bool)> {
        let socket = match &self.address {
            EndpointAddress::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
            EndpointAddress::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
        };
        let Some((tls, name)) = &self.tls else { return Ok((socket, false)) };
        let config = if http1 { tls.config_h1() } else { tls.config() };
        let config: Arc<rustls::ClientConfig> = config.map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name.clone(), socket).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Socket::Tls(Box::new(stream)), http2))
    }
}

/// The same call on whichever socket it is.
macro_rules! on {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
            Socket::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
