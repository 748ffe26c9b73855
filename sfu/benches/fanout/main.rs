//! One publisher to many viewers: what a forwarded packet costs the built-in node, and what Debian's Janus in the same
//! run under the same load; how many packets one media thread forwards without loss; what a second thread costs; and
//! what becomes of those who are served when twice as many come.
//!
//! `cargo bench -p confgate-sfu --bench fanout -- [quick] [janus] [rate] [threads] [overload]`; without a name all four.

#[path = "../../../tests/it/support/cpu.rs"]
mod cpu;
mod janus;
mod load;
mod machine;
mod node;
mod peer;
mod server;

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use janus::{Janus, JanusThreads};
use load::{Call, Round, measure, run};
use node::BuiltIn;
use server::Server;

/// As the program that the node is part of has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Packets a second that no admission keeps from the thread.
const UNLIMITED: u64 = 1_000_000_000;
/// The node's own limit.
const LIMIT: u64 = 30_000;
/// Packets a second that a viewer gets.
const PER_VIEWER: u64 = 230;
const WARM_UP: Duration = Duration::from_secs(1);

/// Its name, and what runs it; whether for a short time.
type Part = (&'static str, fn(bool));

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == node::NODE) {
        return node::run(&arguments[at + 1..]);
    }
    let says = |word: &str| arguments.iter().any(|argument| argument == word);
    let all = !["janus", "rate", "threads", "overload"].into_iter().any(says);
    let parts: [Part; 4] = [("janus", beside_janus), ("rate", rate), ("threads", threads), ("overload", overload)];
    for (name, part) in parts {
        if all || says(name) {
            part(says("quick"));
        }
    }
}

/// The machine's own address: Janus has no candidates at loopback.
fn here() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
    // Nothing is sent: only the route is looked up (TEST-NET-3, RFC 5737).
    socket.connect("203.0.113.1:9").expect("the machine has a route");
    socket.local_addr().expect("it is bound").ip()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The node and Janus, each with as many viewers; their rounds alternate, and the others send nothing meanwhile.
fn beside_janus(quick: bool) {
    let (viewers, rounds, time) = if quick { (30, 3, 2) } else { (60, 5, 3) };
    let mut servers: [(&str, Box<dyn Server>); 3] = [
        ("node", Box::new(BuiltIn::start(here(), 1, UNLIMITED))),
        ("Janus, one thread", Box::new(Janus::start(here(), JanusThreads::OneThread))),
        ("Janus as installed", Box::new(Janus::start(here(), JanusThreads::ThreadForEach))),
    ];
    let mut calls: Vec<Call> = servers.iter_mut().map(|(_, server)| Call::begin(&mut **server, 1)).collect();
    for (call, (_, server)) in calls.iter_mut().zip(&mut servers) {
        call.fill(&mut **server, viewers);
    }
    println!("one publisher, {viewers} viewers: CPU of the whole server for each packet that a viewer got");
    let mut costs = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        for (place, (name, server)) in servers.iter().enumerate() {
            let round = alone(&**server, &mut calls, place, Duration::from_secs(time));
            show(&format!("  {name}"), &round);
            costs[place].push(round.cost_us());
        }
    }
    let ours = median(costs[0].iter().copied());
    println!("  medians: node {ours:.1} us");
    for (place, (name, _)) in servers.iter().enumerate().skip(1) {
        let theirs = median(costs[place].iter().copied());
        let ratio = median(costs[place].iter().zip(&costs[0]).map(|(theirs, ours)| theirs / ours));
        println!("  {name}: {theirs:.1} us, {ratio:.2} times the node's");
    }
}

/// One server's round, while the other calls are kept open.
fn alone(server: &dyn Server, calls: &mut [Call], of: usize, time: Duration) -> Round {
    let now = std::time::Instant::now();
    calls.iter_mut().for_each(|call| call.idle(now));
    let call = &mut calls[of];
    call.resume();
    run(&mut [call], WARM_UP);
    measure(server, &mut [call], time)
}

fn show(title: &str, round: &Round) {
    println!(
        "{title:<20} {:>6.2} us a packet, {:>6.0} packets/s, lost {:.3} % of sound, {:.3} % of video; \
         others took {:.0} % of the machine",
        round.cost_us(),
        round.per_s(),
        round.audio.lost_percent(),
        round.video.lost_percent(),
        round.others_percent,
    );
}

/// More and more viewers on one media thread, until packets are lost.
fn rate(quick: bool) {
    let (steps, time) = if quick {
        (vec![15_000, 30_000], 2)
    } else {
        (vec![15_000, 20_000, 25_000, 30_000, 35_000, 40_000, 45_000], 3)
    };
    let mut node = BuiltIn::start(here(), 1, UNLIMITED);
    let mut call = Call::begin(&mut node, 1);
    println!("one media thread, more and more viewers:");
    let mut whole = 0.0;
    for per_s in steps {
        let more = (per_s / PER_VIEWER).saturating_sub(call.viewers.len() as u64);
        call.fill(&mut node, more);
        run(&mut [&mut call], WARM_UP);
        let round = measure(&node, &mut [&mut call], Duration::from_secs(time));
        show(&format!("  {} viewers", call.viewers.len()), &round);
        if round.lost_percent() > 0.0 {
            break;
        }
        whole = round.per_s();
    }
    println!("  without any loss: {whole:.0} packets/s");
}

/// The same two calls on one media thread and on two.
fn threads(quick: bool) {
    let (viewers, rounds, time) = if quick { (20, 3, 2) } else { (40, 5, 3) };
    let mut sides = [1, 2].map(|threads| {
        let mut node = BuiltIn::start(here(), threads, UNLIMITED);
        let mut calls = [Call::begin(&mut node, 1), Call::begin(&mut node, 2)];
        calls.iter_mut().for_each(|call| {
            call.fill(&mut node, viewers);
        });
        (node, calls)
    });
    println!("two calls of {viewers} viewers each, on one media thread and on two:");
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let costs = [0, 1].map(|side| {
            let (node, [first, second]) = &mut sides[side];
            let calls = &mut [first, second];
            calls.iter_mut().for_each(|call| call.resume());
            run(calls, WARM_UP);
            let round = measure(node, calls, Duration::from_secs(time));
            show(&format!("  {} thread", side + 1), &round);
            round.cost_us()
        });
        ratios.push(costs[1] / costs[0]);
    }
    println!("  a packet on two threads costs {:.2} of one on one (median)", median(ratios.into_iter()));
}

/// Twice as many viewers as a thread takes, all within some seconds.
fn overload(quick: bool) {
    let (limit, time) = if quick { (LIMIT / 5, 5) } else { (LIMIT, 10) };
    let mut node = BuiltIn::start(here(), 1, limit);
    let mut call = Call::begin(&mut node, 1);
    let offered = 2 * limit / PER_VIEWER;
    println!("a thread that takes {limit} packets/s, and viewers for twice that:");
    let taken = call.offer(&mut node, offered);
    call.connect();
    println!("  {offered} came at once, {taken} were taken");
    for part in ["at first", "then"] {
        let round = measure(&node, &mut [&mut call], Duration::from_secs(time));
        show(&format!("  {part}"), &round);
    }
}
