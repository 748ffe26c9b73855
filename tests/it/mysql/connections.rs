//! Ways to the server, and each way in which it refuses or isn't there: told in words, within a bound.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::{NO_EIM, bare, keeps_the_password, store};
use crate::support::certificate::Certificate;
use crate::support::mariadb::MariaDb;
use crate::support::ports::Port;
use crate::xmpp::check;

/// A server that never answers is given up after that.
const BOUND: Duration = Duration::from_secs(15);

async fn accepted(store: &str) {
    let (_, output) = check(&format!("{NO_EIM}{store}")).await;
    assert!(output.contains("ok     database: open, migrated"), "{output}");
    let gateway = bare("n1", store).start().await;
    keeps_the_password(&format!("{output}{}", gateway.logs()));
}

/// Neither `check` nor `serve` starts, and both say why.
async fn refused(store: &str, words: &str) {
    let begun = Instant::now();
    let (code, output) = check(&format!("{NO_EIM}{store}")).await;
    assert!(begun.elapsed() < BOUND, "check took {:?}", begun.elapsed());
    let line = output.lines().find(|line| line.starts_with("FAILED") && line.contains("mysql confgate at "));
    assert!(code == Some(1) && line.is_some_and(|line| line.contains(words)), "{words}: {code:?} {output}");
    let begun = Instant::now();
    let (status, logs) = bare("n1", store).fail().await;
    assert!(begun.elapsed() < BOUND, "serve took {:?}", begun.elapsed());
    assert!(status.code() == Some(1) && logs.contains(words), "{words}: {status} {logs}");
    println!("{output}");
    keeps_the_password(&format!("{output}{logs}"));
}

fn verified(url: &str, ca: &std::path::Path) -> String {
    format!("{}tls = \"verify\"\nca = {ca:?}\n", store(url))
}

#[tokio::test]
async fn with_tls_nothing_goes_in_the_clear_and_the_server_proves_who_it_is() {
    let database = MariaDb::start().await;
    // The judge: the server lets nobody in without TLS.
    database.sql("ALTER USER confgate@'%', confgate@'localhost' REQUIRE SSL").await;
    accepted(&verified(&database.url(), &database.ca())).await;
    refused(&format!("{}tls = \"off\"\n", store(&database.url())), "refuses the user or the password").await;
    let other = tempfile::tempdir().expect("the system's directory for temporary files is writable");
    Certificate::for_names(&["localhost", "127.0.0.1"]).write(other.path());
    refused(&verified(&database.url(), &other.path().join("cert.pem")), "certificate").await;
    refused(
        &format!("{}tls = \"verify\"\n", store(&database.url())),
        "certificate: UnknownIssuer (store.tls, store.ca)",
    )
    .await;
    let missing = verified(&database.url(), &other.path().join("nowhere.pem"));
    refused(&missing, "nowhere.pem").await;
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused_in_words() {
    let database = MariaDb::named(&["database.example"]).await;
    refused(&verified(&database.url(), &database.ca()), "not valid for name").await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_the_store_wants_tls() {
    let database = MariaDb::without_tls().await;
    refused(&format!("{}tls = \"verify\"\n", store(&database.url())), "TLS").await;
    accepted(&store(&database.url())).await;
}

#[tokio::test]
async fn a_server_of_this_machine_is_reached_over_its_socket() {
    let database = MariaDb::start().await;
    accepted(&store(&database.socket_url())).await;
    let nowhere = database.socket_url().replace("m.sock", "nowhere.sock");
    refused(&store(&nowhere), "No such file").await;
}

#[tokio::test]
async fn a_server_that_refuses_is_not_there_or_never_answers_is_told_in_words_within_a_bound() {
    let database = MariaDb::start().await;
    let wrong = database.url().replace(MariaDb::PASSWORD_IN_URL, "not-the-databases-password");
    refused(&store(&wrong), "refuses the user or the password").await;
    database.sql("CREATE DATABASE forbidden").await;
    let forbidden = database.url_of("forbidden").replace("confgate at", "forbidden at");
    let (code, output) = check(&format!("{NO_EIM}{}", store(&forbidden))).await;
    assert!(code == Some(1) && output.contains("has no right to the database"), "{code:?} {output}");
    database.sql("GRANT ALL ON unknown.* TO confgate@'%'").await;
    let (code, output) = check(&format!("{NO_EIM}{}", store(&database.url_of("unknown")))).await;
    assert!(code == Some(1) && output.contains("has no such database: create it"), "{code:?} {output}");
    let port = Port::claim();
    refused(&store(&database.url_at(port.address())), "refused").await;
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = mute.local_addr().expect("it is bound");
    refused(&store(&database.url_at(address)), "did not answer").await;
}
