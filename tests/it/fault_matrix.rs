//! Every part is broken in every way while guests join, talk, raise hands, leave and come back; nothing is lost.
//!
//! The table that this prints is kept in docs/operation.md. `CONFGATE_TEST_CELLS='Broker Kill;Link("gw1-db") Slow'` has
//! these cells run only.

mod guest;
mod ledger;
mod topology;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use self::guest::{Guest, Phase};
use self::ledger::Ledger;
use self::topology::{Kept, LONG, Topology};
use crate::end_to_end::whole_story;
use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::wait::{PATIENCE, until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Broker,
    Database,
    Server,
    Eim,
    Gateway,
    Media,
    Link(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// kill -9, started again after the pause.
    Kill,
    /// SIGSTOP for the pause.
    Stop,
    /// The link is cut for the pause.
    Cut,
    /// It carries a kilobyte a second for the pause.
    Slow,
    /// kill -9, started again after the pause without what it stored. Not for the database: what is in it is all that was
    /// acknowledged.
    Empty,
}

/// How much of it all.
struct Load {
    gateways: usize,
    conferences: usize,
    guests: u64,
    per_second: u64,
    pause: Duration,
    kept: Kept,
    cells: &'static [(Part, Fault)],
}

const TELLING: Load = Load {
    gateways: 2,
    conferences: 1,
    guests: 40,
    per_second: 15,
    pause: Duration::from_secs(5),
    kept: LONG,
    cells: &[
        (Part::Broker, Fault::Kill),
        (Part::Broker, Fault::Stop),
        (Part::Database, Fault::Kill),
        (Part::Database, Fault::Stop),
        (Part::Server, Fault::Kill),
        (Part::Eim, Fault::Kill),
        (Part::Gateway, Fault::Kill),
        (Part::Link("gw1-xmpp"), Fault::Cut),
    ],
};

const ALL: Load = Load {
    gateways: 3,
    conferences: 1,
    guests: 200,
    per_second: 50,
    pause: Duration::from_secs(60),
    kept: LONG,
    cells: &[
        (Part::Broker, Fault::Kill),
        (Part::Broker, Fault::Stop),
        (Part::Database, Fault::Kill),
        (Part::Database, Fault::Stop),
        (Part::Broker, Fault::Empty),
        (Part::Server, Fault::Kill),
        (Part::Server, Fault::Stop),
        (Part::Server, Fault::Empty),
        (Part::Eim, Fault::Kill),
        (Part::Eim, Fault::Stop),
        (Part::Gateway, Fault::Kill),
        (Part::Gateway, Fault::Stop),
        (Part::Gateway, Fault::Empty),
        (Part::Media, Fault::Kill),
        (Part::Media, Fault::Stop),
        (Part::Link("gw1-xmpp"), Fault::Cut),
        (Part::Link("gw1-xmpp"), Fault::Slow),
        (Part::Link("gw1-broker"), Fault::Cut),
        (Part::Link("gw1-broker"), Fault::Slow),
        (Part::Link("gw1-db"), Fault::Cut),
        (Part::Link("gw1-db"), Fault::Slow),
        (Part::Link("gw1-m1"), Fault::Cut),
        (Part::Link("gw1-m1"), Fault::Slow),
        (Part::Link("eim-xmpp"), Fault::Cut),
        (Part::Link("eim-xmpp"), Fault::Slow),
        (Part::Link("eim-broker"), Fault::Cut),
        (Part::Link("eim-broker"), Fault::Slow),
        (Part::Link("eim-db"), Fault::Cut),
        (Part::Link("eim-db"), Fault::Slow),
    ],
};

/// The chat is read back so often: guests who get snapshots see the newest messages only, and the EIM keeps a thousand.
const READ_BACK: Duration = Duration::from_secs(20);
/// Messages that are read at a time.
const PAGE: usize = 200;
/// Whole again after the part is back.
const WHOLE: Duration = Duration::from_secs(10);
/// Guests of a node that was killed are back at another.
const BACK: Duration = Duration::from_secs(5);
/// After that a dead node is known to be gone.
const LEASE: Duration = Duration::from_secs(4);
/// A gateway's memory over that of its start with all guests, which is a bound for a flood of what waits.
const MEMORY_MAX: usize = 400 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_whichever_part_breaks() {
    matrix(if std::env::var_os("CONFGATE_TEST_LONG").is_some() { &ALL } else { &TELLING }).await;
}

/// Of guests who were out when the EIM went away their accounts end when it is back, while they ask to be let in.
const SHORT_STAY: Load = Load {
    guests: 100,
    per_second: 50,
    pause: Duration::from_secs(12),
    kept: Kept { grace_ms: 2000, resume_window_ms: 4000, guest_idle_ms: 3000 },
    cells: &[(Part::Server, Fault::Empty), (Part::Server, Fault::Kill)],
    ..TELLING
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_whose_accounts_end_when_the_eim_is_back_leave_nobody_behind() {
    matrix(&SHORT_STAY).await;
}

async fn matrix(load: &Load) {
    let mut stage = Stage::set(load).await;
    let mut table = String::from(
        "| part | fault | lost | repeated | acknowledged lost | ghosts | sockets dropped | back after | whole after | \
         snapshots | operations | refusals | MiB |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut wrong = Vec::new();
    let wanted = std::env::var("CONFGATE_TEST_CELLS").ok();
    let is_wanted = |part: &Part, fault: &Fault| {
        wanted.as_ref().is_none_or(|names| names.split(';').any(|name| name == format!("{part:?} {fault:?}")))
    };
    for (part, fault) in load.cells.iter().filter(|(part, fault)| is_wanted(part, fault)) {
        let row = stage.cell(*part, *fault, load).await;
        writeln!(table, "{}", row.shown(*part, *fault)).expect("a text takes any text");
        println!("{}", row.shown(*part, *fault));
        wrong.extend(row.wrong(*part, *fault));
    }
    println!("{table}");
    stage.end().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Of two gateways for so long, without a fault.
const SOAK: Load = Load {
    gateways: 2,
    conferences: 10,
    guests: 200,
    per_second: 50,
    pause: Duration::from_secs(1200),
    kept: LONG,
    cells: &[],
};
/// Of a run, until what is reused has been allocated.
const WARM_UP: f64 = 0.25;
/// What a process may have more in its last quarter than in its second one, beside a tenth of it.
const SLACK: Figures = Figures { mib: 8.0, handles: 40.0, tasks: 40.0 };

/// What a gateway holds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    mib: f64,
    handles: f64,
    tasks: f64,
}

impl Figures {
    async fn of(gateway: &Gateway) -> Self {
        let handles = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("it runs").count() as f64;
        let tasks = gateway.metric("confgate_tasks").await.expect("it is measured");
        Self { mib: (memory_of(gateway.pid()) >> 20) as f64, handles, tasks }
    }

    fn median(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            let mut values: Vec<f64> = all.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self { mib: of(|it| it.mib), handles: of(|it| it.handles), tasks: of(|it| it.tasks) }
    }

    /// Whether nothing has grown beyond the slack.
    fn is_flat_after(&self, before: &Self) -> bool {
        let is_flat = |now: f64, before: f64, slack: f64| now <= 1.1 * before + slack;
        is_flat(self.mib, before.mib, SLACK.mib)
            && is_flat(self.handles, before.handles, SLACK.handles)
            && is_flat(self.tasks, before.tasks, SLACK.tasks)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_handles_and_tasks_of_gateways_stay_flat_under_load() {
    let is_long = std::env::var_os("CONFGATE_TEST_LONG").is_some();
    let load = if is_long { SOAK } else { Load { guests: 40, pause: Duration::from_secs(40), ..SOAK } };
    let stage = Stage::set(&load).await;
    stage.phase.send_replace(Phase::Busy { pause_ms: 1000 * load.guests / load.per_second });
    let (begun, mut samples) = (Instant::now(), vec![Vec::new(); load.gateways]);
    while begun.elapsed() < load.pause {
        sleep(load.pause / 120).await;
        for (gateway, samples) in stage.topology.gateways.iter().zip(&mut samples) {
            samples.push(Figures::of(gateway).await);
        }
    }
    let operations = stage.ledger.write().acknowledged;
    stage.phase.send_replace(Phase::Quiet);
    stage.all_in(PATIENCE).await;
    for samples in samples {
        let at = |share: f64| (samples.len() as f64 * share) as usize;
        let before = Figures::median(&samples[at(WARM_UP)..at(2.0 * WARM_UP)]);
        let after = Figures::median(&samples[at(1.0 - WARM_UP)..]);
        println!("{operations} operations in {:?}: {before:?}, then {after:?}", load.pause);
        assert!(after.is_flat_after(&before), "{before:?} became {after:?}");
    }
    let counts = stage.ledger.reset();
    assert_eq!((counts.lost, counts.repeated, counts.dropped), (0, 0, 0), "{counts:?}");
    stage.end().await;
}

/// Guests that enter at the same time.
const AT_THE_DOOR: usize = 40;

/// Both nodes of two are restarted one after the other while everybody is in.
const ROLLING: Load =
    Load { gateways: 2, conferences: 4, guests: 80, per_second: 10, pause: Duration::ZERO, kept: LONG, cells: &[] };
const ROLLING_MANY: Load = Load { conferences: 40, guests: 2000, ..ROLLING };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_nodes_that_stop_or_die_move_without_a_gap() {
    let load = if std::env::var_os("CONFGATE_TEST_LONG").is_some() { ROLLING_MANY } else { ROLLING };
    let patience = PATIENCE * (1 + load.guests as u32 / 1000);
    let mut stage = Stage::set(&load).await;
    for at in 0..load.gateways {
        stage.ledger.reset();
        let begun = Instant::now();
        let stopped = stage.topology.gateways[at].stop(PATIENCE).await;
        assert!(stopped.is_some_and(|status| status.success()), "{stopped:?}");
        stage.all_in(patience).await;
        let counts = stage.ledger.reset();
        println!("node {at}: {} sockets moved in {:?}: {counts:?}", counts.dropped, begun.elapsed());
        assert!(counts.dropped > 0);
        // The second time at a node that has just started: the EIM has the events from before.
        assert_eq!((counts.lost, counts.repeated, counts.snapshots), (0, 0, BTreeMap::new()), "node {at}");
        stage.topology.gateways[at].restart().await;
    }
    // All are at this one now.
    stage.topology.gateways[0].kill();
    let begun = Instant::now();
    // What a debug build takes for two thousand says nothing of the product.
    let is_slow = cfg!(debug_assertions) && load.guests > 200;
    stage.all_in(LEASE + if is_slow { 3 * BACK } else { BACK }).await;
    let counts = stage.ledger.reset();
    println!("killed: {} sockets moved in {:?}: {counts:?}", counts.dropped, begun.elapsed());
    assert!(counts.dropped > 0);
    assert_eq!((counts.lost, counts.repeated), (0, 0));
    stage.topology.gateways[0].restart().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ejabberd_a_guest_walks_in_on_three_gateway_nodes_and_two_media_nodes() {
    let mut topology = Topology::start(3, LONG).await;
    whole_story(Fixture::on(topology.gateways.remove(0))).await;
}

/// Whether the part is a gateway node, or a link of one: that of the node at which most guests are.
fn is_of_gateway(part: Part) -> bool {
    part == Part::Gateway || matches!(part, Part::Link(name) if name.starts_with("gw1-"))
}

/// The link of that gateway in the place of the first one's.
fn at_gateway(link: &str, at: usize) -> String {
    link.replace("gw1-", &format!("gw{}-", at + 1))
}

/// The running parts, and the guests.
struct Stage {
    topology: Topology,
    guests: Vec<Guest>,
    phase: watch::Sender<Phase>,
    ledger: Ledger,
    chair: Value,
    /// Their ids; the guests are in them by turns.
    confs: Vec<String>,
    /// Texts that could be read back.
    read_back: BTreeSet<String>,
    /// The gateway that is killed or stopped now, or whose link is broken.
    broken: Option<usize>,
}

/// What one cell measured.
struct Row {
    counts: ledger::Counts,
    acknowledged_lost: Vec<String>,
    ghosts: Vec<String>,
    /// When all whose sockets were dropped had another one, counted from the fault.
    back: Option<Duration>,
    /// When all was whole, counted from the part's return.
    whole: Option<Duration>,
    memory: usize,
}

impl Stage {
    async fn set(load: &Load) -> Self {
        let topology = Topology::start(load.gateways, load.kept).await;
        let login =
            json!({"grantType": "client_credentials", "clientId": "chair", "clientSecret": "the chair's secret"});
        let chair = topology.gateways[0].client().try_login(login.clone()).await.expect("the chair may log in");
        let (mut confs, mut codes) = (Vec::new(), Vec::new());
        for _ in 0..load.conferences {
            let made = chair.rpc("conference.create", json!({ "name": "Matrix" })).await.result();
            confs.push(made["confId"].as_str().expect("an id").to_owned());
            codes.push(made["link"]["code"].as_str().expect("a code").to_owned());
        }
        let (phase, now) = watch::channel(Phase::Quiet);
        let (ledger, homes, door) = (Ledger::default(), topology.homes(), Arc::new(Semaphore::new(AT_THE_DOOR)));
        // Each conference has guests at each node.
        let enter = |n: u64| {
            let (turn, conf) = (n as usize / codes.len(), n as usize % codes.len());
            Guest::enter(n, &codes[conf], &homes, turn, now.clone(), &ledger, &door)
        };
        let guests = (0..load.guests).map(enter).collect();
        let stage =
            Self { topology, guests, phase, ledger, chair: login, confs, read_back: BTreeSet::new(), broken: None };
        stage.all_in(PATIENCE * (1 + load.guests as u32 / 100)).await;
        stage
    }

    async fn cell(&mut self, part: Part, fault: Fault, load: &Load) -> Row {
        self.phase.send_replace(Phase::Busy { pause_ms: 1000 * load.guests / load.per_second });
        self.ledger.reset();
        let busy = self.acknowledged(load.per_second).await;
        assert!(busy, "guests don't operate before the fault");
        self.inflict(part, fault);
        let (memory, back) = self.hold(load.pause).await;
        self.restore(part, fault).await;
        let begun = Instant::now();
        let before = self.ledger.write().acknowledged;
        let is_whole = until(6 * WHOLE, async || {
            let goes_on = self.ledger.write().acknowledged > before;
            let connected = self.guests.iter().all(|guest| guest.view().is_connected);
            (goes_on && connected && self.topology.is_whole().await).then_some(())
        });
        let whole = is_whole.await.map(|()| begun.elapsed());
        self.phase.send_replace(Phase::Quiet);
        let agreed = until(2 * PATIENCE, async || self.has_all().await.then_some(())).await;
        self.read_back().await;
        let (acknowledged_lost, ghosts) = self.compare().await;
        self.told_of(&ghosts);
        let mut counts = self.ledger.reset();
        if agreed.is_none() {
            let missing = self.missing().await;
            println!("{missing:#?}");
            let users = self.guests.iter().filter_map(Guest::user);
            self.told_of(&users.filter(|user| missing.iter().any(|what| what.contains(user))).collect::<Vec<_>>());
            for guest in &self.guests {
                let user = guest.user().unwrap_or_default();
                if missing.iter().any(|what| what.contains(&user)) {
                    let view = guest.view();
                    println!("{user} at {}, the newest first: {:#?}", view.at, view.history);
                }
            }
            counts.errors.insert("views differ from the EIM's roster".to_owned(), 1);
        }
        Row { counts, acknowledged_lost, ghosts, back, whole: whole.filter(|_| agreed.is_some()), memory }
    }

    async fn acknowledged(&self, at_least: u64) -> bool {
        let enough = async || (self.ledger.write().acknowledged >= at_least).then_some(());
        until(PATIENCE, enough).await.is_some()
    }

    /// The gateway that most guests are at.
    fn busiest(&self) -> usize {
        let mut guests = vec![0; self.topology.gateways.len()];
        self.guests.iter().for_each(|guest| guests[guest.view().at] += 1);
        (0..guests.len()).max_by_key(|at| guests[*at]).unwrap_or_default()
    }

    fn inflict(&mut self, part: Part, fault: Fault) {
        let at = self.busiest();
        self.broken = is_of_gateway(part).then_some(at);
        let topology = &mut self.topology;
        match (part, fault) {
            (Part::Link(name), Fault::Slow) => topology.link(&at_gateway(name, at)).slow(),
            (Part::Link(name), _) => topology.link(&at_gateway(name, at)).cut(),
            (Part::Broker, Fault::Stop) => topology.broker.pause(),
            (Part::Broker, _) => topology.broker.cut(),
            (Part::Database, Fault::Stop) => topology.database.pause(),
            (Part::Database, _) => topology.database.cut(),
            (Part::Server, Fault::Stop) => topology.server.signal(Signal::STOP),
            (Part::Server, _) => topology.server.cut(),
            (Part::Eim, Fault::Stop) => topology.eim.process.signal(Signal::STOP),
            (Part::Eim, _) => topology.eim.kill(),
            (Part::Gateway, Fault::Stop) => topology.gateways[at].signal(Signal::STOP),
            (Part::Gateway, _) => topology.gateways[at].kill(),
            (Part::Media, Fault::Stop) => topology.media[0].signal(Signal::STOP),
            (Part::Media, _) => topology.media[0].kill(),
        }
    }

    /// Waits; returns the most memory that a gateway had meanwhile, and when all guests were connected again.
    async fn hold(&mut self, pause: Duration) -> (usize, Option<Duration>) {
        let (begun, mut most, mut back) = (Instant::now(), 0, None);
        let mut read_at = begun;
        while begun.elapsed() < pause {
            if read_at.elapsed() > READ_BACK {
                self.read_back().await;
                read_at = Instant::now();
            }
            let dropped = self.ledger.write().dropped > 0;
            if back.is_none() && dropped && self.guests.iter().all(|guest| guest.view().is_connected) {
                back = Some(begun.elapsed());
            }
            for gateway in &self.topology.gateways {
                most = most.max(memory_of(gateway.pid()));
            }
            sleep(Duration::from_millis(100)).await;
        }
        (most, back)
    }

    async fn restore(&mut self, part: Part, fault: Fault) {
        let at = self.broken.take().unwrap_or_default();
        let topology = &mut self.topology;
        match (part, fault) {
            (Part::Link(name), _) => topology.link(&at_gateway(name, at)).restore(),
            (Part::Broker, Fault::Stop) => topology.broker.resume(),
            (Part::Broker, Fault::Empty) => topology.broker.restart_empty().await,
            (Part::Broker, _) => topology.broker.restart().await,
            (Part::Database, Fault::Stop) => topology.database.resume(),
            (Part::Database, _) => topology.database.restart().await,
            (Part::Server, Fault::Stop) => topology.server.signal(Signal::CONT),
            (Part::Server, Fault::Empty) => topology.server.restart_empty().await,
            (Part::Server, _) => topology.server.restart().await,
            (Part::Eim, Fault::Stop) => topology.eim.process.signal(Signal::CONT),
            (Part::Eim, _) => topology.eim.restart().await,
            (Part::Gateway, Fault::Stop) => topology.gateways[at].signal(Signal::CONT),
            (Part::Gateway, Fault::Empty) => topology.gateways[at].restart_empty().await,
            (Part::Gateway, _) => topology.gateways[at].restart().await,
            (Part::Media, Fault::Stop) => topology.media[0].signal(Signal::CONT),
            (Part::Media, _) => topology.media[0].restart().await,
        }
    }

    /// The EIM's roster of each conference, or `None` where it can't be asked.
    async fn members(&self) -> Option<Vec<BTreeMap<String, Value>>> {
        let (chair, mut all) = (self.client().await?, Vec::new());
        for conf in &self.confs {
            let answer = chair.rpc("conference.members", json!({ "confId": conf })).await;
            let members = answer.0.get("result")?["members"].as_array()?.clone();
            let user = |member: &Value| member["userId"].as_str().unwrap_or_default().to_owned();
            all.push(members.into_iter().map(|member| (user(&member), member)).collect());
        }
        Some(all)
    }

    /// The chair at a gateway that listens.
    async fn client(&self) -> Option<Client> {
        for (at, gateway) in self.topology.gateways.iter().enumerate() {
            if self.broken != Some(at) && TcpStream::connect(gateway.http()).await.is_ok() {
                return gateway.client().try_login(self.chair.clone()).await.ok();
            }
        }
        None
    }

    /// Whether every guest is in, connected, and has the roster that the EIM has.
    async fn has_all(&self) -> bool {
        self.missing().await.is_empty()
    }

    /// What is not so yet.
    async fn missing(&self) -> Vec<String> {
        let Some(all) = self.members().await else { return vec!["the EIM can't be asked".to_owned()] };
        let (mut last, mut missing) = (vec![None; all.len()], Vec::new());
        for (n, guest) in self.guests.iter().enumerate() {
            let (members, last) = (&all[n % all.len()], &mut last[n % all.len()]);
            let view = guest.view();
            let user = guest.user().unwrap_or_default();
            let same: BTreeMap<String, Value> = view.members().into_iter().collect();
            let seq = view.roster.as_ref().map(|roster| (roster.epoch.clone(), roster.seq));
            let state = members.get(&user).map_or("absent", |member| member["state"].as_str().unwrap_or_default());
            let what = match () {
                () if !view.is_connected => "is not connected".to_owned(),
                () if state != "joined" => format!("is {state} for the EIM"),
                () if last.get_or_insert_with(|| seq.clone()) != &seq => format!("is at {seq:?}, others at {last:?}"),
                () if &same != members => "has another roster than the EIM".to_owned(),
                () => continue,
            };
            missing.push(format!("guest {n}, {user}, {what}"));
        }
        missing
    }

    /// Fails the test where not everything is whole within so long.
    async fn all_in(&self, within: Duration) {
        if until(within, async || self.has_all().await.then_some(())).await.is_none() {
            let errors = self.ledger.reset().errors;
            panic!("not within {within:?}: {errors:?} {:#?}", self.missing().await);
        }
    }

    /// Acknowledged things that are not so, and members that no guest is.
    async fn compare(&self) -> (Vec<String>, Vec<String>) {
        let all = self.members().await.unwrap_or_default();
        let members: BTreeMap<String, Value> = all.into_iter().flatten().collect();
        let users: BTreeSet<String> = self.guests.iter().filter_map(Guest::user).chain(["chair".to_owned()]).collect();
        let ghosts = members.keys().filter(|user| !users.contains(*user)).cloned().collect();
        let mut lost = Vec::new();
        for guest in &self.guests {
            let (user, hand) = (guest.user().unwrap_or_default(), guest.view().hand);
            if hand.is_some_and(|hand| members.get(&user).is_some_and(|member| member["hand"] != hand)) {
                lost.push(format!("the hand of {user}"));
            }
        }
        let mut seen = self.read_back.clone();
        self.guests.iter().for_each(|guest| seen.extend(guest.view().seen.iter().cloned()));
        let sent = self.ledger.write().messages.clone();
        lost.extend(sent.difference(&seen).map(|text| format!("message {text}")));
        (lost, ghosts)
    }

    /// Prints what the parts wrote of these users.
    fn told_of(&self, users: &[String]) {
        let parts =
            self.topology.gateways.iter().map(|gateway| gateway.lines()).chain([self.topology.eim.process.lines()]);
        for (at, lines) in parts.enumerate() {
            for user in users {
                lines
                    .iter()
                    .filter(|line| line.text.contains(user))
                    .for_each(|line| println!("part {at}: {}", line.text));
            }
        }
    }

    /// The chat from its end back to a message that was read before. Where the EIM can't be asked, nothing.
    async fn read_back(&mut self) {
        let Some(chair) = self.client().await else { return };
        for conf in &self.confs {
            let mut asked = json!({ "confId": conf, "limit": PAGE });
            loop {
                let answer = chair.rpc("conference.messages", asked.clone()).await;
                let Some(messages) = answer.0["result"]["messages"].as_array().filter(|page| !page.is_empty()) else {
                    break;
                };
                let texts = messages.iter().filter_map(|message| message["text"].as_str()).map(str::to_owned);
                let before = self.read_back.len();
                self.read_back.extend(texts);
                if self.read_back.len() < before + messages.len() {
                    break;
                }
                asked["before"] = messages[0]["messageId"].clone();
            }
        }
    }

    async fn end(self) {
        self.phase.send_replace(Phase::Over);
        for guest in self.guests {
            guest.ended().await;
        }
    }
}

impl Row {
    fn shown(&self, part: Part, fault: Fault) -> String {
        let refusals: Vec<String> = self.counts.errors.iter().map(|(name, n)| format!("{name} {n}")).collect();
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        let (back, whole) = (self.back.map_or("–".to_owned(), seconds), self.whole.map_or("never".to_owned(), seconds));
        format!(
            "| {part:?} | {fault:?} | {} | {} | {} | {} | {} | {back} | {whole} | {} | {} | {} | {} |",
            self.counts.lost,
            self.counts.repeated,
            self.acknowledged_lost.len(),
            self.ghosts.len(),
            self.counts.dropped,
            self.counts.snapshots.values().sum::<u64>(),
            self.counts.acknowledged,
            refusals.join(", "),
            self.memory >> 20,
        )
    }

    fn wrong(&self, part: Part, fault: Fault) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut demand = |is_so: bool, what: String| {
            if !is_so {
                wrong.push(format!("{part:?} {fault:?}: {what}"));
            }
        };
        demand(self.counts.lost == 0, format!("{} events lost", self.counts.lost));
        demand(self.counts.repeated == 0, format!("{} events repeated", self.counts.repeated));
        demand(self.acknowledged_lost.is_empty(), format!("acknowledged and lost: {:?}", self.acknowledged_lost));
        demand(self.ghosts.is_empty(), format!("ghosts: {:?}", self.ghosts));
        demand(self.whole.is_some_and(|time| time <= WHOLE), format!("whole after {:?}", self.whole));
        if part == Part::Gateway && matches!(fault, Fault::Kill | Fault::Empty) {
            demand(self.back.is_some_and(|time| time <= BACK), format!("guests back after {:?}", self.back));
        }
        demand(self.memory <= MEMORY_MAX, format!("{} MiB", self.memory >> 20));
        wrong
    }
}

/// In bytes; a process that was killed has none.
fn memory_of(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|kib| kib.trim().trim_end_matches("kB").trim().parse::<usize>().ok());
    kib.unwrap_or_default() * 1024
}
