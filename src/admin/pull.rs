//! `/rest-api/pull/*`: the node pulls a stream from another one, with the bodies and statuses of Flashphoner's WCS.

use axum::Router;
use axum::extract::State as Of;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use crate::media::Media;
use crate::media::pull::{Pull, Pulled, Refused, State};

/// The body of `pull` and `terminate`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Triple {
    uri: String,
    local_stream_name: String,
    remote_stream_name: String,
}

/// An entry of `find_all`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    local_media_session_id: String,
    remote_media_session_id: Option<String>,
    local_stream_name: String,
    remote_stream_name: String,
    uri: String,
    status: &'static str,
}

/// The routes of the node whose media this is.
pub fn router(media: Media) -> Router {
    Router::new()
        .route("/rest-api/pull/pull", post(pull))
        .route("/rest-api/pull/find_all", post(find_all))
        .route("/rest-api/pull/terminate", post(terminate))
        .with_state(media)
}

/// Answers when the stream flows, or why it doesn't.
async fn pull(Of(media): Of<Media>, body: String) -> Response {
    let triple = match read(&body) {
        Ok(triple) => triple,
        Err(refused) => return refused,
    };
    match flows(&media, triple).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refused) => refusal(&refused).into_response(),
    }
}

async fn flows(media: &Media, pull: Pull) -> Result<(), Refused> {
    let mut state = media.pull(pull).await?;
    let reached = state.wait_for(|state| *state != State::New).await;
    match reached.map(|state| state.clone()) {
        Ok(State::Failed(refused)) => Err(refused),
        Ok(_) => Ok(()),
        Err(_) => Err(Refused::Dead("terminated meanwhile".into())),
    }
}

async fn find_all(Of(media): Of<Media>) -> Response {
    let found: Vec<Found> = media.pulled().await.into_iter().map(Found::from).collect();
    if found.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let list = serde_json::to_string(&found).expect("a list of objects with string keys");
    ([(CONTENT_TYPE, "application/json")], list).into_response()
}

async fn terminate(Of(media): Of<Media>, body: String) -> Response {
    let triple = match read(&body) {
        Ok(triple) => triple,
        Err(refused) => return refused,
    };
    match media.terminate(triple).await {
        true => StatusCode::OK.into_response(),
        false => (StatusCode::NOT_FOUND, "no such pull").into_response(),
    }
}

fn read(body: &str) -> Result<Pull, Response> {
    let wanted = "wanted: {\"uri\", \"localStreamName\", \"remoteStreamName\"}, each a text";
    let triple: Triple = serde_json::from_str(body).map_err(|_| (StatusCode::BAD_REQUEST, wanted).into_response())?;
    Ok(Pull { uri: triple.uri, remote: triple.remote_stream_name, local: triple.local_stream_name })
}

fn refusal(refused: &Refused) -> (StatusCode, String) {
    let (status, why) = match refused {
        Refused::NotAllowed => (StatusCode::NOT_FOUND, "neither a configured node nor in callgw.pull_allow"),
        Refused::NoStream => (
            StatusCode::NOT_FOUND,
            "no such stream; it is called confId/userId, confId/userId/screen, or NAME outside conferences",
        ),
        Refused::Taken => (StatusCode::CONFLICT, "a stream of that name is here, or being pulled"),
        Refused::Loop => (StatusCode::CONFLICT, "the stream comes from this node"),
        Refused::TooMany => (StatusCode::INTERNAL_SERVER_ERROR, "more pulls than a node takes"),
        Refused::Dead(why) => (StatusCode::INTERNAL_SERVER_ERROR, why.as_str()),
    };
    (status, why.to_owned())
}

impl From<Pulled> for Found {
    fn from(Pulled { pull, session, state }: Pulled) -> Self {
        let status = match state {
            State::New => "NEW",
            State::Flows => "PUBLISHING",
            State::Away => "PENDING",
            State::Failed(_) => "FAILED",
        };
        Self {
            local_media_session_id: session,
            remote_media_session_id: None,
            local_stream_name: pull.local,
            remote_stream_name: pull.remote,
            uri: pull.uri,
            status,
        }
    }
}
