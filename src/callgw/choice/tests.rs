use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn node(id: &str, load: f64, recent: u64) -> Candidate {
    Candidate { id: id.to_owned(), region: None, unusable: None, load, recent, cascades: Some(CascadeMethod::Webrtc) }
}

fn down(id: &str, why: &str) -> Candidate {
    Candidate { unusable: Some(why.to_owned()), ..node(id, 0.0, 0) }
}

fn in_region(region: &str, node: Candidate) -> Candidate {
    Candidate { region: Some(region.to_owned()), ..node }
}

/// Where a conference may go, over many draws.
fn choices(nodes: &[Candidate], region: Option<&str>) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut seen: Vec<String> = (0..200).map(|_| choose(nodes, region, &mut rng).unwrap().to_owned()).collect();
    seen.sort();
    seen.dedup();
    seen
}

#[test]
fn of_two_nodes_the_less_loaded_is_taken() {
    assert_eq!(choices(&[node("a", 0.5, 0), node("b", 0.2, 0)], None), ["b"]);
}

#[test]
fn assignments_since_the_report_count_as_load() {
    assert_eq!(choices(&[node("a", 0.20, 0), node("b", 0.19, 2)], None), ["a"]);
}

#[test]
fn the_most_loaded_of_three_is_never_taken_and_the_least_loaded_not_always() {
    assert_eq!(choices(&[node("a", 0.1, 0), node("b", 0.2, 0), node("c", 0.3, 0)], None), ["a", "b"]);
}

#[test]
fn an_idle_node_takes_no_burst_ahead_of_the_others() {
    assert_eq!(choices(&[node("idle", 0.0, BURST), node("busy", 0.6, 0)], None), ["busy"]);
    assert_eq!(choices(&[node("idle", 0.0, BURST - 1), node("busy", 0.6, 0)], None), ["idle"]);
}

#[test]
fn the_wanted_region_comes_first_and_any_other_before_none() {
    let far = in_region("us", node("far", 0.0, 0));
    assert_eq!(choices(&[far.clone(), in_region("eu", node("near", 0.5, 0))], Some("eu")), ["near"]);
    assert_eq!(choices(&[far.clone(), in_region("eu", node("near", FULL, 0))], Some("eu")), ["far"]);
    assert_eq!(choices(&[far, in_region("eu", down("near", "dead"))], Some("eu")), ["far"]);
}

#[test]
fn a_burst_alone_makes_no_node_full() {
    assert_eq!(choices(&[node("only", 0.1, 500)], None), ["only"]);
}

#[test]
fn a_refusal_says_of_each_node_why_not() {
    let nodes = [down("a", "no answer in time"), down("b", "draining"), node("c", 0.93, 5)];
    let refused = choose(&nodes, None, &mut StdRng::seed_from_u64(1));
    let reasons = [("a", "no answer in time"), ("b", "draining"), ("c", "full: 0.93")];
    let reasons = reasons.map(|(id, why)| (id.to_owned(), why.to_owned())).to_vec();
    assert_eq!(refused, Err(NoNodeAvailable(reasons)));
    assert_eq!(choose(&[], None, &mut StdRng::seed_from_u64(1)), Err(NoNodeAvailable(Vec::new())));
}

fn at(id: &str) -> Current<'_> {
    Current { id, is_up: true, must_leave: false }
}

