//! Streams that other nodes pull from here, and streams that are pulled from them.

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Source};

use super::*;
use crate::token::PullClaims;

const LINK: LinkId = LinkId(7);

impl Node {
    /// Another node comes in, for that stream or for all.
    fn watch(&mut self, socket: u64, room: &str, stream: Option<&str>) -> Vec<Output> {
        let claims = PullClaims::new(Some("n1"), conf(room), stream, std::time::Duration::from_secs(60));
        self.join_with(socket, room, "n2", ClientCredentials::Pull(Box::new(claims)))
    }

    fn linked(&mut self, event: LinkEvent) -> Vec<Output> {
        self.take(Input::Linked(LINK, event))
    }

    fn link(&mut self, room: &str, by_hand: bool) {
        assert_eq!(self.linked(LinkEvent::Opened { space: RoomNamespace::Conference, room: conf(room), by_hand }), []);
    }

    fn answers(&mut self, name: &str, route: &[&str]) -> Vec<Output> {
        let route = route.iter().map(|id| (*id).to_owned()).collect();
        self.linked(LinkEvent::Answered { stream: stream(name), answer: "a".into(), route })
    }
}

fn stream(name: &str) -> StreamId {
    stream_named(name).unwrap()
}

fn asked(ask: LinkCommand) -> Output {
    Output::Link(LINK, ask)
}

fn pull(endpoint: u64, name: &str) -> Output {
    let (room, endpoint) = ("conf/c".into(), EndpointId(endpoint));
    Output::Media(Command::Pull { room, endpoint, stream: stream(name) })
}

fn completed(endpoint: u64) -> Output {
    Output::Media(Command::Answered { endpoint: EndpointId(endpoint), answer: "a".into() })
}

#[test]
fn a_node_that_pulls_sees_who_comes_and_goes_and_is_not_seen() {
    let mut node = Node::new();
    assert_eq!(node.watch(1, "c", None), [existing(1, &[])], "before anybody is there");
    assert_eq!(node.join(2, "c", "anna"), [arrived(1, "anna"), existing(2, &[])]);
    assert_eq!(node.watch(3, "c", Some("ben")), [existing(3, &[])]);
    assert_eq!(
        node.join(4, "c", "ben"),
        [arrived(2, "ben"), arrived(1, "ben"), arrived(3, "ben"), existing(4, &["anna"])]
    );
    assert_eq!(errors(&node.offer(3, "anna")), [(3, Code::BadMessage, Some("anna".into()))], "not its stream");
    node.offer(3, "ben");
    let route = Output::Send(SocketId(3), Reply::Route { name: "ben".into(), nodes: vec!["n1".into()] });
    assert_eq!(node.answer(0), [route, answered(3, "ben")]);
    assert_eq!(node.group.counts(), RoomCounts { sockets: 2, rooms: 1, members: 2 });
    let gone = node.take(Input::Closed(SocketId(4)));
    assert_eq!(gone, [left(2, "ben"), left(1, "ben"), ended(0), left(3, "ben")]);
    node.take(Input::Closed(SocketId(1)));
    node.take(Input::Closed(SocketId(3)));
    assert_eq!(node.join(5, "c", "carl"), [arrived(2, "carl"), existing(5, &["anna"])]);
}

#[test]
fn a_pulled_stream_is_a_participant_once_it_is_there() {
    let mut node = Node::new();
    node.link("c", false);
    assert_eq!(node.linked(LinkEvent::Has(stream("anna"))), [], "nobody is here to see her");
    assert_eq!(node.join(1, "c", "ben"), [existing(1, &[]), pull(0, "anna")]);
    let offers = node.notice(Notice::Offer { endpoint: EndpointId(0), offer: "o".into() });
    assert_eq!(offers, [asked(LinkCommand::Offer { stream: stream("anna"), offer: "o".into() })]);
    assert_eq!(errors(&node.offer(1, "anna")).len(), 1, "he wasn't told of her yet");
    assert_eq!(node.answers("anna", &["n2"]), [completed(0), arrived(1, "anna")]);
    assert_eq!(node.answers("anna", &["n2"]), [], "repeated");
    assert_eq!(node.join(2, "c", "carl"), [arrived(1, "carl"), existing(2, &["ben", "anna"])]);
    node.offer(1, "anna");
    let gone = node.linked(LinkEvent::Lacks(stream("anna")));
    assert_eq!(gone[..4], [ended(1), left(1, "anna"), left(2, "anna"), ended(0)]);
}

#[test]
fn a_media_server_may_offer_again_once_it_knows_what_comes_and_nobody_hears_of_it() {
    let mut node = Node::new();
    node.link("c", false);
    node.join(1, "c", "ben");
    node.linked(LinkEvent::Has(stream("anna")));
    let offers = Notice::Offer { endpoint: EndpointId(0), offer: "o".into() };
    let asked = [asked(LinkCommand::Offer { stream: stream("anna"), offer: "o".into() })];
    assert_eq!(node.notice(offers.clone()), asked);
    assert_eq!(node.answers("anna", &["n2"]), [completed(0), arrived(1, "anna")]);
    assert_eq!(node.notice(offers), asked);
    assert_eq!(node.answers("anna", &["n2"]), [completed(0)]);
    assert_eq!(node.answers("anna", &["n2"]), [], "repeated");
}

