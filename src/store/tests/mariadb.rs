//! The same tests on a MariaDB of their own.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

use super::super::*;
use super::Promises;
use crate::config;
use crate::ids::Secret;

const ALL: &[Promises] = &[
    super::ON_BOTH,
    call_gateways::tests::ON_BOTH,
    failover::tests::ON_BOTH,
    node_links::tests::ON_BOTH,
    numberings::tests::ON_BOTH,
    open_sockets::tests::ON_BOTH,
    accounts::tests::ON_BOTH,
    allocations::tests::ON_BOTH,
    audit::tests::ON_BOTH,
    bans::tests::ON_BOTH,
    collect::tests::ON_BOTH,
    leases::tests::ON_BOTH,
    links::tests::ON_BOTH,
    refresh_token_families::tests::ON_BOTH,
    time_line::tests::ON_BOTH,
];

/// Tests of what only a file has.
const OF_FILES: &[&str] = &[
    "every_table_is_copied_or_left_for_a_reason",
    "a_damaged_file_is_refused_in_words",
    "a_file_of_a_newer_confgate_is_refused_in_words",
    "a_file_that_is_no_database_is_refused_by_name_and_left_alone",
    "a_file_that_may_not_be_written_is_refused_in_words",
    "a_path_that_cannot_be_made_is_refused_in_words",
    "another_process_that_holds_the_file_is_waited_for_and_no_longer",
    "many_processes_may_open_a_new_file_at_once",
    "a_write_waits_behind_no_reader",
    "readers_cannot_write",
    "requests_beyond_the_queue_are_refused_at_once_and_those_in_it_after_the_wait",
    "the_files_are_for_their_owner_alone",
];

/// Longer than a server needs to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a request of one test waits.
const WAIT: Duration = Duration::from_millis(600);

thread_local! {
    static SERVER: RefCell<Option<Rc<MariaDb>>> = const { RefCell::new(None) };
}

struct MariaDb {
    process: Child,
    folder: TempDir,
    databases: RefCell<u32>,
}