fn placed(nodes: &[Candidate], at: &[Current<'_>], since_ms: u64, own: Option<&str>) -> NodeChoice {
    place(nodes, Conference { at, since_ms, own }, None, &mut StdRng::seed_from_u64(3)).unwrap()
}

fn stay(id: &str) -> NodeChoice {
    NodeChoice::Stay(id.to_owned())
}

fn grow(id: &str) -> NodeChoice {
    NodeChoice::Grow(id.to_owned())
}

fn moved(id: &str) -> NodeChoice {
    NodeChoice::Move(id.to_owned())
}

#[test]
fn a_conference_stays_until_its_node_is_dead() {
    let down_at = |id| Current { is_up: false, ..at(id) };
    let nodes = [node("a", 0.95, 0), node("b", 0.2, 9)];
    assert_eq!(placed(&nodes, &[at("b")], 0, None), stay("b"));
    assert_eq!(
        placed(&[node("a", 0.1, 0), down("b", "draining")], &[at("b")], 0, None),
        stay("b"),
        "until the deadline"
    );
    assert_eq!(placed(&[node("a", 0.1, 0), down("b", "dead")], &[down_at("b")], 0, None), moved("a"));
    assert_eq!(placed(&nodes, &[at("no longer configured")], 0, None), moved("b"));
    assert_eq!(placed(&nodes, &[down_at("a"), at("b")], 0, None), stay("b"), "what is left of it");
}

#[test]
fn conference_on_full_nodes_grows_onto_another_and_members_stay() {
    let nodes = [node("a", FULL, 0), node("b", 0.8, 0), node("c", 0.95, 0)];
    assert_eq!(placed(&nodes, &[at("a")], 0, None), grow("b"));
    assert_eq!(placed(&nodes, &[at("a"), at("b")], 0, None), stay("b"), "it has room");
    assert_eq!(placed(&nodes, &[at("a"), at("b")], 0, Some("a")), stay("a"), "who was there before");
    assert_eq!(placed(&nodes, &[at("a"), at("b")], 0, Some("c")), stay("b"), "another conference's");
    assert_eq!(placed(&nodes, &[at("c"), at("a")], 0, None), grow("b"));
    assert_eq!(
        placed(&[node("a", 0.97, 0), node("b", 0.92, 0)], &[at("a"), at("b")], 0, None),
        stay("b"),
        "the less full"
    );
    assert_eq!(placed(&[node("a", 0.97, 0), node("b", 0.92, 0)], &[at("a")], 0, None), stay("a"), "nowhere to grow");
}

#[test]
fn a_conference_that_cannot_be_at_two_nodes_moves_to_one_with_room_when_it_has_settled() {
    let alone = |id, load| Candidate { cascades: None, ..node(id, load, 0) };
    let nodes = [alone("a", 0.95), node("b", 0.2, 0)];
    assert_eq!(placed(&nodes, &[at("a")], SETTLED_MS, None), moved("b"));
    assert_eq!(placed(&nodes, &[at("a")], SETTLED_MS - 1, None), stay("a"), "it came a moment ago");
    assert_eq!(
        placed(&[alone("a", 0.95), node("b", 0.6, 0)], &[at("a")], SETTLED_MS, None),
        stay("a"),
        "no room enough"
    );
    assert_eq!(placed(&[node("a", 0.95, 0), alone("b", 0.2)], &[at("a")], SETTLED_MS, None), stay("a"), "b can't pull");
}

#[test]
fn a_conference_grows_only_onto_nodes_that_pull_from_each_other() {
    let janus = |id, load| Candidate { cascades: Some(CascadeMethod::Janus), ..node(id, load, 0) };
    let at_janus = |nodes: &[Candidate]| placed(nodes, &[at("j")], SETTLED_MS, None);
    assert_eq!(at_janus(&[janus("j", 0.95), node("b", 0.0, 0), janus("k", 0.8)]), grow("k"));
    assert_eq!(at_janus(&[janus("j", 0.95), node("b", 0.0, 0)]), stay("j"));
}

#[test]
fn after_a_drains_deadline_a_conference_goes_elsewhere_if_there_is_any() {
    let leaving = [Current { must_leave: true, ..at("old") }];
    let goes = |nodes: &[Candidate]| placed(nodes, &leaving, 0, Some("old"));
    assert_eq!(goes(&[down("old", "draining"), node("new", 0.8, 0)]), moved("new"));
    assert_eq!(goes(&[down("old", "draining"), down("new", "dead")]), stay("old"), "better there than nowhere");
}
