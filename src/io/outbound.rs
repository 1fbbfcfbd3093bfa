//! One HTTP request to somebody else's server, over TLS where its URL says so: web-hooks, registries, Git hosts. Through a proxy
//! where the environment names one.
//!
//! Errors name the host only: the path of a hook is often its secret.

mod proxy;

use super::{
    dial::Socket,
    tls::{ClientFiles, ClientTls, TlsError},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use proxy::{Proxies, Proxy};
use rustls::pki_types::ServerName;
use std::{
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How requests go out. Clones share the roots.
#[derive(Clone, Debug)]
pub struct Outbound {
    tls: ClientTls,
    limit: Duration,
    answer_bytes_max: usize,
    proxies: Proxies,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
}

impl Outbound {
    /// Who vouches for the other side (missing: the platform's roots), and how long an exchange may take.
    ///
    /// # Errors
    /// The CA file cannot be used.
    pub fn new(ca_file: Option<PathBuf>, limit: Duration) -> Result<Self, TlsError> {
        let files = ClientFiles { ca_file, certificate: None };
        let tls = ClientTls::load(&files, Arc::default())?;
        Ok(Self { tls, limit, answer_bytes_max: ANSWER_BYTES_MAX, proxies: Proxies::of_environment() })
    }

    /// The same, through this proxy whatever the environment says.
    #[must_use]
    pub fn through(self, proxy: &str) -> Self {
        Self { proxies: Proxies::always(proxy), ..self }
    }

    /// The same, and a longer answer than this is none.
    #[must_use]
    pub fn reading_at_most(self, answer_bytes_max: usize) -> Self {
        Self { answer_bytes_max, ..self }
    }

    /// Sends it and reads the answer.
    ///
    /// # Errors
    /// In words, if there is no answer.
    pub async fn call(&self, method: Method, url: &Uri, headers: HeaderMap, body: String) -> Result<Answer, String> {
        let host = url.host().unwrap_or("");
        let exchange = async {
            let mut request = Request::new(Full::new(Bytes::from(body)));
            *request.method_mut() = method;
            *request.headers_mut() = headers;
            let path = url.path_and_query().map_or("/", |path| path.as_str());
            let authority = url.authority().map_or("", |authority| authority.as_str());
            let authority = authority.rsplit('@').next().unwrap_or("");
            request.headers_mut().insert(header::HOST, value(authority)?);
            request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("coalmine"));
            let (proxy, mut target) = (self.proxies.of(url), path.to_owned());
            if let Some(proxy) = proxy.as_ref().filter(|_| !is_secure(url)) {
                target = format!("http://{authority}{path}");
                let authorization = proxy.authorization.clone();
                request.headers_mut().extend(authorization.map(|value| (header::PROXY_AUTHORIZATION, value)));
            }
            *request.uri_mut() = target.parse().map_err(|_| "its path cannot be asked for".to_owned())?;
            exchange(self.open(url, host, proxy).await?, request, self.answer_bytes_max).await
        };
        let answer = timeout(self.limit, exchange).await;
        answer
            .unwrap_or_else(|_| Err(format!("no answer within {:?}", self.limit)))
            .map_err(|why| format!("{host}: {why}"))
    }

    async fn open(&self, url: &Uri, host: &str, proxy: Option<Proxy>) -> Result<Socket, String> {
        let secure = is_secure(url);
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let tcp = match proxy {
            Some(proxy) => proxy.connect(secure.then(|| format!("{host}:{port}")).as_deref()).await?,
            None => TcpStream::connect((bare, port)).await.map_err(|error| error.to_string())?,
        };
        if !secure {
            return Ok(Socket::Tcp(tcp));
        }
        let config = self.tls.config_h1().map_err(|error| error.to_string())?;
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
        let connected = TlsConnector::from(config).connect(name, Socket::Tcp(tcp)).await;
        connected.map(|stream| Socket::Tls(Box::new(stream))).map_err(|error| error.to_string())
    }
}

fn is_secure(url: &Uri) -> bool {
    url.scheme() == Some(&Scheme::HTTPS)
}

/// A field's value out of text.
pub(super) fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| "a field's value has characters that cannot be sent".to_owned())
}

/// The one line of a secret's file.
///
/// # Errors
/// In words, with its path and never with what stands in it.
#[allow(clippy::disallowed_methods, reason = "secrets are files, and read anew so that they may be changed")]
pub fn secret(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        some => Ok(some.to_owned()),
    }
}

/// One request on a connection of its own.
pub(super) async fn exchange(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    answer_bytes_max: usize,
) -> Result<Answer, String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(text)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, answer_bytes_max).collect().await.map_err(|error| error.to_string())?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    let mut answer = pin!(answer);
    tokio::select! {
        answer = answer.as_mut() => answer,
        // The last thing that it read may have been the end of the answer.
        _ = connection => answer.await,
    }
}
