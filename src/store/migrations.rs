//! The schema's steps, in the binary. A step that was ever released is never changed: a later one corrects it.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

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
}

pub(super) fn migrator() -> Migrator {
    let step = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, (*sql).into_sql_str(), false)
    };
    Migrator::with_migrations(STEPS.iter().map(step).collect())
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
}