impl MariaDb {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("confgate-maria-").tempdir().unwrap();
        let (data, socket) = (folder.path().join("data"), folder.path().join("m.sock"));
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--user=root"])
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", folder.path().display()))
            .stdout(Stdio::null())
            .status()
            .expect("MariaDB is installed");
        assert!(installed.success());
        let process = Command::new("mariadbd")
            .args(["--no-defaults", "--user=root", "--skip-networking", "--skip-log-bin", "--performance-schema=OFF"])
            .args(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=2"])
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--tmpdir={}", folder.path().display()))
            .arg(format!("--log-error={}", folder.path().join("log").display()))
            .spawn()
            .unwrap();
        let server = Self { process, folder, databases: RefCell::new(0) };
        let begun = Instant::now();
        while !server.run("SELECT 1") {
            assert!(begun.elapsed() < PATIENCE, "MariaDB does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// By the server's own client.
    fn run(&self, sql: &str) -> bool {
        let socket = format!("--socket={}", self.socket().display());
        let client = Command::new("mariadb").args(["--no-defaults", "--user=root", &socket, "-e", sql]).output();
        client.is_ok_and(|done| done.status.success())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("m.sock")
    }

    fn new_database(&self) -> config::Store {
        self.new_database_via(&self.socket())
    }

    fn new_database_via(&self, socket: &Path) -> config::Store {
        let number = self.databases.replace_with(|number| *number + 1);
        assert!(self.run(&format!("CREATE DATABASE t{number}")));
        let url = format!("mysql://root@localhost/t{number}?socket={}", socket.display());
        config::Store { url: Secret::new(url), ..config::Store::default() }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A new database where this thread's tests run on a server.
pub(super) fn new_database() -> Option<config::Store> {
    SERVER.with_borrow(|server| server.as_ref().map(|server| server.new_database()))
}

#[test]
fn the_store_keeps_its_promises_on_mariadb_too() {
    SERVER.set(Some(Rc::new(MariaDb::start())));
    for (name, promise) in ALL.concat() {
        println!("{name}");
        promise();
    }
    let server = SERVER.take().unwrap();
    assert!(*server.databases.borrow() as usize >= ALL.concat().len(), "each made at least one database");
}

#[tokio::test]
async fn a_file_is_copied_to_a_server_whole_and_once() {
    let (file, place) = super::fresh().await;
    let documents = (0..450).map(|n| ("user".to_owned(), format!("ключ {n}"), Some("тело ".repeat(n * 10)))).collect();
    file.write_documents(documents).await.unwrap();
    file.create_link(&links::tests::link("link", "c")).await.unwrap();
    file.acquire_lease("node1", Moment::at(5), Duration::from_secs(1)).await.unwrap();
    let server = MariaDb::start();
    let to = Store::open(&server.new_database()).await.unwrap();
    let mut seen = Vec::new();
    assert_eq!(file.copy_to(&to, |progress| seen.push(progress)).await.unwrap(), 452);
    assert!(seen.iter().any(|p| p.table == "documents" && 0 < p.done && p.done < p.of), "{seen:?}");
    assert_eq!(seen.iter().rfind(|p| p.table == "documents").map(|p| (p.done, p.of)), Some((450, 450)));
    let sorted = |mut all: Vec<Document>| {
        all.sort();
        all
    };
    assert_eq!(sorted(to.documents().await.unwrap()), sorted(file.documents().await.unwrap()));
    assert_eq!(to.link("link").await.unwrap(), file.link("link").await.unwrap());
    assert_eq!(to.acquire_lease("node1", Moment::at(9), Duration::from_secs(1)).await.unwrap().fence, 2);
    let again = file.copy_to(&to, |_| {}).await;
    assert!(matches!(again, Err(CopyError::NotEmpty { table: "documents" })), "{again:?}");
    assert!(matches!(to.copy_to(&file, |_| {}).await, Err(CopyError::Direction)));
    drop(place);
}

/// A way to a server on which each part of an answer is held back for so long, once it is set.
#[derive(Clone, Default)]
struct SlowWay(Arc<Mutex<Duration>>);

impl SlowWay {
    fn set(&self, pause: Duration) {
        *self.0.lock().unwrap() = pause;
    }

    async fn carry(self, from: UnixListener, to: PathBuf) {
        while let Ok((near, _)) = from.accept().await {
            let (way, far) = (self.clone(), UnixStream::connect(&to).await.unwrap());
            tokio::spawn(async move {
                let ((mut ask, mut answer), (mut answers, mut asked)) = (near.into_split(), far.into_split());
                tokio::select! {
                    _ = tokio::io::copy(&mut ask, &mut asked) => {}
                    () = async {
                        let mut part = [0; 4096];
                        while let Ok(n @ 1..) = answers.read(&mut part).await {
                            let pause = *way.0.lock().unwrap();
                            sleep(pause).await;
                            answer.write_all(&part[..n]).await.ok();
                        }
                    } => {}
                }
            });
        }
    }
}

#[tokio::test]
async fn a_server_to_which_a_connection_takes_longer_than_a_request_waits_serves_all_the_same() {
    let server = MariaDb::start();
    let (way, near) = (SlowWay::default(), server.folder.path().join("near.sock"));
    let relay = tokio::spawn(way.clone().carry(UnixListener::bind(&near).unwrap(), server.socket()));
    let store = Store::open(&config::Store { wait: WAIT, ..server.new_database_via(&near) }).await.unwrap();
    // A connection is made by four answers, a request takes two at a time.
    way.set(WAIT / 3);
    let begun = Instant::now();
    let request = async || {
        let mut refused = 0;
        while let Err(refusal) = store.live_nodes(Moment::at(1)).await {
            assert!(matches!(refusal, StoreError::Busy) && begun.elapsed() < PATIENCE, "{refusal}");
            refused += 1;
        }
        refused
    };
    // Many more than there are connections, so that most wait for one until their time is over.
    let refused = join_all((0..64).map(|_| request())).await;
    assert!(refused.iter().all(|count| *count > 0), "{refused:?}");
    relay.abort();
}

#[test]
fn every_test_of_the_store_runs_on_both_databases_or_is_of_files_alone() {
    let sources = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store")).unwrap();
    let mut files: Vec<_> = sources.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.push(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/tests/mod.rs").into());
    let run: Vec<&str> = ALL.concat().iter().map(|(name, _)| *name).collect();
    let mut found = 0;
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        for test in text.split("#[tokio::test").skip(1) {
            let name = test.split_once("async fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name);
            let name = name.unwrap();
            assert!(run.contains(&name) != OF_FILES.contains(&name), "{name} in {}", path.display());
            found += 1;
        }
    }
    assert_eq!(found, run.len() + OF_FILES.len());
}
