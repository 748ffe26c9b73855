use super::*;
use crate::config::CallNode;
use crate::node_protocol::{CascadeMethod, FromNode};

/// Long enough that a busy machine is not taken for a silent node.
const INTERVAL: Duration = Duration::from_millis(400);

fn configured(id: &str, kind: NodeKind, url: Option<&str>) -> CallNode {
    let url = url.map(|url| config::Url::parse(url).unwrap());
    let builtin = config::Callgw::default().nodes.remove(0);
    CallNode { id: id.into(), kind, url, ..builtin }
}

fn start(nodes: Vec<CallNode>, embedded: Option<Embedded>, stop: &CancellationToken) -> Pool {
    let config = config::Callgw { nodes, report_interval: INTERVAL, ..config::Callgw::default() };
    let own_url = "wss://meet.example.org/gzbwclient".to_owned();
    let embedded = embedded.map(|link| ("builtin".to_owned(), link)).into_iter().collect();
    let around = Context { node: "n1", secret: &Secret::new("secret"), own_url, embedded, grace: Duration::ZERO };
    Pool::start(&config, around, &TaskTracker::new(), stop).unwrap()
}

fn load(draining: bool) -> FromNode {
    FromNode::Load {
        packets_per_s: 0,
        packets_per_s_max: 1,
        busiest: 0.25,
        rooms: 0,
        endpoints: 0,
        draining,
        cascades: Some(CascadeMethod::Webrtc),
    }
}

fn close(room: &str) -> ToNode {
    ToNode::CloseRoom { room: ConfId::parse(room).unwrap() }
}

/// Waits until the node's standing is so.
async fn until(pool: &Pool, is_so: impl Fn(&NodeStatus) -> bool) {
    let mut changes = pool.changes();
    while !is_so(&pool.reports()[0].status) {
        tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.expect("in time").unwrap();
    }
}

#[tokio::test]
async fn the_embedded_node_is_at_this_gateways_own_address_while_it_speaks() {
    let (commands, mut told) = mpsc::channel(2);
    let (say, messages) = mpsc::channel(2);
    let stop = CancellationToken::new();
    let nodes = vec![configured("builtin", NodeKind::Builtin, None)];
    let pool = start(nodes, Some(Embedded { commands, messages }), &stop);
    assert_eq!(pool.addresses(None), Vec::<&str>::new(), "it hasn't said anything");
    pool.send_command("builtin", close("early"));

    say.send(load(false)).await.unwrap();
    until(&pool, |status| status.is_up() && status.openings == 1).await;
    assert_eq!(pool.addresses(None), ["wss://meet.example.org/gzbwclient/callgw"]);
    assert_eq!(pool.reports()[0].status.load, Some(0.25));
    for room in ["one", "two", "lost"] {
        pool.send_command("builtin", close(room));
    }
    assert_eq!([told.recv().await, told.recv().await], [Some(close("one")), Some(close("two"))]);
    say.send(load(false)).await.unwrap();
    until(&pool, |status| status.openings == 2).await;

    until(&pool, |status| status.fault == Some(Fault::Down)).await;
    assert_eq!(pool.addresses(None), Vec::<&str>::new(), "silent");
    assert!(pool.place(&[], 0, None, None).is_err());
    stop.cancel();
}

#[tokio::test]
async fn a_node_that_drains_is_offered_to_those_only_who_are_there() {
    let (commands, _told) = mpsc::channel(2);
    let (say, messages) = mpsc::channel(2);
    let stop = CancellationToken::new();
    let nodes = vec![configured("builtin", NodeKind::Builtin, None)];
    let pool = start(nodes, Some(Embedded { commands, messages }), &stop);
    say.send(load(true)).await.unwrap();
    until(&pool, NodeStatus::is_up).await;
    assert_eq!(pool.addresses(None), Vec::<&str>::new());
    assert_eq!(pool.addresses(Some("builtin")).len(), 1);
    assert_eq!(pool.place(&[], 0, None, None), Err(NoNodeAvailable(vec![("builtin".into(), "draining".into())])));
    assert_eq!(pool.place(&["builtin"], 0, None, None), Ok(NodeChoice::Stay("builtin".into())));
    stop.cancel();
}

#[tokio::test]
async fn a_member_counts_where_they_were_sent_last_until_they_leave() {
    let (commands, _told) = mpsc::channel(2);
    let (say, messages) = mpsc::channel(2);
    let stop = CancellationToken::new();
    let pool =
        start(vec![configured("builtin", NodeKind::Builtin, None)], Some(Embedded { commands, messages }), &stop);
    say.send(load(false)).await.unwrap();
    until(&pool, NodeStatus::is_up).await;
    let (conf, user) = (ConfId::parse("c1").unwrap(), UserId::parse("u1").unwrap());
    for _ in 0..3 {
        pool.token("builtin", &conf, &user, "family", (Role::Guest, CallMode::Group)).unwrap();
    }
    assert_eq!(pool.reports()[0].status.members, 1);
    assert_eq!(pool.report_failure("builtin", &user), Ok(false), "there is no other node");
    pool.forget(&user);
    pool.forget(&user);
    assert_eq!((pool.reports()[0].status.members, pool.last_of(&user)), (0, None));
    stop.cancel();
}

#[tokio::test]
async fn without_media_in_this_process_a_builtin_node_is_no_node() {
    let stop = CancellationToken::new();
    let pool = start(vec![configured("builtin", NodeKind::Builtin, None)], None, &stop);
    assert_eq!(pool.reports().len(), 0);
    assert_eq!(pool.place(&[], 0, None, None), Err(NoNodeAvailable(Vec::new())));
    stop.cancel();
}
