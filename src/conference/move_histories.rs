//! Random histories of sockets that come and go at a node that is restarted: whoever resumes in a conference that they
//! never left for good gets the events that they missed, and never a snapshot.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::core::Limits;
use super::histories::{LIMITS, Step, USERS, World};

/// Everything that is missed can be replayed here.
const ROOMY: Limits = Limits { log: 1000, replay: 1000, ..LIMITS };

#[derive(Debug, Clone)]
enum Move {
    Step(Step),
    /// So many events arrive, where they are on their way.
    Arrive(usize),
    /// The link is cut while nothing is under way and somebody does something, and is back.
    Blip(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let user = 0..USERS;
    let step = prop_oneof![
        6 => user.clone().prop_map(|user| Step::Open(user, true)),
        4 => user.clone().prop_map(Step::Close),
        4 => (user.clone(), 0..6usize).prop_map(|(user, action)| Step::Act(user, action)),
        3 => user.prop_map(Step::Say),
        6 => Just(Step::Answer),
        4 => Just(Step::Overtake),
        1 => Just(Step::Restart),
        // All together less than an event is waited for, and than a grace.
        1 => (1..5u64).prop_map(Step::Pass),
    ];
    let one = prop_oneof![8 => step.prop_map(Move::Step), 2 => (1..6usize).prop_map(Move::Arrive), 1 => (0..USERS).prop_map(Move::Blip)];
    prop::collection::vec(one, 1..90)
}

/// Everybody is in, with a socket and a roster.
fn all_in(is_broker: bool) -> World {
    let mut world = World::new(ROOMY);
    for user in 0..USERS {
        world.step(&Step::Join(user));
        world.step(&Step::Open(user, false));
    }
    world.run_to_rest();
    world.on_the_way = is_broker.then(VecDeque::new);
    assert!(world.clients.values().all(|client| client.open.is_some()));
    world.clients.values_mut().for_each(|client| client.snapshots = 0);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn a_resuming_client_gets_no_snapshot_whenever_the_node_is_restarted_and_answers_overtake_each_other(
        moves in moves(), is_broker in any::<bool>(),
    ) {
        let mut world = all_in(is_broker);
        for one in &moves {
            match one {
                Move::Step(step) => world.step(step),
                Move::Arrive(count) => world.arrive(*count),
                Move::Blip(user) => {
                    world.answer_all();
                    let steps = [Step::Cut, Step::Say(*user), Step::Act(*user, 2), Step::Act(*user, 3), Step::Mend];
                    steps.iter().for_each(|step| world.step(step));
                }
            }
        }
        world.run_to_rest();
        world.check();
        let snapshots: Vec<_> = world.clients.iter().filter(|(_, client)| client.snapshots > 0).collect();
        prop_assert!(snapshots.is_empty(), "{:?}", snapshots.iter().map(|(user, _)| user).collect::<Vec<_>>());
    }
}
