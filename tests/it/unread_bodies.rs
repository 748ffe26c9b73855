//! Bodies that nobody wants: answered early, whatever the route, and the connection goes on. curl checks it.

use std::process::Command;

use serde_json::json;

use crate::fixture::Fixture;
use crate::support::client::BASE;

/// Requests on one connection.
const REQUESTS: usize = 300;

/// Curl's report on each: status and connections made for it.
fn curl(version: &str, ca: &str, arguments: &[&str], url: &str) -> Vec<(u16, u32)> {
    let url = format!("{url}?n=[1-{REQUESTS}]");
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", version, "--cacert", ca, "--output", "/dev/null"]);
    command.args(["--write-out", "%{stderr}%{http_code} %{num_connects}\n"]).args(arguments).arg(&url);
    let output = command.output().expect("curl runs");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{version} {arguments:?} {url}: {:?}\n{said}", output.status);
    let line = |line: &str| {
        let (code, connects) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        (code.parse().unwrap(), connects.parse().unwrap())
    };
    said.lines().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_body_costs_no_connection_on_any_route() {
    let fixture = Fixture::with("[limits]\nguesses_per_minute = 50\n").await;
    let chair = fixture.chair().await;
    let (_, code) = fixture.conference(&chair, json!({})).await;
    let http = format!("https://{}", fixture.gateway.http());
    let admin = format!("http://{}", fixture.gateway.admin());
    let ca = fixture.gateway.certificate().display().to_string();
    let large = fixture.gateway.directory().join("large");
    std::fs::write(&large, vec![b'x'; 300 * 1024]).unwrap();
    let large = format!("@{}", large.display());
    let page = format!("{http}{BASE}/conference/{code}");
    let routes: &[(&[&str], &str, &[u16])] = &[
        (&["-d", "{}"], &page, &[200]),
        (&["-d", "{}"], &format!("{http}{BASE}/conference/nobody-knows"), &[200, 429]),
        (&["-d", "{}"], &format!("{http}{BASE}/nowhere"), &[404]),
        (&["-d", "{}"], &format!("{http}{BASE}/docs"), &[405]),
        (&["-d", "{}"], &format!("{http}{BASE}/websck"), &[401]),
        (&["-d", "{}", "-H", "Origin: https://elsewhere.example"], &page, &[403]),
        (
            &["-d", "v=0", "-H", "Content-Type: application/sdp"],
            &format!("{http}{BASE}/callgw/whip/c1/u1"),
            &[401, 404],
        ),
    ];
    for version in ["--http1.1", "--http2"] {
        for (arguments, url, allowed) in routes {
            let answers = curl(version, &ca, arguments, url);
            assert_eq!(answers.len(), REQUESTS);
            assert!(answers.iter().all(|(code, _)| allowed.contains(code)), "{version} {url}: {answers:?}");
            assert_eq!(answers.iter().map(|(_, made)| made).sum::<u32>(), 1, "{version} {url}: one connection");
        }
        // Beyond the limit, and still a whole answer.
        let answers = curl(version, &ca, &["--data-binary", &large, "-H", "Expect:"], &format!("{http}{BASE}/jsonrpc"));
        assert!(answers.iter().all(|(code, _)| *code == 413), "{version}: {answers:?}");
    }
    for (url, code) in [("/livez", 405), ("/nowhere", 404), ("/rest-api/pull/find_all", 404)] {
        let answers = curl("--http1.1", &ca, &["-d", "{}"], &format!("{admin}{url}"));
        assert!(answers.iter().all(|(seen, _)| *seen == code), "{url}: {answers:?}");
        assert_eq!(answers.iter().map(|(_, made)| made).sum::<u32>(), 1, "{url}: one connection");
    }
}
