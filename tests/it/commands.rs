//! The program's commands, as an operator types them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::client::BASE;
use crate::support::gateway::{Gateway, Printed};
use crate::support::ports::Port;
use crate::support::wait::PATIENCE;

fn confgate(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confgate"));
    if arguments.first() == Some(&"check") {
        // Others of this machine may have the default ports.
        command.env("CONFGATE_HTTP__LISTEN", "127.0.0.1:0").env("CONFGATE_ADMIN__LISTEN", "127.0.0.1:0");
    }
    command.args(arguments).current_dir(directory).output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the binary writes UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the binary writes UTF-8")
}

fn code_of(link: &str) -> &str {
    link.split_once("/conference/").expect("a link's address").1
}

#[tokio::test]
async fn without_a_file_it_prints_links_that_work_within_a_second() {
    let begun = Instant::now();
    let gateway = Gateway::embedded().start().await;
    let Printed { chair, guest, password } = gateway.printed().await;
    let took = begun.elapsed();
    // A debug build on a machine that does other things too; the promise is a second.
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    println!("printed after {took:?}");
    let base = format!("https://{}{BASE}/conference/", gateway.http());
    assert!(chair.starts_with(&base) && guest.starts_with(&base), "{chair} {guest}");

    let client = gateway.client();
    let boss = client.login_link(&chair, "Boss").await;
    let conf = boss.login()["confId"].as_str().unwrap().to_owned();
    let joined = boss.rpc("conference.join", json!({ "confId": conf })).await.result();
    assert_eq!(joined["member"]["role"], "chair");
    let visitor = client.login_link(&guest, "Visitor").await;
    assert_eq!(visitor.login()["confId"], conf.as_str());
    let admin = client.login_password("admin", &password).await;
    admin.rpc("conference.create", json!({ "name": "Own" })).await.result();
}

