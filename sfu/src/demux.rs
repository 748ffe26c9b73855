//! Finds the endpoint of a datagram, without asking each: by the address it came from, and for an address not seen
//! before by the ICE user fragment of its STUN request (RFC 8445, 7.3).

use std::collections::HashMap;
use std::net::SocketAddr;

use str0m::ice::StunMessage;
use str0m::net::Protocol;

use crate::protocol::EndpointId;

/// Addresses that one endpoint's datagrams come from: a client has a few paths (interfaces, relay), and a NAT may move
/// it. A client with its password could otherwise fill the map.
const ADDRESSES_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Remote {
    pub(crate) proto: Protocol,
    pub(crate) address: SocketAddr,
}

/// Owned by the worker.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    by_address: HashMap<Remote, EndpointId>,
    by_fragment: HashMap<String, EndpointId>,
    of_endpoint: HashMap<EndpointId, Names>,
}

#[derive(Debug, Default)]
struct Names {
    addresses: Vec<Remote>,
    fragments: Vec<String>,
}

impl Demux {
    /// The endpoint is reached by requests for this local user fragment. After an ICE restart the former one serves
    /// on, until the endpoint ends.
    pub(crate) fn name(&mut self, endpoint: EndpointId, fragment: String) {
        if self.by_fragment.insert(fragment.clone(), endpoint).is_none() {
            self.of_endpoint.entry(endpoint).or_default().fragments.push(fragment);
        }
    }

    /// The endpoint of a datagram. A STUN request's user fragment counts more than the address: a browser's next
    /// connection may come from the address of its last.
    pub(crate) fn endpoint(&self, remote: Remote, bytes: &[u8]) -> Option<EndpointId> {
        let known = self.by_address.get(&remote).copied();
        if is_stun(bytes) {
            stun_fragment(bytes).map_or(known, |name| self.by_fragment.get(&name).copied())
        } else {
            known
        }
    }

    pub(crate) fn knows(&self, endpoint: EndpointId, remote: Remote) -> bool {
        self.by_address.get(&remote) == Some(&endpoint)
    }

    /// The endpoint's ICE agent took a request from this address.
    pub(crate) fn learn(&mut self, endpoint: EndpointId, remote: Remote) {
        if self.by_address.get(&remote) == Some(&endpoint) {
            return;
        }
        let Some(names) = self.of_endpoint.get_mut(&endpoint) else { return };
        if names.addresses.len() == ADDRESSES_MAX {
            let oldest = names.addresses.remove(0);
            if self.by_address.get(&oldest) == Some(&endpoint) {
                self.by_address.remove(&oldest);
            }
        }
        names.addresses.push(remote);
        self.by_address.insert(remote, endpoint);
    }

    pub(crate) fn forget(&mut self, endpoint: EndpointId) {
        let Some(names) = self.of_endpoint.remove(&endpoint) else { return };
        for remote in names.addresses {
            if self.by_address.get(&remote) == Some(&endpoint) {
                self.by_address.remove(&remote);
            }
        }
        for fragment in names.fragments {
            self.by_fragment.remove(&fragment);
        }
    }
}

/// RFC 7983, section 7: the first byte of STUN is 0 to 3; a header has 20 bytes.
fn is_stun(bytes: &[u8]) -> bool {
    bytes.len() >= 20 && bytes[0] < 4
}

/// The local user fragment that a STUN request names; `None` when it is no well-formed request.
pub(crate) fn stun_fragment(bytes: &[u8]) -> Option<String> {
    if !is_stun(bytes) {
        return None;
    }
    let message = StunMessage::parse(bytes).ok()?;
    if !message.is_binding_request() {
        return None;
    }
    message.split_username().map(|(local, _)| local.to_owned())
}
