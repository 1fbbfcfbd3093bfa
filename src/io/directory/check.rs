//! Asks one address whether it takes requests.
//!
//! Over HTTP/1 (TCP or a Unix socket) by `GET`, whose status says it. A backend that speaks HTTP/2 or TLS is ready when it
//! accepts a connection: its handshake and its answers are then judged by real requests, through `core/outlier`.

use super::EndpointAddress;
use crate::core::variant::{Backend, Readiness, Wire};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{error::Error, pin::pin, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// How the endpoints of a backend are checked.
#[derive(Debug)]
pub(super) struct Check {
    readiness: Readiness,
    authority: String,
    /// Whether a connection is not enough.
    asks: bool,
}

impl Check {
    /// The check that `backend` wants, if it wants any.
    pub(super) fn of(backend: &Backend) -> Option<Self> {
        let readiness = backend.readiness.clone()?;
        let asks = match backend.wire {
            Wire::Http1 => true,
            Wire::Http2 | Wire::Tls { .. } => false,
        };
        Some(Self { readiness, authority: backend.authority(), asks })
    }

    pub(super) fn every(&self) -> Duration {
        self.readiness.every
    }

    /// Whether the address is ready; not in time is no.
    pub(super) async fn passes(&self, address: &EndpointAddress) -> bool {
        self.tried(address).await.is_ok()
    }

    /// The same, with why it is not.
    pub(super) async fn tried(&self, address: &EndpointAddress) -> Result<(), String> {
        let asked = async {
            match address {
                EndpointAddress::Tcp(address) => self.ask(TcpStream::connect(address).await?).await,
                EndpointAddress::Unix(path) => self.ask(UnixStream::connect(path).await?).await,
            }
        };
        let path = &self.readiness.path;
        match timeout(self.readiness.timeout, asked).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(status))) => Err(format!("{path} answers {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{path} does not answer within {:?}", self.readiness.timeout)),
        }
    }

    /// The status, if it says that it is not ready.
    async fn ask<S>(&self, stream: S) -> Result<Option<StatusCode>, Box<dyn Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.asks {
            return Ok(None);
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(&*self.readiness.path)
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, "coalmine")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let mut answer = pin!(sender.send_request(request));
        let answer = tokio::select! {
            answer = answer.as_mut() => answer,
            // The connection may end in the very step that brings the answer; without one this is an error at once.
            _ = connection => answer.await,
        };
        // Its body is of no interest: dropped with the connection.
        Ok(Some(answer?.status()).filter(|status| !status.is_success()))
    }
}
