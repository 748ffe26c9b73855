//! The private MariaDB keeps what it acknowledged.

use crate::support::mariadb::MariaDb;

#[tokio::test]
async fn what_the_database_acknowledged_is_there_after_a_crash_and_gone_after_yesterdays_dump() {
    let mut server = MariaDb::start().await;
    server.sql("CREATE TABLE t (n INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let yesterday = server.dump().await;
    server.sql("INSERT INTO t VALUES (2)").await;
    server.cut();
    server.restart().await;
    assert_eq!(server.sql("SELECT n FROM t ORDER BY n").await, "1\n2\n");
    server.restore(&yesterday).await;
    assert_eq!(server.number("SELECT SUM(n) FROM t").await, 1);
}
