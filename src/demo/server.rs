//! A model server of the Open Inference Protocol V2 on a free port of this machine.

use super::{digits::PIXELS, model::Model};
use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{net::TcpListener, task::spawn_local, time::sleep};

/// What is wrong with a server, apart from its model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    None,
    /// Every answer takes so much longer.
    Slow(Duration),
    /// One request in so many fails.
    Broken(u64),
}

/// How long an answer takes at least, as that of a real model does. Without it the latency that is compared would be little more
/// than what the machine's other processes do to this one, and that changes from second to second.
const WORK: Duration = Duration::from_millis(2);

struct Served {
    version: String,
    model: Model,
    fault: Fault,
    requests: AtomicU64,
}

#[derive(Deserialize)]
struct Request {
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    data: Vec<f32>,
}

/// Starts a server on the runtime's thread; it ends with the runtime.
pub(super) async fn serve(version: &str, model: Model, fault: Fault) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port for a model server")?;
    let address = listener.local_addr()?;
    let served = Served { version: version.to_owned(), model, fault, requests: AtomicU64::new(0) };
    let router = Router::new()
        .route("/v2/health/ready", get(|| async { StatusCode::OK }))
        .route("/v2/models/digits/infer", post(infer))
        .with_state(Arc::new(served));
    spawn_local(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn infer(State(served): State<Arc<Served>>, Json(request): Json<Request>) -> Response {
    let number = served.requests.fetch_add(1, Relaxed) + 1;
    match served.fault {
        Fault::Slow(more) => sleep(WORK + more).await,
        Fault::Broken(every) if number.is_multiple_of(every) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "out of memory" }))).into_response();
        }
        Fault::None | Fault::Broken(_) => sleep(WORK).await,
    }
    let pixels = request.inputs.first().and_then(|input| <[f32; PIXELS]>::try_from(input.data.as_slice()).ok());
    let Some(pixels) = pixels else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "one input of 64 numbers is needed" })))
            .into_response();
    };
    let output = json!({ "name": "digit", "shape": [1], "datatype": "INT64", "data": [served.model.predict(&pixels)] });
    Json(json!({ "model_name": "digits", "model_version": served.version, "outputs": [output] })).into_response()
}
