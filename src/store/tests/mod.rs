//! The store's promises as a whole; each domain's own stand beside it.

mod mariadb;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::query::query;
use super::*;
use crate::config;
use crate::ids::{ConfId, Secret, UserId};

pub(super) fn conf(id: &str) -> ConfId {
    ConfId::parse(id).unwrap()
}

pub(super) fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn settings(path: &Path) -> config::Store {
    config::Store { url: Secret::new(format!("sqlite:{}", path.display())), ..config::Store::default() }
}

/// Where a test's store is: a file in a folder, or a database of a server.
pub(super) struct Place {
    folder: TempDir,
    server: Option<config::Store>,
}

impl Place {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Tests that hold on a server too, by their names.
pub(super) type Promises = &'static [(&'static str, fn())];

macro_rules! promises {
    ($($name:ident,)*) => { &[$((stringify!($name), $name)),*] };
}
pub(super) use promises;

/// A new store and the place where it lives.
pub(super) async fn fresh() -> (Store, Place) {
    let place = Place { folder: tempfile::tempdir().unwrap(), server: mariadb::new_database() };
    let config = place.server.clone().unwrap_or_else(|| settings(&place.path().join("data/confgate.db")));
    (Store::open(&config).await.unwrap(), place)
}

/// The store as a new process would find it if this one were killed now: the files as they are on disk, or the database
/// as the server has it.
pub(super) async fn after_a_crash(place: &Place) -> (Store, Place) {
    let copy = Place { folder: tempfile::tempdir().unwrap(), server: place.server.clone() };
    if let Some(config) = &copy.server {
        return (Store::open(config).await.unwrap(), copy);
    }
    std::fs::create_dir(copy.path().join("data")).unwrap();
    for file in std::fs::read_dir(place.path().join("data")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join("data").join(file.file_name())).unwrap();
    }
    let store = Store::open(&settings(&copy.path().join("data/confgate.db"))).await.unwrap();
    (store, copy)
}

/// The store again, opened as it was.
async fn another(place: &Place) -> Store {
    let config = place.server.clone().unwrap_or_else(|| settings(&place.path().join("data/confgate.db")));
    Store::open(&config).await.unwrap()
}

fn sqlite_writer(store: &Store) -> &SqlitePool {
    let Database::Sqlite { writer, .. } = &store.database else { panic!("not SQLite") };
    writer
}

