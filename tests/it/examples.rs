//! The programs in `examples/`: each runs as its first lines say, against the real binary.

use std::fs;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::front_end_docs::run;
use crate::support::browser::Browser;
use crate::support::gateway::Gateway;

/// The pages' origin, as they name it.
const ORIGIN: &str = "http://localhost:5173";

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// The value of that variable in the line that starts the gateway.
fn variable(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.split_once(&format!("{name}='"))).map(|(_, value)| value);
    let value = line.and_then(|line| line.strip_suffix("' cargo run --release"));
    value.unwrap_or_else(|| panic!("no line that sets {name}")).to_owned()
}

/// Runs the client in the folder of a gateway that was started as the client says: what it wrote.
async fn run_client(name: &str, program: &[&str]) -> String {
    let text = fs::read_to_string(example(name)).expect("the example is there");
    let clients = variable(&text, "CONFGATE_AUTH__CLIENTS");
    let gateway = Gateway::embedded().environment("CONFGATE_AUTH__CLIENTS", &clients).start().await;
    run(&gateway, "", program, &example(name).to_string_lossy())
}

/// What both clients show of each step.
fn assert_all_steps(said: &str) {
    for step in [
        "logged in as hr\n",
        "created u",
        "getMainTabs isNeedUpdate",
        "connected to ",
        "event 1: conference.created Weekly\n",
    ] {
        assert!(said.contains(step), "{step:?} is missing in: {said}");
    }
}

#[tokio::test]
async fn node_client_runs() {
    let node = ["env", "NODE_EXTRA_CA_CERTS=certs/cert.pem", "node", "--experimental-websocket"];
    assert_all_steps(&run_client("client.mjs", &node).await);
}

#[tokio::test]
async fn python_client_runs() {
    // Debian's, for which tests/run installs the package that the client imports.
    assert_all_steps(&run_client("client.py", &["/usr/bin/python3"]).await);
}

/// Serves the front end's two files: its port.
async fn front_end() -> u16 {
    let listener = TcpListener::bind("localhost:0").await.expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // A browser opens connections ahead, on which it may say nothing.
            tokio::spawn(send_file(socket));
        }
    });
    port
}

async fn send_file(mut socket: TcpStream) {
    let mut head = vec![0; 4096];
    let length = socket.read(&mut head).await.unwrap_or_default();
    let is_script = String::from_utf8_lossy(&head[..length]).starts_with("GET /front-end.js ");
    let (name, kind) = if is_script { ("front-end.js", "text/javascript") } else { ("index.html", "text/html") };
    let body = fs::read_to_string(example("front-end").join(name)).expect("the example is there");
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _closed = socket.write_all((head + &body).as_bytes()).await;
}

#[tokio::test]
async fn browser_front_end_of_another_origin_shows_who_is_there_and_writes() {
    let page = fs::read_to_string(example("front-end/index.html")).expect("the example is there");
    let origin = format!("http://localhost:{}", front_end().await);
    let allowed = variable(&page, "CONFGATE_HTTP__ALLOWED_ORIGINS");
    assert!(allowed.contains(ORIGIN), "{allowed}");
    let allowed = allowed.replace(ORIGIN, &origin);
    let gateway = Gateway::embedded().environment("CONFGATE_HTTP__ALLOWED_ORIGINS", &allowed).start().await;
    let guest = gateway.printed().await.guest;
    let browsers = [Browser::start().await, Browser::start().await];
    for (browser, name) in browsers.iter().zip(["Ann", "Bo"]) {
        browser.goto(&origin).await;
        browser.fill("[name=link]", &guest).await;
        browser.fill("[name=name]", name).await;
        browser.click("#enter button").await;
        browser.shows("#members", &format!("{name} (guest)")).await;
    }
    let [ann, bo] = &browsers;
    ann.shows("#members", "Bo (guest)").await;
    ann.fill("[name=text]", "Good morning").await;
    ann.click("#write button").await;
    bo.shows("#messages", "Ann: Good morning").await;
}
