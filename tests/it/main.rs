//! Everything that is tested from outside: the real binary, real XMPP servers, a real browser. One binary, so that
//! it is linked once; each module is a subject, and `support` is the vocabulary they share.

mod access;
mod browser_calls;
mod browser_group_calls;
mod browser_story;
mod call_enforcement;
mod call_failover;
mod call_nodes;
mod callgw;
mod calls;
mod cascade;
mod commands;
mod cuts;
mod dialogues;
mod door;
mod eim_faults;
mod faces;
mod faces_ways;
mod floors;
mod groupcall;
mod harness;
mod hostile_rpc;
mod janus;
mod janus_cascade;
mod links;
mod one2one;
mod pulls;
mod rpc_shape;
mod schema_dir;
mod signalling;
mod sockets;
mod stage;
mod story;
mod support;
mod whip;
mod xmpp;
