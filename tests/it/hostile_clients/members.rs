//! A conference whose members behave: they listen, say something now and then, and ask the EIM.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::wait::PATIENCE;

/// Between two requests of one member, and between two messages of the chair's.
const ASKS: Duration = Duration::from_millis(300);
const SAYS: Duration = Duration::from_secs(1);
const ASKED: &str = "<iq to='jeprivacy.ips3000' type='get' id='1'><jeExtension xmlns='je:x:client:config'/></iq>";
const LAST_WORD: &str = "the last word";

pub struct Members {
    listening: Vec<JoinHandle<usize>>,
    asking: Vec<JoinHandle<()>>,
    saying: JoinHandle<(Client, usize)>,
    over: watch::Sender<bool>,
    /// How long each request to the EIM took.
    waits: Arc<Mutex<Vec<Duration>>>,
    conf: String,
}

impl Members {
    pub async fn enter(fixture: &Fixture, chair: Client, conf: &str, code: &str, members: usize) -> Self {
        let (over, waits) = (watch::Sender::new(false), Arc::<Mutex<Vec<Duration>>>::default());
        let (mut listening, mut asking) = (Vec::new(), Vec::new());
        chair.rpc("conference.join", json!({ "confId": conf })).await.result();
        listening.push(tokio::spawn(listen(chair.open_socket().await)));
        for n in 0..members {
            let member = fixture.guest(code, &format!("Member {n}")).await;
            member.rpc("conference.join", json!({ "confId": conf })).await.result();
            member.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
            let mut socket = member.open_socket().await;
            socket.wait_for("conference.snapshot").await;
            listening.push(tokio::spawn(listen(socket)));
            asking.push(tokio::spawn(ask(member, waits.clone(), over.subscribe())));
        }
        let saying = tokio::spawn(keep_sending(chair, conf.to_owned(), over.subscribe()));
        Self { listening, asking, saying, over, waits, conf: conf.to_owned() }
    }

    /// The time within which 99 of 100 requests to the EIM were answered, for so long from now.
    pub async fn slowest_of_a_hundred(&mut self, during: Duration) -> Duration {
        self.waits.lock().expect("nobody panics with it").clear();
        sleep(during).await;
        let mut waits = std::mem::take(&mut *self.waits.lock().expect("nobody panics with it"));
        waits.sort_unstable();
        waits.get(waits.len() * 99 / 100).copied().expect("members ask")
    }

    /// All that the chair said came to everybody, in order and without a gap.
    pub async fn have_heard_everything(self) {
        self.over.send_replace(true);
        for asking in self.asking {
            asking.await.expect("it was always answered");
        }
        let (chair, said) = self.saying.await.expect("it was always answered");
        let last = json!({ "confId": self.conf, "text": LAST_WORD });
        chair.rpc("conference.sendMessage", last).await.result();
        for listening in self.listening {
            let heard = timeout(PATIENCE, listening).await.expect("the last word comes").expect("no gap, no move");
            assert!(heard > said, "{heard} of {} messages", said + 1);
        }
    }
}

/// Reads everything until the end of the attack; gives the number of messages.
async fn listen(mut socket: EventSocket) -> usize {
    let mut messages = 0;
    loop {
        let heard = socket.next_notification(PATIENCE).await.expect("the chair goes on talking");
        assert_ne!(heard.method, "callgw.changed", "the conference was moved");
        if heard.params["type"] == "message" {
            messages += 1;
            if heard.params["data"]["text"] == LAST_WORD {
                return messages;
            }
        }
    }
}

async fn ask(member: Client, waits: Arc<Mutex<Vec<Duration>>>, over: watch::Receiver<bool>) {
    while !*over.borrow() {
        let begun = Instant::now();
        member.rpc("org.user.processIQ", json!({ "reqXml": ASKED })).await;
        waits.lock().expect("nobody panics with it").push(begun.elapsed());
        sleep(ASKS).await;
    }
}

/// Says something now and then; how often.
async fn keep_sending(chair: Client, conf: String, over: watch::Receiver<bool>) -> (Client, usize) {
    let mut said = 0;
    while !*over.borrow() {
        let message = json!({ "confId": conf, "text": format!("message {said}") });
        chair.rpc("conference.sendMessage", message).await.result();
        said += 1;
        sleep(SAYS).await;
    }
    (chair, said)
}
