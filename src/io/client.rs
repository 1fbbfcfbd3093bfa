//! One HTTP request to an admin listener, for the command line.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use std::{pin::pin, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest time for the whole exchange.
const LIMIT: Duration = Duration::from_secs(60);

/// Where and as whom.
#[derive(Clone)]
pub struct Client {
    /// `host:port`.
    pub address: String,
    /// The bearer token, if there is one.
    pub token: Option<secrecy::SecretString>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.address)
    }
}

impl Client {
    /// Sends it and reads the answer.
    ///
    /// # Errors
    /// In words, if there is no answer.
    pub async fn call(&self, method: Method, path: &str, body: String) -> Result<(StatusCode, String), String> {
        let exchange = timeout(LIMIT, self.exchange(method, path, body));
        exchange
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
            .map_err(|why| format!("{}: {why}; is Coalmine running there? --admin says where", self.address))
    }

    async fn exchange(&self, method: Method, path: &str, body: String) -> Result<(StatusCode, String), String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect(&self.address).await.map_err(|error| text(&error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|error| text(&error))?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.address);
        if let Some(token) = &self.token {
            use secrecy::ExposeSecret as _;
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| text(&error))?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|e| e.to_string())?;
            Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        let mut answer = pin!(answer);
        tokio::select! {
            answer = answer.as_mut() => answer,
            // The last thing that it read may have been the end of the answer.
            _ = connection => answer.await,
        }
    }
}
