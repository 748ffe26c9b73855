//! A burst of joins between two reports, by three ways to choose: printed with `cargo nextest run --no-capture
//! a_burst`, and written up in `docs/operation.md`.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

const NODES: usize = 10;
/// All within one second, while the last reports are ten seconds old: nobody learns anything in between.
const JOINS: usize = 100;
const RUNS: u64 = 200;

/// How one join is placed: an index into the nodes.
type Strategy = fn(&[Candidate], &mut StdRng) -> usize;

fn ours(nodes: &[Candidate], rng: &mut StdRng) -> usize {
    let id = choose(nodes, None, rng).expect("every node can take it");
    nodes.iter().position(|node| node.id == id).expect("one of them")
}

fn least_loaded(nodes: &[Candidate], _: &mut StdRng) -> usize {
    (0..nodes.len()).min_by(|a, b| nodes[*a].load.total_cmp(&nodes[*b].load)).expect("there are nodes")
}

fn plain_two_choices(nodes: &[Candidate], rng: &mut StdRng) -> usize {
    let (a, b) = (rng.random_range(0..nodes.len()), rng.random_range(0..nodes.len()));
    if nodes[b].load < nodes[a].load { b } else { a }
}

/// The joins of the node that got most, over the mean.
fn max_over_mean(strategy: Strategy, spread: f64, seed: u64) -> f64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let reported = |rng: &mut StdRng| if spread > 0.0 { rng.random_range(0.0..spread) } else { 0.0 };
    let mut nodes: Vec<Candidate> = (0..NODES)
        .map(|i| Candidate {
            id: i.to_string(),
            region: None,
            unusable: None,
            load: reported(&mut rng),
            recent: 0,
            cascades: Some(crate::node_protocol::CascadeMethod::Webrtc),
        })
        .collect();
    for _ in 0..JOINS {
        let at = strategy(&nodes, &mut rng);
        nodes[at].recent += 1;
    }
    let most = nodes.iter().map(|node| node.recent).max().unwrap_or_default();
    most as f64 * NODES as f64 / JOINS as f64
}

/// Mean and worst over the runs.
fn runs(strategy: Strategy, spread: f64) -> (f64, f64) {
    let all: Vec<f64> = (0..RUNS).map(|seed| max_over_mean(strategy, spread, seed)).collect();
    (all.iter().sum::<f64>() / all.len() as f64, all.iter().copied().fold(0.0, f64::max))
}

#[test]
fn a_burst_of_joins_is_spread_evenly_whatever_was_reported_before_it() {
    let strategies: [(&str, Strategy); 3] =
        [("least loaded", least_loaded), ("better of two", plain_two_choices), ("ours", ours)];
    println!("{JOINS} joins in 1 s over {NODES} nodes, reports 10 s old; max/mean over {RUNS} runs");
    println!("{:<15} {:>16} {:>16} {:>16}", "", "loads alike", "loads 0 to 0.05", "loads 0 to 0.5");
    let mut table = Vec::new();
    for (name, strategy) in strategies {
        let row = [0.0, 0.05, 0.5].map(|spread| runs(strategy, spread));
        let cells = row.map(|(mean, worst)| format!("{mean:.2}, worst {worst:.2}"));
        println!("{name:<15} {:>16} {:>16} {:>16}", cells[0], cells[1], cells[2]);
        table.push(row);
    }
    for (mean, worst) in table[2] {
        assert!(worst <= 1.3, "ours: {mean:.2}, worst {worst:.2}");
    }
    for naive in &table[..2] {
        assert!(naive[2].0 > 1.5, "a way that ignores its own choices herds: {naive:?}");
    }
}
