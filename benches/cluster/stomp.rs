//! A subscriber of RabbitMQ's web_stomp plugin: STOMP 1.2 over a WebSocket.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::subscriber;
use super::support::rabbitmq::{EXCHANGE, RabbitMq, USER, VHOST};

/// Logs in at that address and has its own queue bound to all of the conference's events: by the plugin's documentation
/// it is transient, exclusive, and consumed without acknowledgements.
pub async fn subscribe<S>(stream: S, address: &str, conf: &str) -> WebSocketStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut socket = subscriber::open(stream, address, "v12.stomp").await;
    // No heart-beats: they would cost the broker something in the gateway's rounds too.
    let password = RabbitMq::PASSWORD;
    let connect =
        format!("CONNECT\naccept-version:1.2\nhost:{VHOST}\nlogin:{USER}\npasscode:{password}\nheart-beat:0,0\n\n\0");
    exchange(&mut socket, connect, "CONNECTED").await;
    let subscribe =
        format!("SUBSCRIBE\nid:0\ndestination:/exchange/{EXCHANGE}/conf.{conf}.#\nack:auto\nreceipt:bound\n\n\0");
    exchange(&mut socket, subscribe, "RECEIPT").await;
    socket
}

/// Sends the frame; the next one must be that.
async fn exchange<S>(socket: &mut WebSocketStream<S>, frame: String, expected: &str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    socket.send(Message::text(frame)).await.expect("the broker reads");
    let answer = socket.next().await.expect("the broker answers").expect("the broker answers");
    let text = answer.to_text().unwrap_or_default();
    assert!(text.starts_with(expected), "{expected} expected, came: {answer:?}");
}
