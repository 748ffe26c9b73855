use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn node(id: &str, load: f64, recent: u64) -> Candidate {
    Candidate { id: id.to_owned(), region: None, unusable: None, load, recent }
}

fn down(id: &str, why: &str) -> Candidate {
    Candidate { unusable: Some(why.to_owned()), ..node(id, 0.0, 0) }
}

fn in_region(region: &str, node: Candidate) -> Candidate {
    Candidate { region: Some(region.to_owned()), ..node }
}

/// Where a conference may go, over many draws.
fn chosen(nodes: &[Candidate], region: Option<&str>) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut seen: Vec<String> = (0..200).map(|_| choose(nodes, region, &mut rng).unwrap().to_owned()).collect();
    seen.sort();
    seen.dedup();
    seen
}

#[test]
fn of_two_nodes_the_less_loaded_is_taken() {
    assert_eq!(chosen(&[node("a", 0.5, 0), node("b", 0.2, 0)], None), ["b"]);
}

#[test]
fn what_was_given_since_the_report_counts_as_load() {
    assert_eq!(chosen(&[node("a", 0.20, 0), node("b", 0.19, 2)], None), ["a"]);
}

#[test]
fn the_most_loaded_of_three_is_never_taken_and_the_least_loaded_not_always() {
    assert_eq!(chosen(&[node("a", 0.1, 0), node("b", 0.2, 0), node("c", 0.3, 0)], None), ["a", "b"]);
}

#[test]
fn an_idle_node_takes_no_burst_ahead_of_the_others() {
    assert_eq!(chosen(&[node("idle", 0.0, BURST), node("busy", 0.6, 0)], None), ["busy"]);
    assert_eq!(chosen(&[node("idle", 0.0, BURST - 1), node("busy", 0.6, 0)], None), ["idle"]);
}

#[test]
fn the_wanted_region_comes_first_and_any_other_before_none() {
    let far = in_region("us", node("far", 0.0, 0));
    assert_eq!(chosen(&[far.clone(), in_region("eu", node("near", 0.5, 0))], Some("eu")), ["near"]);
    assert_eq!(chosen(&[far.clone(), in_region("eu", node("near", FULL, 0))], Some("eu")), ["far"]);
    assert_eq!(chosen(&[far, in_region("eu", down("near", "dead"))], Some("eu")), ["far"]);
}

#[test]
fn a_burst_alone_makes_no_node_full() {
    assert_eq!(chosen(&[node("only", 0.1, 500)], None), ["only"]);
}

#[test]
fn a_refusal_says_of_each_node_why_not() {
    let nodes = [down("a", "no answer in time"), down("b", "draining"), node("c", 0.93, 5)];
    let refused = choose(&nodes, None, &mut StdRng::seed_from_u64(1));
    let reasons = [("a", "no answer in time"), ("b", "draining"), ("c", "full: 0.93")];
    let reasons = reasons.map(|(id, why)| (id.to_owned(), why.to_owned())).to_vec();
    assert_eq!(refused, Err(Nowhere(reasons)));
    assert_eq!(choose(&[], None, &mut StdRng::seed_from_u64(1)), Err(Nowhere(Vec::new())));
}

#[test]
fn a_conference_stays_until_its_node_is_dead_or_full_and_another_has_room() {
    let placed = |nodes: &[Candidate], id: &str, is_up: bool, since_ms: u64| {
        let current = Some(Current { id, is_up, must_leave: false, since_ms });
        place(nodes, current, None, &mut StdRng::seed_from_u64(3)).unwrap()
    };
    let nodes = [node("a", 0.95, 0), node("b", 0.2, 9)];
    assert_eq!(placed(&nodes, "b", true, SETTLED_MS), "b");
    assert_eq!(placed(&[node("a", 0.1, 0), down("b", "draining")], "b", true, SETTLED_MS), "b", "until the deadline");
    assert_eq!(placed(&[node("a", 0.1, 0), down("b", "dead")], "b", false, 0), "a");
    assert_eq!(placed(&nodes, "a", true, SETTLED_MS), "b", "full");
    assert_eq!(placed(&nodes, "a", true, SETTLED_MS - 1), "a", "it came a moment ago");
    assert_eq!(placed(&[node("a", 0.95, 0), node("b", 0.6, 0)], "a", true, SETTLED_MS), "a", "no room enough");
    assert_eq!(placed(&nodes, "no longer configured", true, 0), "b");
}

#[test]
fn after_a_drains_deadline_a_conference_goes_elsewhere_if_there_is_any() {
    let placed = |nodes: &[Candidate]| {
        let current = Some(Current { id: "old", is_up: true, must_leave: true, since_ms: 0 });
        place(nodes, current, None, &mut StdRng::seed_from_u64(3)).unwrap()
    };
    assert_eq!(placed(&[down("old", "draining"), node("new", 0.8, 0)]), "new");
    assert_eq!(placed(&[down("old", "draining"), down("new", "dead")]), "old", "better there than nowhere");
}