#[tokio::test]
async fn a_second_start_keeps_everything() {
    let mut gateway = Gateway::embedded().start().await;
    let before = gateway.printed().await;
    let admin = gateway.client().login_password("admin", &before.password).await;
    let made = admin.rpc("conference.create", json!({ "name": "Kept" })).await.result();
    let certificate = std::fs::read(gateway.certificate()).unwrap();
    assert_eq!(gateway.stop(PATIENCE).await.and_then(|status| status.code()), Some(0));
    gateway.restart().await;
    let after = gateway.printed().await;
    assert_eq!(after.password, before.password);
    assert_eq!(std::fs::read(gateway.certificate()).unwrap(), certificate);
    let guest = gateway.client().login_link(&before.guest, "Old link").await;
    let again = gateway.client().login_link(&after.guest, "New link").await;
    assert_eq!(guest.login()["confId"], again.login()["confId"], "the same demo conference");
    let listed = admin.rpc("conference.list", json!({})).await.result();
    let names: Vec<&Value> = listed["conferences"].as_array().unwrap().iter().map(|c| &c["confId"]).collect();
    assert!(names.contains(&&made["confId"]), "{listed}: also the token is still good");
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_by_a_crash() {
    let mut fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({ "password": "kept-word" })).await;
    let mut socket = chair.open_socket().await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    let guest = fixture.guest(&code, "Guest").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    let revoked = chair.rpc("conference.createLink", json!({ "confId": conf })).await.result();
    let params = json!({ "confId": conf, "linkId": revoked["linkId"] });
    chair.rpc("conference.revokeLink", params).await.result();
    for text in ["one", "two", "three"] {
        chair.rpc("conference.sendMessage", json!({ "confId": conf, "text": text })).await.result();
    }
    chair.rpc("conference.control", json!({ "confId": conf, "action": "lock" })).await.result();

    fixture.gateway.kill();
    fixture.gateway.restart().await;

    let told = chair.rpc("conference.get", json!({ "confId": conf })).await.result();
    assert_eq!((&told["locked"], &told["password"]), (&json!(true), &json!("kept-word")));
    let messages = chair.rpc("conference.messages", json!({ "confId": conf })).await.result();
    let texts: Vec<&str> = messages["messages"].as_array().unwrap().iter().filter_map(|m| m["text"].as_str()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let members = guest.rpc("conference.members", json!({ "confId": conf })).await.result();
    assert_eq!(members["members"].as_array().unwrap().len(), 2, "{members}");
    let by_revoked = json!({ "grantType": "conference_link", "link": revoked["code"], "name": "Late" });
    assert!(fixture.gateway.client().try_login(by_revoked).await.is_err());
    // A member whose socket broke with the crash comes back into its seat.
    let mut socket = chair.resume_socket(socket.vanish()).await;
    socket.expect("hello").await;
    socket.next_notification(PATIENCE).await.expect("events or a snapshot come");
    assert_eq!(socket.follower.roster(&conf).members.len(), 2);
}

#[tokio::test]
async fn with_a_file_no_secret_is_printed() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    fixture.conference(&chair, json!({})).await;
    let logs = fixture.gateway.logs();
    assert!(!logs.contains("password") && !logs.contains("/conference/"), "{logs}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let mut socket = chair.open_socket().await;
    socket.expect("hello").await;
    fixture.gateway.signal(Signal::TERM);
    socket.wait_for("goingAway").await;
    let refused = socket.call("conference.join", json!({ "confId": "any" })).await.refused(-32029);
    assert_eq!(refused["data"]["key"], "node.goingAway");
    let begun = Instant::now();
    let status = fixture.gateway.stop(PATIENCE).await.expect("it ends");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(status.code(), Some(0), "it was asked to");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_all_its_errors() {
    let config = r#"
        [http]
        base_path = "no-slash"
        [auth]
        access_ttl_s = 0
        unheard_of = 1
        [eim]
        mode = "component"
        [limits]
        batch = 0
    "#;
    let (status, said) = Gateway::with(config).fail().await;
    assert_eq!(status.code(), Some(2), "{said}");
    for key in ["http.base_path", "auth.access_ttl_s", "auth.unheard_of", "eim.host", "eim.secret", "limits.batch"] {
        assert!(said.contains(key), "{key} is missing in:\n{said}");
    }
    let directory = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        (&["serve", "--config", "none.toml"][..], 2),
        (&["serve", "--listen", "nowhere"], 2),
        (&["--unheard-of"], 2),
        (&["eim", "--config", "none.toml"], 2),
    ] {
        let output = confgate(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn the_environment_overrides_the_file() {
    let gateway = Gateway::with("[eim]\ndomain = \"in.the.file\"")
        .environment("CONFGATE_EIM__DOMAIN", "of.the.environment")
        .environment("CONFGATE_HTTP__ALLOWED_ORIGINS", r#"["https://intranet.example.org"]"#)
        .start()
        .await;
    let client = gateway.client();
    let told = client.rpc("config.getProperties", json!({ "keys": ["serverName"] })).await.result();
    assert_eq!(told["serverName"], "of.the.environment");
    let reply = client.raw("{}", &[("origin", "https://intranet.example.org")]).await;
    assert_eq!(reply.header("access-control-allow-origin"), "https://intranet.example.org");
    let wrong = Gateway::with("").environment("CONFGATE_LIMITS__BATCH", "many").fail().await;
    assert_eq!(wrong.0.code(), Some(2));
    assert!(wrong.1.contains("limits.batch"), "{}", wrong.1);
}

#[tokio::test]
async fn the_schemas_and_the_configuration_are_printed() {
    let directory = tempfile::tempdir().unwrap();
    let printed = |arguments: &[&str]| -> Value {
        serde_json::from_str(&stdout(&confgate(directory.path(), arguments))).unwrap()
    };
    let public = "[http]\npublic_url = \"https://meet.example.org\"\n";
    std::fs::write(directory.path().join("public.toml"), public).unwrap();
    let [openrpc, asyncapi] = ["openrpc", "asyncapi"].map(|which| printed(&[which, "--config", "public.toml"]));
    let address = |openrpc: &Value| openrpc["servers"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(address(&openrpc), format!("https://meet.example.org{BASE}/jsonrpc"));
    assert_eq!(asyncapi["servers"]["gateway"]["host"], "meet.example.org");
    assert_eq!(address(&printed(&["openrpc"])), format!("https://127.0.0.1:9092{BASE}/jsonrpc"));
    let fixture = Fixture::embedded().await;
    let own = fixture.gateway.client().get(&format!("{BASE}/openrpc.json")).await.json();
    assert_eq!(address(&own), format!("https://{}{BASE}/jsonrpc", fixture.gateway.http()));
    let fixture = Fixture::with(public).await;
    let client = fixture.gateway.client();
    assert_eq!(client.get(&format!("{BASE}/openrpc.json")).await.json(), openrpc);
    assert_eq!(client.get(&format!("{BASE}/asyncapi.json")).await.json(), asyncapi);
    assert_eq!(client.rpc("rpc.discover", json!({})).await.result(), openrpc);
    // The printed default configuration is valid, and it is the default.
    let config = stdout(&confgate(directory.path(), &["config"]));
    std::fs::write(directory.path().join("confgate.toml"), config).unwrap();
    let checked = confgate(directory.path(), &["check", "--config", "confgate.toml"]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", stdout(&checked), stderr(&checked));
}

#[tokio::test]
async fn check_tries_every_part_and_says_which_fails() {
    let directory = tempfile::tempdir().unwrap();
    let fine = confgate(directory.path(), &["check"]);
    let said = stdout(&fine);
    assert_eq!(fine.status.code(), Some(0), "{said}");
    for part in ["certificate", "schema", "database", "eim"] {
        assert!(said.lines().any(|line| line.starts_with("ok") && line.contains(part)), "{part}:\n{said}");
    }
    let nobody = Port::claim();
    let config = format!(
        "[http]\ncert = \"none.pem\"\nkey = \"none.pem\"\n[eim]\nmode = \"component\"\nhost = \"127.0.0.1\"\n\
         port = {port}\nsecret = \"s\"\ntimeout_ms = 2000\n[[callgw.nodes]]\nid = \"sfu\"\nkind = \"confgate\"\n\
         url = \"ws://127.0.0.1:{port}/groupcall\"\nsecret = \"a long random text\"\n",
        port = nobody.number()
    );
    std::fs::write(directory.path().join("confgate.toml"), config).unwrap();
    let failing = confgate(directory.path(), &["check", "--config", "confgate.toml"]);
    let said = stdout(&failing);
    assert_eq!(failing.status.code(), Some(1), "{said}{}", stderr(&failing));
    for part in ["certificate", "component", "callgw sfu"] {
        assert!(said.lines().any(|line| line.starts_with("FAILED") && line.contains(part)), "{part}:\n{said}");
    }
    assert!(said.lines().any(|line| line.starts_with("ok") && line.contains("database")), "{said}");
}

#[tokio::test]
async fn a_conference_is_made_from_the_command_line() {
    let fixture = Fixture::embedded().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret"), "the chair's secret\n").unwrap();
    let url = format!("https://{}{BASE}", fixture.gateway.http());
    let ca = fixture.gateway.certificate();
    let ca = ca.to_str().unwrap();
    let create = |more: &[&str]| {
        let mut arguments = vec!["conference", "create", "--name", "Made by hand", "--url", &url];
        arguments.extend(["--client-id", "chair", "--secret-file", "secret"]);
        arguments.extend(more);
        confgate(directory.path(), &arguments)
    };
    let made = create(&["--ca", ca, "--password", "by-hand-1", "--lobby", "--mute-policy", "joinMuted"]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let link = stdout(&made).trim().to_owned();
    assert!(link.starts_with(&format!("{url}/conference/")), "{link}");
    let guest = fixture.guest(code_of(&link), "Guest").await;
    let conf = guest.login()["confId"].clone();
    let told = guest.rpc("conference.get", json!({ "confId": conf })).await.result();
    assert_eq!((&told["confName"], &told["lobby"]), (&json!("Made by hand"), &json!(true)));
    assert_eq!(told["mutePolicy"], "joinMuted");

    let taken = create(&["--ca", ca, "--password", "by-hand-1"]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(stderr(&taken).contains("conference.passwordTaken"), "{}", stderr(&taken));
    let untrusted = create(&[]);
    assert_eq!((untrusted.status.code(), untrusted.stdout.is_empty()), (Some(1), true));
    std::fs::write(directory.path().join("secret"), "wrong").unwrap();
    let wrong = create(&["--ca", ca]);
    assert!(stderr(&wrong).contains("auth.failed"), "{}", stderr(&wrong));
}
