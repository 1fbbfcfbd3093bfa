//! One look at a backend, for people: where its name leads, and what each address says.

use super::{EndpointAddress, check::Check};
use crate::{
    core::variant::{Address, Backend, Wire},
    io::{dial::Dial, tls::ClientTls},
};
use rustls::pki_types::ServerName;
use std::{collections::BTreeSet, time::Duration};
use tokio::{net::lookup_host, time::timeout};

/// Why an address does not take requests.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// Its name has no address.
    #[error("{0}")]
    Name(String),
    /// No connection.
    #[error("{0}")]
    Connection(String),
    /// No TLS.
    #[error("{0}")]
    Tls(String),
    /// Its readiness check fails.
    #[error("{0}")]
    NotReady(String),
}

/// Every address of a backend, and what came of asking it.
pub type Probed = Vec<(EndpointAddress, Result<(), Trouble>)>;

/// Asks every address of `backend` once, by the check that the routes file wants, or by a connection alone. `tls` is for those
/// that speak it.
///
/// # Errors
/// [`Trouble::Name`].
pub async fn probe(backend: &Backend, tls: &ClientTls, limit: Duration) -> Result<Probed, Trouble> {
    let addresses: BTreeSet<EndpointAddress> = match &backend.address {
        Address::Unix(path) => [EndpointAddress::Unix(path.as_ref().into())].into(),
        Address::Tcp { host, port } => {
            let found = timeout(limit, lookup_host((&**host, *port))).await;
            let found = found.map_err(|_| Trouble::Name(format!("no address within {limit:?}")))?;
            found.map_err(|error| Trouble::Name(error.to_string()))?.map(EndpointAddress::Tcp).collect()
        }
    };
    let mut told = Vec::new();
    for address in addresses {
        let asked = ask(backend, tls, &address, limit).await;
        told.push((address, asked));
    }
    Ok(told)
}

async fn ask(backend: &Backend, tls: &ClientTls, address: &EndpointAddress, limit: Duration) -> Result<(), Trouble> {
    open(Dial { address: address.clone(), tls: None }, limit).await.map_err(Trouble::Connection)?;
    if matches!(backend.wire, Wire::Tls { .. }) {
        let name = backend.server_name().unwrap_or_default().to_owned();
        let name = ServerName::try_from(name).map_err(|error| Trouble::Tls(error.to_string()))?;
        let under = Dial { address: address.clone(), tls: Some((tls.clone(), name)) };
        open(under, limit).await.map_err(Trouble::Tls)?;
    }
    match Check::of(backend) {
        Some(check) => check.tried(address).await.map_err(Trouble::NotReady),
        None => Ok(()),
    }
}

async fn open(dial: Dial, limit: Duration) -> Result<(), String> {
    match timeout(limit, dial.open(false)).await {
        Ok(opened) => opened.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}
