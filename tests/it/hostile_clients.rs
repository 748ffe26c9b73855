//! Hundreds of hostile connections of one address block, at each target in turn, beside a conference whose members
//! behave: they notice nothing, and the process takes no more memory than the documentation says.

mod attack;
pub mod members;

use std::time::Duration;

use confgate::app::memory::block_bytes;
use confgate::config::Limits;
use serde_json::json;

use crate::fixture::Fixture;
use crate::support::livez::Livez;
use crate::support::memory::resident;
use crate::support::steal;
use attack::{Attack, ENTRANCES};
use members::Members;

const MEMBERS: usize = 50;
const CONNECTIONS: usize = 500;
/// Differences that are this machine's, which tests share.
const NOISE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn five_hundred_hostile_connections_at_each_entrance_harm_nobody() {
    let for_each = Duration::from_secs(if crate::support::long() { 17 } else { 2 });
    let limits = format!(
        "[limits]\njoins_per_minute = 100000\nguests_per_link = 2000\nconference_members = 1000\n\
         connections_per_block = {CONNECTIONS}\nconnects_per_minute = 1000000\nsockets_per_block = {CONNECTIONS}\n\
         socket_pings_per_minute = 10000000"
    );
    let fixture = Fixture::quiet(&limits).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let mut members = Members::enter(&fixture, chair, &conf, &code, MEMBERS).await;
    let quiet = members.slowest_of_a_hundred(for_each).await;
    let before = resident(fixture.gateway.pid());
    let bound = block_bytes(&Limits {
        connections_per_block: CONNECTIONS,
        sockets_per_block: CONNECTIONS,
        ..Limits::default()
    });
    for entrance in ENTRANCES {
        let attack = Attack::begin(&fixture, entrance, CONNECTIONS).await;
        let (mut attacked, since) = (Duration::ZERO, steal::Since::now());
        let measuring = async { attacked = members.slowest_of_a_hundred(for_each).await };
        let livez = Livez::watch(fixture.gateway.admin(), measuring).await;
        let taken = resident(fixture.gateway.pid()).saturating_sub(before);
        println!(
            "{entrance:?}: {} of {CONNECTIONS} connected, {} MiB taken, IQ {attacked:?} (quiet {quiet:?}), livez {:?}, \
             {:.1} % of the machine taken by others",
            attack.standing(),
            taken / 1024 / 1024,
            livez.typical(),
            since.stolen()
        );
        assert!(taken <= bound, "{entrance:?}: {taken} bytes, at most {bound}");
        assert!(livez.typical() <= Duration::from_millis(100), "{entrance:?}: {livez:?}");
        assert!(attacked <= quiet * 3 + NOISE, "{entrance:?}: {attacked:?}, quiet {quiet:?}");
        attack.end();
    }
    members.have_heard_everything().await;
}
