//! The schema's steps, in the binary. A step that was ever released is never changed: a later one corrects it.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

macro_rules! steps {
    ($($version:literal $name:literal,)*) => {
        /// Version, name and SQL: one statement each, since MySQL cannot undo half a step.
        const STEPS: &[(i64, &str, &str)] = &[
            $(($version, $name, include_str!(concat!("migrations/", $name, ".sql"))),)*
        ];
    };
}

steps! {
    1 "0001_documents",
    2 "0002_links",
    3 "0003_links_by_conference",
    4 "0004_families",
    5 "0005_families_by_user",
    6 "0006_families_by_conference",
    7 "0007_families_by_end",
    8 "0008_families_by_expiry",
    9 "0009_accounts",
    10 "0010_accounts_by_conference",
    11 "0011_accounts_by_link",
    12 "0012_accounts_by_expiry",
    13 "0013_bars",
    14 "0014_bars_by_conference",
    15 "0015_allocations",
    16 "0016_audit",
    17 "0017_audit_by_time",
    18 "0018_audit_by_conference",
    19 "0019_nodes",
    20 "0020_settings",
    21 "0021_allocations_by_time",
    22 "0022_drains",
    23 "0023_allocations_more",
    24 "0024_accounts_idle",
    25 "0025_open_sockets",
    26 "0026_open_sockets_by_seq",
    27 "0027_counters",
    28 "0028_nodes_lease",
    29 "0029_nodes_heir",
    30 "0030_nodes_heir_fence",
    31 "0031_families_ended_by",
    32 "0032_call_gateways",
    33 "0033_write_scopes",
    34 "0034_write_scopes_all",
    35 "0035_numberings",
    36 "0036_numbered_events",
    37 "0037_nodes_link",
}

/// What a MySQL server is told of each table: texts are compared byte by byte, as SQLite does.
const MYSQL_TABLE: &str = " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

pub(super) fn of_sqlite() -> Migrator {
    migrator(|sql| sql.into_sql_str())
}

pub(super) fn of_mysql() -> Migrator {
    migrator(|sql| match Trace::of(sql) {
        Some(Trace::Table(_)) => AssertSqlSafe(format!("{}{MYSQL_TABLE}", sql.trim_end())).into_sql_str(),
        _ => sql.into_sql_str(),
    })
}

fn migrator(dialect: impl Fn(&'static str) -> SqlStr) -> Migrator {
    let step = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, dialect(sql), false)
    };
    Migrator::with_migrations(STEPS.iter().map(step).collect())
}

/// What a step leaves in the schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trace<'a> {
    Table(&'a str),
    Index { table: &'a str, index: &'a str },
    Column { table: &'a str, column: &'a str },
}

impl<'a> Trace<'a> {
    /// `None` where the statement changes rows only: such a one is undone when it is interrupted.
    pub fn of(sql: &'a str) -> Option<Self> {
        let words: Vec<&str> = sql.split_whitespace().take(6).collect();
        match *words.as_slice() {
            ["CREATE", "TABLE", table, ..] => Some(Self::Table(table)),
            ["CREATE", "INDEX", index, "ON", table, ..] | ["CREATE", "UNIQUE", "INDEX", index, "ON", table] => {
                Some(Self::Index { table, index })
            }
            ["ALTER", "TABLE", table, "ADD", "COLUMN", column] => Some(Self::Column { table, column }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_step_and_holds_one_statement() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/migrations");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".sql", ""))
            .collect();
        files.sort();
        assert_eq!(files, STEPS.iter().map(|(_, name, _)| name.to_string()).collect::<Vec<_>>());
        for (version, name, sql) in STEPS {
            assert!(name.starts_with(&format!("{version:04}_")), "{name}");
            assert!(!sql.contains(';'), "{name}");
        }
    }

    #[test]
    fn every_step_leaves_a_trace_or_changes_rows_only() {
        for (_, name, sql) in STEPS {
            assert!(Trace::of(sql).is_some() || sql.starts_with("REPLACE INTO "), "{name}");
        }
        let trace = |version: i64| STEPS.iter().find(|step| step.0 == version).and_then(|step| Trace::of(step.2));
        assert_eq!(trace(2), Some(Trace::Table("links")));
        assert_eq!(trace(3), Some(Trace::Index { table: "links", index: "links_by_conference" }));
        assert_eq!(trace(24), Some(Trace::Column { table: "accounts", column: "idle_until" }));
    }
}