#[test]
fn nothing_is_pulled_for_a_room_without_anybody_unless_by_hand() {
    let mut node = Node::new();
    node.link("c", false);
    node.linked(LinkEvent::Has(stream("anna")));
    node.join(1, "c", "ben");
    let last = node.take(Input::Closed(SocketId(1)));
    assert_eq!(last, [ended(0), asked(LinkCommand::Cancel(stream("anna"))), room_closed("conf/c")]);
    node.linked(LinkEvent::Closed);
    node.link("c", true);
    assert_eq!(node.linked(LinkEvent::Has(stream("anna"))), [pull(1, "anna")]);
    assert_eq!(node.linked(LinkEvent::Closed), [ended(1), room_closed("conf/c")]);
}

#[test]
fn local_member_is_not_pulled_until_it_leaves() {
    let mut node = Node::new();
    node.link("c", true);
    node.linked(LinkEvent::Has(stream("anna")));
    node.answers("anna", &["n2"]);
    assert_eq!(node.join(1, "c", "ben"), [existing(1, &["anna"])]);
    let came = node.join(2, "c", "anna");
    assert_eq!(
        came,
        [
            left(1, "anna"),
            ended(0),
            asked(LinkCommand::Cancel(stream("anna"))),
            arrived(1, "anna"),
            existing(2, &["ben"])
        ]
    );
    assert_eq!(node.take(Input::Closed(SocketId(2))), [left(1, "anna"), pull(1, "anna")]);
}

#[test]
fn a_stream_that_comes_from_here_is_not_shown_here_again() {
    let mut node = Node::new();
    node.link("c", true);
    node.linked(LinkEvent::Has(stream("anna")));
    let looped = node.answers("anna", &["n1", "n2"]);
    let expected = [
        ended(0),
        asked(LinkCommand::Cancel(stream("anna"))),
        room_closed("conf/c"),
        asked(LinkCommand::Loops(stream("anna"))),
    ];
    assert_eq!(looped, expected);
}

#[test]
fn a_pull_that_fails_is_tried_again_when_the_link_says_so() {
    let mut node = Node::new();
    node.join(1, "c", "ben");
    node.link("c", false);
    node.linked(LinkEvent::Has(stream("anna")));
    node.answers("anna", &["n2"]);
    let lost = node.notice(Notice::Closed { endpoint: EndpointId(0), reason: Reason::IceFailed });
    let (cancel, failed) = (asked(LinkCommand::Cancel(stream("anna"))), asked(LinkCommand::Failed(stream("anna"))));
    assert_eq!(lost, [left(1, "anna"), cancel, failed]);
    assert_eq!(node.linked(LinkEvent::Has(stream("anna"))), [pull(1, "anna")]);
}

#[test]
fn mute_holds_at_the_pulling_node_and_the_end_is_for_all() {
    let mut node = Node::new();
    node.join(1, "c", "ben");
    node.watch(2, "c", None);
    node.link("c", false);
    node.linked(LinkEvent::Has(stream("anna/screen")));
    assert_eq!(stream("anna/screen").source, Source::Screen);
    let silenced = permit(&conf("c"), &user("anna"), false);
    assert_eq!(node.order(silenced), [forwarded("anna/screen", false, true)]);
    let over = node.order(ToNode::CloseRoom { room: conf("c") });
    assert_eq!(over[..2], [asked(LinkCommand::End), Output::Cascade(conf("c"), Vec::new())]);
    assert_eq!(errors(&over), [(1, Code::Ended, None), (2, Code::Ended, None)]);
    assert!(over.contains(&close(1, Close::Over)) && over.contains(&close(2, Close::Over)));
    assert_eq!(over.last(), Some(&room_closed("conf/c")));
    assert_eq!(node.linked(LinkEvent::Has(stream("anna"))), [], "the link is gone");
}

#[test]
fn a_link_that_is_lost_when_the_conference_ends_is_not_tried_again() {
    let mut node = Node::new();
    node.link("c", false);
    node.linked(LinkEvent::Closed);
    let over = node.order(ToNode::CloseRoom { room: conf("c") });
    assert_eq!(over, [Output::Cascade(conf("c"), Vec::new())]);
}

#[test]
fn a_pulled_stream_is_watched_over_http_as_long_as_it_is_there() {
    let mut node = Node::new();
    node.link("c", true);
    assert_eq!(node.linked(LinkEvent::Has(stream("anna"))), [pull(0, "anna")]);
    let early = node.begin(3, "viewer", Purpose::Watch(Some("anna".into())));
    assert_eq!(errors(&early), [(3, Code::NotLive, None)]);
    node.answers("anna", &["n2"]);
    let outputs = node.begin(4, "viewer", Purpose::Watch(Some("anna".into())));
    assert!(matches!(&outputs[..], [Output::Media(Command::Subscribe { .. })]), "{outputs:?}");
    let outputs = node.linked(LinkEvent::Lacks(stream("anna")));
    assert_eq!(errors(&outputs), [(4, Code::NotLive, None)]);
    assert!(outputs.contains(&room_closed("conf/c")), "{outputs:?}");
}

#[test]
fn a_call_between_two_goes_through_the_node_where_the_other_is_at_another() {
    let mut node = Node::new();
    let p2p = |socket: u64, name: &str| between_two(claims("c", name, T0, &format!("nonce{socket}")));
    let told = |mode, reason| Output::Send(SocketId(1), Reply::Mode { mode, reason });
    node.link("c", false);
    let joined = node.join_with(1, "c", "ben", p2p(1, "ben"));
    assert_eq!(joined, [existing(1, &[]), told(CallMode::P2p, None)]);
    assert_eq!(node.linked(LinkEvent::Has(stream("anna"))), [pull(0, "anna")]);
    let through = told(CallMode::Group, Some(Relayed::Unable));
    assert_eq!(node.answers("anna", &["n2"]), [completed(0), through, arrived(1, "anna")]);
}
