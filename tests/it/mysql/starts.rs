//! The schema at a server: many nodes at once, steps that were interrupted, databases that aren't ours.

use std::fs;
use std::path::Path;

use futures_util::future::join_all;

use super::{NO_EIM, bare, keeps_the_password, store};
use crate::support::mariadb::MariaDb;
use crate::xmpp::check;

const NODES: usize = 6;

#[tokio::test]
async fn nodes_that_start_at_one_moment_on_an_empty_database_all_come_up() {
    let database = MariaDb::start().await;
    let store = store(&database.url());
    let nodes = join_all((0..NODES).map(|each| bare(&format!("n{each}"), &store).start())).await;
    assert_eq!(nodes.len(), NODES);
    assert_eq!(database.number("SELECT COUNT(*) FROM _sqlx_migrations WHERE success <> 1").await, 0);
    assert_eq!(database.number("SELECT COUNT(*) FROM _sqlx_migrations").await, steps().len() as i64);
    assert_eq!(database.number("SELECT COUNT(*) FROM nodes").await, NODES as i64);
}

/// A step of the schema: its version, and what undoes it.
struct Step {
    version: i64,
    undo: String,
}

fn steps() -> Vec<Step> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations");
    let mut files: Vec<_> = fs::read_dir(folder).expect("the folder is there").flatten().map(|e| e.path()).collect();
    files.sort();
    let step = |path: &std::path::PathBuf| {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let sql = fs::read_to_string(path).expect("a step can be read");
        let words: Vec<&str> = sql.split_whitespace().take(6).collect();
        let undo = match *words.as_slice() {
            ["CREATE", "TABLE", table, ..] => format!("DROP TABLE {table}"),
            ["CREATE", "INDEX", index, "ON", table, ..] => format!("DROP INDEX {index} ON {table}"),
            ["CREATE", "UNIQUE", "INDEX", index, "ON", table] => format!("DROP INDEX {index} ON {table}"),
            ["ALTER", "TABLE", table, "ADD", "COLUMN", column] => {
                // An instant drop leaves the column in each row, so that there is no room for so many.
                format!("ALTER TABLE {table} DROP COLUMN {column}, ALGORITHM = COPY")
            }
            ["REPLACE", "INTO", table, ..] => format!("DELETE FROM {table}"),
            _ => panic!("nobody knows how to undo {name}: {sql}"),
        };
        Step { version: name[..4].parse().expect("a step's file begins with its version"), undo }
    };
    files.iter().map(step).collect()
}

/// The database as it is where that step was interrupted, done or not.
async fn interrupt(database: &MariaDb, steps: &[Step], at: &Step, is_done: bool) {
    let later = steps.iter().rev().filter(|step| step.version > at.version || (step.version == at.version && !is_done));
    let mut undo: String = later.map(|step| format!("{};\n", step.undo)).collect();
    undo += &format!("DELETE FROM _sqlx_migrations WHERE version > {};\n", at.version);
    undo += &format!("UPDATE _sqlx_migrations SET success = 0 WHERE version = {};\n", at.version);
    database.sql(&undo).await;
}

async fn schema(database: &MariaDb) -> String {
    let columns = "SELECT table_name, column_name, column_type, is_nullable, collation_name FROM \
                   information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1, 2;";
    let indexes = "SELECT table_name, index_name, seq_in_index, column_name FROM information_schema.statistics WHERE \
                   table_schema = DATABASE() ORDER BY 1, 2, 3;";
    let noted = "SELECT version, success FROM _sqlx_migrations ORDER BY 1; SELECT COUNT(*) FROM write_scopes";
    database.sql(&format!("{columns}{indexes}{noted}")).await
}

#[tokio::test]
async fn a_step_that_was_interrupted_is_finished_by_the_next_start_wherever_it_was() {
    let database = MariaDb::start().await;
    let config = format!("{NO_EIM}{}", store(&database.url()));
    let migrate = async || {
        let (_, output) = check(&config).await;
        assert!(output.contains("ok     database: open, migrated"), "{output}");
    };
    migrate().await;
    let (whole, steps) = (schema(&database).await, steps());
    for (number, step) in steps.iter().enumerate() {
        // There are few columns, and many of the others.
        let both = step.undo.contains("COLUMN");
        for is_done in [true, false].into_iter().filter(|is_done| both || *is_done == (number % 2 == 0)) {
            interrupt(&database, &steps, step, is_done).await;
            migrate().await;
            assert_eq!(schema(&database).await, whole, "step {}, done: {is_done}", step.version);
        }
    }
}

async fn refused(database: &MariaDb, words: &str) {
    let store = store(&database.url());
    let (code, output) = check(&format!("{NO_EIM}{store}")).await;
    let line = output.lines().find(|line| line.starts_with("FAILED database: "));
    assert!(code == Some(1) && line.is_some_and(|line| line.contains(words)), "{code:?} {output}");
    let (status, logs) = bare("n1", &store).fail().await;
    assert!(status.code() == Some(1) && logs.contains(words), "{status} {logs}");
    keeps_the_password(&format!("{output}{logs}"));
}

#[tokio::test]
async fn a_database_that_is_not_confgates_is_refused_in_words_and_left_alone() {
    let database = MariaDb::start().await;
    database.sql("CREATE TABLE posts (id INT PRIMARY KEY); INSERT INTO posts VALUES (1)").await;
    let before = database.dump().await;
    refused(&database, "it has tables that are not confgate's").await;
    let tables = |dump: &str| dump.lines().filter(|line| !line.starts_with("--")).collect::<String>();
    assert_eq!(tables(&database.dump().await), tables(&before));
}

#[tokio::test]
async fn a_database_of_a_newer_confgate_is_refused_in_words() {
    let database = MariaDb::start().await;
    drop(bare("n1", &store(&database.url())).start().await);
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES \
                 (9999, 'newer', 1, '', 0)";
    database.sql(newer).await;
    refused(&database, "made by a newer confgate (migration 9999 is unknown here)").await;
}
