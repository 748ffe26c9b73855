//! `/metrics`: the recorder, and what each figure means. A figure that isn't described here fails a test.

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the buckets of everything that is timed, in seconds: from a look-up in memory to a request's timeout.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Name and meaning. Counters end in `_total`, times in `_seconds`; all else are gauges.
const FIGURES: &[(&str, &str)] = &[
    ("confgate_acts_too_fast_total", "Requests beyond a user's rate, or beyond what a conference is told in a minute."),
    ("confgate_address_blocks", "Blocks of addresses that hold connections or bytes."),
    (
        "confgate_admin_accept_errors_total",
        "Connections to admin.listen that couldn't be accepted for want of something.",
    ),
    ("confgate_admin_connections_refused_total", "Connections to admin.listen that were refused, by reason."),
    ("confgate_broker_bindings", "Conferences and users whose events the broker delivers to this node."),
    ("confgate_broker_connects_total", "Attempts to connect to the broker, by role."),
    (
        "confgate_broker_events_total",
        "Messages that the broker has delivered: taken, ignored, or put aside as unreadable.",
    ),
    ("confgate_broker_published_total", "Events of confgate eim that the broker has confirmed."),
    ("confgate_broker_unacknowledged_events", "Events of the broker that are on their way to a conference's log."),
    ("confgate_broker_unpublished_events", "Events of confgate eim that wait for the broker's confirmation."),
    ("confgate_builtin_eim_calls", "Calls that the built-in EIM holds, ringing or on."),
    ("confgate_builtin_eim_commit_failures_total", "Writes of the built-in EIM that the store refused."),
    ("confgate_builtin_eim_commit_seconds", "Time that the built-in EIM takes to write."),
    ("confgate_builtin_eim_conferences", "Conferences that the built-in EIM holds and that haven't ended."),
    ("confgate_builtin_eim_connects_total", "Attempts of confgate eim to connect to the XMPP server."),
    ("confgate_builtin_eim_hash_queue_jobs", "Passwords that wait to be hashed or verified by the built-in EIM."),
    ("confgate_builtin_eim_inbox_stanzas", "Stanzas that wait for the built-in EIM."),
    ("confgate_builtin_eim_link_batches", "Batches of stanzas that wait for a link of the built-in EIM."),
    ("confgate_builtin_eim_links_up", "Links of the built-in EIM that are up."),
    ("confgate_builtin_eim_stanzas_total", "Stanzas that the built-in EIM has taken."),
    ("confgate_builtin_eim_writes_total", "Documents that the built-in EIM has written."),
    ("confgate_call_events_total", "News of calls, by whether the user had a socket."),
    ("confgate_call_gateway_changes_total", "Conferences that had to change their call gateway, by reason."),
    ("confgate_call_gateway_commands", "Commands that wait for a call gateway's control link."),
    ("confgate_call_gateway_commands_lost_total", "Commands that had no room in that queue; they are said again."),
    ("confgate_call_gateway_members", "Members that were sent to a call gateway and haven't left it."),
    ("confgate_call_gateway_reports_total", "Members' reports of trouble with call gateways."),
    ("confgate_call_gateway_up", "Whether a call gateway may be used: 1 or 0."),
    ("confgate_call_gateways_registered", "Call gateways of other gateway nodes on the store that this one uses."),
    ("confgate_call_gateways_withheld", "Whether no conference may be at this node's own call gateways: 1 or 0."),
    ("confgate_clients_stuck_total", "Connections cut because their client took nothing for too long."),
    ("confgate_conference_mailbox_commands", "Commands that wait at the conference that was spoken to last."),
    ("confgate_conferences", "Conferences whose people this node holds."),
    ("confgate_control_unreadable_total", "Frames on control links that couldn't be read."),
    ("confgate_eim_address_up", "Whether an address of the EIM's answers: 1 or 0."),
    ("confgate_eim_changes_unapplied_total", "Events of an EIM without numbers that gave none, by reason."),
    ("confgate_eim_connects_total", "Attempts to connect to the EIM, by link."),
    ("confgate_eim_inbound_waiting", "News of the EIM that wait to be handed on."),
    ("confgate_eim_inbound_stalls_total", "Times that a link to the EIM had to wait before reading on."),
    ("confgate_eim_links_up", "Links to the EIM that are up."),
    ("confgate_eim_messages_ignored_total", "Messages that were no event of the EIM's."),
    ("confgate_eim_own_requests_refused_total", "Requests of the gateway's own that the EIM refused, by condition."),
    ("confgate_eim_request_seconds", "Time until the EIM's answer, by link."),
    ("confgate_eim_requests_failed_total", "Requests to the EIM without an answer, by reason."),
    ("confgate_eim_requests_ignored_total", "Requests that came to an address that isn't ours, or from none."),
    ("confgate_eim_requests_under_way", "Requests sent to the EIM and not yet answered, by link."),
    ("confgate_eim_sessions", "Users signed in at the XMPP server."),
    (
        "confgate_eim_stanzas_skipped_total",
        "Stanzas that were too large, too deep or unreadable, left out as they came.",
    ),
    ("confgate_eim_stanzas_unsent_total", "Stanzas that had no address to be sent from or to."),
    ("confgate_eim_stray_answers_total", "Answers that belong to no request, by reason."),
    ("confgate_ended_families_waiting", "Ended logins that sockets haven't yet heard of."),
    ("confgate_events_unreadable_total", "Events of the EIM that couldn't be read."),
    ("confgate_groupcall_errors_total", "Clients of the call gateway that were refused, by code."),
    ("confgate_groupcall_mailbox_waiting", "Messages that wait for a call gateway node's task."),
    ("confgate_groupcall_media_full_total", "Times that the media threads had no room for a command."),
    ("confgate_groupcall_media_waiting", "Commands that wait for the media threads."),
    ("confgate_groupcall_members", "Members in rooms of a call gateway node."),
    ("confgate_groupcall_relayed_total", "Members of calls between two told to go through the node, by reason."),
    ("confgate_groupcall_rooms", "Rooms of a call gateway node."),
    ("confgate_groupcall_sockets", "Clients' sockets of a call gateway node."),
    ("confgate_groupcall_unfit_answers_total", "Answers of the media that didn't fit their offers and weren't sent."),
    ("confgate_lifecycle_events_waiting", "Kicks and ends that wait to be carried out."),
    ("confgate_lifecycle_events_unsaved", "Kicks and ends that the store could not keep yet."),
    ("confgate_held_bytes", "Bytes that are held for clients."),
    ("confgate_held_refused_total", "What wasn't held for a client any more, by the bound that was reached."),
    ("confgate_http_accept_errors_total", "Connections that couldn't be accepted for want of something."),
    ("confgate_http_certificate_reloads_total", "Times that changed certificate files were read, by outcome."),
    ("confgate_http_connections_cut_total", "Connections cut by a time limit or for what their client did, by reason."),
    ("confgate_http_connections_open", "Connections to http.listen."),
    ("confgate_http_connections_refused_total", "Connections refused before TLS, by reason."),
    ("confgate_http_handshakes_failed_total", "TLS handshakes that failed."),
    ("confgate_http_responses_total", "HTTP responses, by class of status."),
    ("confgate_http_sessions", "Open sessions by WHIP and WHEP."),
    ("confgate_http_sessions_refused_total", "Sessions by WHIP and WHEP that were refused, by code."),
    ("confgate_http_sessions_total", "Sessions by WHIP and WHEP, by protocol."),
    ("confgate_idle_guests_ended_total", "Guests' accounts ended because nobody used them."),
    ("confgate_janus_notices_waiting", "What a Janus has said that waits for its node."),
    ("confgate_janus_up", "Whether the link to a Janus is up: 1 or 0."),
    ("confgate_link_guesses_failed_total", "Link codes and passwords that led to no conference."),
    ("confgate_logins_failed_total", "Logins that were refused, by grant."),
    (
        "confgate_media_busiest_ratio",
        "The largest share of any bound of a node (packets, connections, rooms); 1 is full.",
    ),
    ("confgate_media_dtls_failures_total", "Peer connections whose DTLS handshake failed."),
    ("confgate_media_endpoints", "Peer connections of a node."),
    ("confgate_media_packets_per_second", "Packets that a node forwards."),
    ("confgate_media_path_failures_total", "Peer connections that found no path, or lost theirs."),
    ("confgate_muc_dropped_total", "What came from MUC rooms, or was for them, and was not passed on, by reason."),
    ("confgate_muc_occupants", "Occupants of the MUC rooms that are conferences."),
    ("confgate_muc_rooms", "MUC rooms that are entered."),
    ("confgate_numbered_events_total", "Events that this node has numbered, by what they follow from."),
    ("confgate_numbering_compares_total", "Comparisons with the EIM's roster, by outcome."),
    ("confgate_numbering_mailbox_commands", "Commands that wait at the owner of numbers that was spoken to last."),
    (
        "confgate_numbering_write_failures_total",
        "Writes of numbered events that the store refused; they are made again.",
    ),
    ("confgate_numberings", "Conferences whose events this node numbers."),
    ("confgate_node_link_events_total", "Numbered events that came over links to other gateway nodes."),
    ("confgate_node_link_failures_total", "Attempts to open a link to another gateway node that failed."),
    ("confgate_node_link_unreadable_total", "Frames of other gateway nodes that could not be read."),
    ("confgate_node_link_waiting", "Requests and events that wait for the gateway node that was spoken to last."),
    ("confgate_node_links", "Links of this node to gateway nodes that number conferences."),
    ("confgate_node_links_lost_total", "Links to other gateway nodes that have ended."),
    ("confgate_nodes_inherited_total", "Gateway nodes that were gone and whose members this node has inherited."),
    ("confgate_one2one_calls", "Calls by Kurento's one-to-one messages, ringing or on."),
    ("confgate_placed_conferences", "Conferences that this node has placed at call gateways."),
    ("confgate_placements_waiting", "Placements that wait to be noted."),
    ("confgate_pull_failed_total", "Streams that could not be had from another node then."),
    ("confgate_pull_links", "Links to other nodes, from which streams are pulled."),
    ("confgate_media_permissions_waiting", "Changes of media permissions that wait to be sent to call gateways."),
    ("confgate_rpc_replies_too_large_total", "Replies that a batch had no room for."),
    ("confgate_rpc_request_seconds", "Time from a JSON-RPC request to its answer, by method."),
    ("confgate_rpc_requests_total", "JSON-RPC requests, by method and outcome."),
    ("confgate_sfu_commands_waiting", "Commands that wait for a media thread."),
    ("confgate_sfu_datagrams_received_total", "Datagrams that media threads have received."),
    ("confgate_sfu_datagrams_stray_total", "Datagrams that belong to no connection."),
    ("confgate_sfu_datagrams_unsent_total", "Datagrams that the system didn't take."),
    ("confgate_sfu_endpoints", "Peer connections of a media thread."),
    ("confgate_sfu_keyframe_requests_total", "Key frames that were asked for."),
    ("confgate_sfu_notices_waiting", "Notices of a media thread that wait."),
    ("confgate_sfu_packets_excess_total", "Packets dropped for senders beyond their bounds."),
    ("confgate_sfu_packets_forwarded_total", "Packets that media threads have forwarded."),
    ("confgate_sfu_rooms", "Rooms of a media thread."),
    ("confgate_sfu_tcp_connections", "Media connections over TCP of a media thread."),
    ("confgate_sfu_tcp_packets_lost_total", "Datagrams of any kind dropped for clients that read too slowly over TCP."),
    ("confgate_sfu_tcp_refused_total", "Media connections over TCP beyond the bounds, by reason."),
    ("confgate_socket_lagged_total", "Event sockets closed because they lagged."),
    ("confgate_socket_queue_bytes", "Bytes that wait for event sockets and call sockets."),
    ("confgate_socket_registrations_total", "Transactions in which event sockets were registered for the other nodes."),
    ("confgate_sockets", "Open event sockets."),
    ("confgate_sockets_unregistered", "Open event sockets of which the other nodes can't know yet."),
    ("confgate_store_refused_total", "Requests to the store that found its queue full."),
    ("confgate_store_requests", "Requests that wait for the store or use it."),
    ("confgate_store_unavailable_total", "Requests that the store couldn't carry out then, such as on a full disk."),
    ("confgate_store_wait_seconds", "Time that requests wait for a connection of the store."),
    ("confgate_tasks", "Tasks of the runtime: some for each connection, conference and request under way."),
    ("confgate_whip_requests_under_way", "Requests to a WHIP server that aren't answered yet."),
    ("confgate_whip_up", "Whether a WHIP server answers: 1 or 0."),
];

/// Starts recording, for the whole process.
pub(super) fn record() -> Result<PrometheusHandle, BuildError> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    let handle = builder.install_recorder()?;
    for (name, help) in FIGURES {
        if name.ends_with("_total") {
            metrics::describe_counter!(*name, *help);
        } else if name.ends_with("_seconds") {
            metrics::describe_histogram!(*name, Unit::Seconds, *help);
        } else {
            metrics::describe_gauge!(*name, *help);
        }
    }
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The names that stand in the sources of that folder.
    fn named(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                named(&path, names);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("app/figures.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let quoted = text.split('"').filter(|word| word.starts_with("confgate_"));
                let plain =
                    |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
                names.extend(quoted.filter(plain).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_figure_is_described_and_every_description_is_of_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut names = BTreeSet::new();
        named(&root.join("src"), &mut names);
        named(&root.join("sfu/src"), &mut names);
        // The device cookie's name and the crate's.
        names.retain(|name| !matches!(name.as_str(), "confgate_device" | "confgate_sfu"));
        let described: BTreeSet<String> = FIGURES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names, described);
        assert_eq!(described.len(), FIGURES.len(), "one is described twice");
        assert!(FIGURES.iter().all(|(_, help)| help.ends_with('.')));
    }
}
