//! One HTTP request to an admin listener, for the command line.

use super::outbound;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use std::time::Duration;
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
        let stream = TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.address);
        if let Some(token) = &self.token {
            use secrecy::ExposeSecret as _;
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let answer = outbound::exchange(stream, request, ANSWER_BYTES_MAX).await?;
        Ok((answer.status, answer.body))
    }
}