async fn open_error(path: &Path) -> String {
    match Store::open(&settings(path)).await {
        Ok(_) => panic!("{} opened", path.display()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_a_crash() {
    let (store, folder) = fresh().await;
    store.get_or_create("key", || "value".to_owned()).await.unwrap();
    let (again, _copy) = after_a_crash(&folder).await;
    assert_eq!(again.setting("key").await.unwrap().as_deref(), Some("value"));
}

#[tokio::test]
async fn acknowledged_writes_survive_a_restart() {
    let (store, folder) = fresh().await;
    store.get_or_create("key", || "value".to_owned()).await.unwrap();
    store.close().await;
    assert!(store.check().await.is_err());
    let again = another(&folder).await;
    assert_eq!(again.setting("key").await.unwrap().as_deref(), Some("value"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_processes_may_open_a_new_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = settings(&folder.path().join("data/confgate.db"));
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { Store::open(&config).await })
        })
        .collect();
    for task in opening {
        task.await.unwrap().unwrap().check().await.unwrap();
    }
}

#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    let (store, folder) = fresh().await;
    store.get_or_create("key", || "value".to_owned()).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    let files: Vec<_> =
        std::fs::read_dir(folder.path().join("data")).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 2, "the log stands beside the file: {files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_by_name_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "dear diary, ".repeat(1000)).unwrap();
    let error = open_error(&path).await;
    assert!(error.contains("notes.txt") && error.ends_with("the file is not an SQLite database"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap().len(), 12_000);
}

#[tokio::test]
async fn a_damaged_file_is_refused_in_words() {
    let (store, folder) = fresh().await;
    store.close().await;
    let path = folder.path().join("data/confgate.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100..].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let error = open_error(&path).await;
    assert!(error.ends_with("the file is damaged"), "{error}");
}

#[tokio::test]
async fn a_path_that_cannot_be_made_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let error = open_error(folder.path()).await;
    assert!(error.contains("cannot be opened: Is a directory"), "{error}");
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = open_error(&folder.path().join("file/confgate.db")).await;
    assert!(error.contains("its folder cannot be made: "), "{error}");
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_refused_in_words() {
    let (store, folder) = fresh().await;
    store.close().await;
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("data/confgate.db")).read_only(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let refused = sqlx::query("DELETE FROM settings").execute(&pool).await.unwrap_err();
    assert_eq!(error::open_reason(&refused), "the file or its folder may not be written");
}

#[tokio::test]
async fn a_file_of_a_newer_confgate_is_refused_in_words() {
    let (store, folder) = fresh().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', TRUE, x'00', 0)";
    sqlx::query(newer).execute(sqlite_writer(&store)).await.unwrap();
    store.close().await;
    let error = open_error(&folder.path().join("data/confgate.db")).await;
    assert!(error.contains("made by a newer confgate (migration 9999"), "{error}");
}

#[tokio::test]
async fn requests_beyond_the_queue_are_refused_at_once_and_those_in_it_after_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::Store {
        queue: 2,
        wait: Duration::from_millis(50),
        ..settings(&folder.path().join("data/confgate.db"))
    };
    let store = Store::open(&config).await.unwrap();
    let held = store.write().await.unwrap();
    let (second, third) = tokio::join!(store.check(), store.check());
    assert!(matches!(second, Err(StoreError::Busy)), "{second:?}");
    assert!(matches!(third, Err(StoreError::Full)), "{third:?}");
    drop(held);
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_write_waits_behind_no_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/confgate.db");
    let config = config::Store { readers: 2, queue: 3, wait: Duration::from_millis(50), ..settings(&path) };
    let store = Store::open(&config).await.unwrap();
    // Each reading connection is in the middle of a read, and the last place is taken by one that waits.
    let mut reads = [store.read().await.unwrap(), store.read().await.unwrap()];
    for read in &mut reads {
        query("BEGIN").execute(read.on()).await.unwrap();
        query_scalar("SELECT COUNT(*) FROM settings").fetch_one::<i64>(read.on()).await.unwrap();
    }
    let (waits, beyond, written) = tokio::join!(store.read(), store.read(), store.set_setting("a", "b"));
    assert!(matches!(waits, Err(StoreError::Busy)), "a third reading connection");
    assert!(matches!(beyond, Err(StoreError::Full)), "a fourth place");
    written.unwrap();
    store.set_setting("a", "c").await.unwrap();
    for mut read in reads {
        query("COMMIT").execute(read.on()).await.unwrap();
    }
    assert_eq!(store.setting("a").await.unwrap().as_deref(), Some("c"));
}

#[tokio::test]
async fn another_process_that_holds_the_file_is_waited_for_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/confgate.db");
    let patient = Store::open(&settings(&path)).await.unwrap();
    let hasty = config::Store { wait: Duration::from_millis(50), ..settings(&path) };
    let hasty = Store::open(&hasty).await.unwrap();
    let held = patient.write().await.unwrap();
    assert!(matches!(hasty.check().await, Err(StoreError::Busy)));
    drop(held);
    hasty.check().await.unwrap();
}

#[tokio::test]
async fn a_write_that_is_dropped_is_undone() {
    let (store, _folder) = fresh().await;
    let mut write = store.write().await.unwrap();
    query("INSERT INTO settings (name, value) VALUES ('a', 'b')").execute(write.on()).await.unwrap();
    drop(write);
    assert_eq!(store.setting("a").await.unwrap(), None);
}

#[tokio::test]
async fn readers_cannot_write() {
    let (store, _folder) = fresh().await;
    let mut read = store.read().await.unwrap();
    assert!(query("DELETE FROM settings").execute(read.on()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_value_made_once_is_the_same_for_all() {
    let (store, folder) = fresh().await;
    let other = another(&folder).await;
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let store = if i % 2 == 0 { store.clone() } else { other.clone() };
            tokio::spawn(async move { store.get_or_create("key", || format!("value {i}")).await.unwrap() })
        })
        .collect();
    let mut values = Vec::new();
    for task in tasks {
        values.push(task.await.unwrap());
    }
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
}

#[tokio::test]
async fn documents_are_written_all_or_none() {
    let (store, _folder) = fresh().await;
    let document =
        |kind: &str, key: &str, body: Option<&str>| (kind.to_owned(), key.to_owned(), body.map(str::to_owned));
    store.write_documents(vec![document("user", "a", Some("1")), document("user", "b", Some("2"))]).await.unwrap();
    let too_long = vec![document("user", "a", None), document("user", &"x".repeat(192), Some("3"))];
    assert!(matches!(store.write_documents(too_long).await, Err(StoreError::TooLong { .. })));
    store.write_documents(vec![document("user", "b", Some("22")), document("user", "none", None)]).await.unwrap();
    let expected =
        [("user", "a", "1"), ("user", "b", "22")].map(|(k, d, b)| (k.to_owned(), d.to_owned(), b.to_owned()));
    assert_eq!(store.documents().await.unwrap(), expected);
}

#[tokio::test]
async fn however_many_documents_are_written_and_deleted_at_once_the_store_has_what_is_left() {
    let (store, _folder) = fresh().await;
    let (large, mut expected) = ("x".repeat(60_000), BTreeMap::new());
    for round in 0..3 {
        let mut changes = Vec::new();
        for n in 0..150 {
            // Some are put, some deleted, some left; at first all are put.
            let key = (["user", "conf"][n % 2].to_owned(), format!("{n:03}"));
            let body = match (round, (n + round) % 3) {
                (0, _) | (_, 0) => Some(if n < 40 { large.clone() } else { format!("{round}.{n}") }),
                (_, 1) => None,
                _ => continue,
            };
            match &body {
                Some(body) => expected.insert(key.clone(), body.clone()),
                None => expected.remove(&key),
            };
            changes.push((key.0, key.1, body));
        }
        store.write_documents(changes).await.unwrap();
        let kept = store.documents().await.unwrap().into_iter().map(|(kind, key, body)| ((kind, key), body));
        assert!(kept.eq(expected.clone()), "round {round}");
    }
}

#[tokio::test]
async fn the_end_of_a_conference_ends_all_that_was_for_it_and_nothing_else() {
    let (store, _folder) = fresh().await;
    for (n, of) in [("1", "over"), ("2", "goes-on")] {
        store.create_link(&links::tests::link(&format!("l{n}"), of)).await.unwrap();
        store.create_family(&refresh_token_families::tests::family(&format!("f{n}"), "u1", Some(of)), 1).await.unwrap();
        store.put_account(&accounts::tests::account(&format!("g{n}"), of, "l1", 1000), None, 1).await.unwrap();
        store.ban(BanTarget::Device("device"), &conf(of), None).await.unwrap();
        store.assign(&conf(of), "gw1", None, 1).await.unwrap();
    }
    assert_eq!(store.conference_over(&conf("over"), 50).await.unwrap(), ["f1"]);
    assert_eq!(store.conference_over(&conf("over"), 51).await.unwrap(), Vec::<String>::new());

    assert_eq!(store.use_link("l1", 60).await.unwrap(), LinkUse::Revoked);
    assert_eq!(store.use_link("l2", 60).await.unwrap(), LinkUse::Counted);
    assert_eq!(store.ended_since(50).await.unwrap(), [("f1".to_owned(), 50)]);
    let due: Vec<_> = store.due_accounts(60, 0, 10).await.unwrap().into_iter().map(|a| a.user_id).collect();
    assert_eq!(due, [user("g1")]);
    assert!(!store.is_banned(BanTarget::Device("device"), &conf("over"), Moment::at(60)).await.unwrap());
    assert!(store.is_banned(BanTarget::Device("device"), &conf("goes-on"), Moment::at(60)).await.unwrap());
    assert_eq!(store.allocation(&conf("over")).await.unwrap(), None);
    assert_eq!(store.allocation(&conf("goes-on")).await.unwrap().map(|at| at.gateway_id).as_deref(), Some("gw1"));
}

/// Those of these tests that hold on a server too.
const ON_BOTH: Promises = promises![
    acknowledged_writes_survive_a_crash,
    acknowledged_writes_survive_a_restart,
    a_write_that_is_dropped_is_undone,
    a_value_made_once_is_the_same_for_all,
    documents_are_written_all_or_none,
    however_many_documents_are_written_and_deleted_at_once_the_store_has_what_is_left,
    the_end_of_a_conference_ends_all_that_was_for_it_and_nothing_else,
];
