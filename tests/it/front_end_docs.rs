//! `docs/front-end.md`: what it has people type works as it stands there, with curl, Node, Python and a browser.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::browser::Browser;
use crate::support::client::BASE;
use crate::support::gateway::Gateway;

/// Where the page says that everything runs.
const WRITTEN: &str = "https://127.0.0.1:9092/gzbwclient";
/// The dev server's origin there.
const DEV_SERVER: &str = "http://localhost:5173";

/// The code blocks of that language in the section, in order.
pub fn blocks(section: &str, language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/front-end.md")).unwrap();
    let text = page.split(&format!("\n## {section}\n")).nth(1).unwrap_or_else(|| panic!("no section {section}"));
    let text = text.split("\n## ").next().unwrap();
    let begin = format!("\n```{language}\n");
    text.split(&begin).skip(1).map(|block| block.split("\n```").next().unwrap().to_owned() + "\n").collect()
}

/// Runs it in the gateway's folder, as somebody who has set what the page has them set: what it wrote.
pub fn run(gateway: &Gateway, password: &str, program: &[&str], text: &str) -> String {
    let mut command = Command::new(program[0]);
    let base = format!("https://{}{BASE}", gateway.http());
    command.args(&program[1..]).arg(text).env("BASE", &base).env("PASSWORD", password);
    let ran = command.current_dir(gateway.directory()).stdin(Stdio::null()).output();
    let ran = ran.unwrap_or_else(|error| panic!("{}: {error}", program[0]));
    assert!(ran.status.success(), "{text}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("text")
}

pub fn shell(gateway: &Gateway, password: &str, script: &str) -> String {
    run(gateway, password, &["sh", "-euc"], script)
}

/// A server that is started as the section's line says: with that variable of the environment.
pub async fn started(section: &str, variable: &str, change: impl Fn(String) -> String) -> Gateway {
    let blocks = blocks(section, "sh");
    let line = blocks.iter().find_map(|block| block.strip_prefix(&format!("{variable}='")));
    let value = line.and_then(|line| line.strip_suffix("' cargo run --release\n"));
    let value = value.unwrap_or_else(|| panic!("no line of {variable} in {section}")).to_owned();
    Gateway::embedded().environment(variable, &change(value)).start().await
}

fn told(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A dev server, with one empty page.
async fn dev_server() -> u16 {
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _asked = socket.read(&mut [0; 4096]).await;
            let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<!doctype html>";
            let _closed = socket.write_all(page.as_bytes()).await;
        }
    });
    port
}

#[tokio::test]
async fn curl_node_and_python_trust_the_certificate_as_the_page_says() {
    let gateway = Gateway::embedded().start().await;
    let shells = blocks("The certificate", "sh");
    let own: Vec<_> = shells.iter().filter(|block| !block.contains("cargo run")).collect();
    assert_eq!(own.len(), 2, "curl and Node");
    for block in own {
        assert_eq!(told(&shell(&gateway, "", block))["result"]["serverName"], "ips3000", "{block}");
    }
    let python = blocks("The certificate", "python").concat();
    assert!(run(&gateway, "", &["python3", "-c"], &python).contains("'serverName': 'ips3000'"));
}

#[tokio::test]
async fn browser_a_page_of_a_dev_server_may_call_as_the_page_says() {
    let port = dev_server().await;
    let origin = format!("http://localhost:{port}");
    let allowed = |value: String| {
        assert!(value.contains(DEV_SERVER), "{value}");
        value.replace(DEV_SERVER, &origin)
    };
    let gateway = started("The certificate", "CONFGATE_HTTP__ALLOWED_ORIGINS", allowed).await;
    let script = blocks("The certificate", "js").concat();
    assert!(script.contains(WRITTEN));
    let script = script.replace(WRITTEN, &format!("https://{}{BASE}", gateway.http()));
    let script = script.replace("console.log(", "arguments[0](");
    let browser = Browser::start().await;
    browser.goto(&origin).await;
    let page = format!("(async () => {{ {script} }})().catch(error => arguments[0](String(error)));");
    // The arrow function sees the arguments of the script around it.
    let reply = browser.page.execute_async(&page, vec![]).await.expect("the script runs");
    assert_eq!(told(reply.as_str().expect("a text"))["result"]["serverName"], "ips3000");
}

#[tokio::test]
async fn accounts_are_made_and_iqs_are_answered_as_the_page_says() {
    let gateway = started("Accounts: `org.user.createUser`", "CONFGATE_AUTH__CLIENTS", |value| value).await;
    let password = gateway.printed().await.password;
    let accounts = blocks("Accounts: `org.user.createUser`", "sh");
    let made = told(&shell(&gateway, &password, &accounts[1]));
    assert_eq!((&made["result"]["userId"], &made["result"]["status"]), (&"u110001".into(), &"normal".into()), "{made}");
    assert_eq!(told(&shell(&gateway, &password, &accounts[1]))["error"]["data"]["key"], "user.taken");
    gateway.client().login_password("u110001", "a first password").await;

    let iq = &blocks("Any IQ: `org.user.processIQ`", "sh")[0];
    let logins = blocks("Logging in", "sh");
    // Each prints its own reply: the last is the IQ's.
    for before in [accounts[1].clone(), logins.concat()] {
        let said = shell(&gateway, &password, &format!("{before}\necho\n{iq}"));
        let answer = told(said.lines().last().expect("a reply"));
        assert!(
            answer["result"]["xml"].as_str().is_some_and(|xml| xml.contains("getMainTabs isNeedUpdate")),
            "{answer}"
        );
    }
    let rest = &blocks("Any IQ: `org.user.processIQ`", "sh")[1];
    let said = shell(&gateway, &password, &format!("{}\necho\n{rest}", logins.concat()));
    let answer = said.lines().last().expect("an answer");
    assert!(answer.starts_with("<iq ") && answer.contains("getMainTabs isNeedUpdate"), "{answer}");
    // The token of `admin` lacks the scope, and is told which.
    let as_admin = accounts[1].lines().skip(2).collect::<Vec<_>>().join("\n");
    let said = shell(&gateway, &password, &format!("{}\necho\n{as_admin}", logins.concat()));
    let refused = told(said.lines().last().expect("a reply"));
    assert_eq!(refused["error"]["data"]["scope"], "user.create", "{refused}");
}
