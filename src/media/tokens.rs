//! The tokens that a node accepts.

use crate::clock::date_ms;
use crate::ids::Secret;
use crate::media::group::ClientCredentials;
use crate::token::{CallGatewayClaims, ControlClaims, Kind, KindKeys, PullClaims};

/// The key's name for a node that is known by its address only.
pub(super) const PULLERS_KEY: &str = "pull";

/// The keys of one node: whoever shares its secret gives out its tokens.
pub struct Tokens {
    gateway_id: String,
    clients: KindKeys,
    gateways: KindKeys,
    pull_keys: KindKeys,
}

impl Tokens {
    /// The tokens of the node with that id and secret.
    pub fn new(gateway_id: &str, secret: &Secret) -> Self {
        let named = |id: &str| (id.to_owned(), secret.clone());
        let keys = |kind| KindKeys::new(&[named(gateway_id)], kind);
        let (clients, gateways) = (keys(Kind::CallGateway), keys(Kind::Control));
        // A node that pulls may know the address only.
        let pull_keys = KindKeys::new(&[named(gateway_id), named(PULLERS_KEY)], Kind::Pull);
        Self { gateway_id: gateway_id.to_owned(), clients, gateways, pull_keys }
    }

    /// The id of the node that the tokens are for.
    pub fn node(&self) -> &str {
        &self.gateway_id
    }

    /// The claims of a client's token, or of another node's that pulls, unless it is for another node, ill-signed or
    /// expired.
    pub fn client(&self, token: &str) -> ClientCredentials {
        match self.once(token) {
            Some(claims) if serves(claims.exp) => ClientCredentials::Claims(Box::new(claims)),
            Some(_) => ClientCredentials::Refused,
            None => self
                .puller(token)
                .map_or(ClientCredentials::Refused, |claims| ClientCredentials::Pull(Box::new(claims))),
        }
    }

    /// The claims of a client's token, expired or not: for a request on a session that was begun while the token was
    /// valid.
    pub fn once(&self, token: &str) -> Option<CallGatewayClaims> {
        self.clients.verify::<CallGatewayClaims>(token).ok().filter(|claims| claims.gateway_id == self.gateway_id)
    }

    fn puller(&self, token: &str) -> Option<PullClaims> {
        let claims = self.pull_keys.verify::<PullClaims>(token).ok()?;
        let ours = claims.gateway_id.as_ref().is_none_or(|id| *id == self.gateway_id);
        (ours && serves(claims.exp)).then_some(claims)
    }

    /// The gateway that opens a control link.
    pub fn gateway(&self, token: &str) -> Option<String> {
        let claims = self.gateways.verify::<ControlClaims>(token).ok()?;
        (claims.gateway_id == self.gateway_id && serves(claims.exp)).then_some(claims.node)
    }
}

/// `exp`: seconds since 1970.
fn serves(exp: u64) -> bool {
    exp.saturating_mul(1000) > date_ms()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::Role;
    use crate::ids::{ConfId, UserId};

    fn claims(gateway: &str, ttl_s: u64) -> CallGatewayClaims {
        let (conf, user) = (ConfId::parse("c").unwrap(), UserId::parse("anna").unwrap());
        CallGatewayClaims::new(gateway, conf, user, Role::Guest, Duration::from_secs(ttl_s))
    }

    #[test]
    fn a_token_serves_at_its_own_node_in_its_own_time_and_kind() {
        let secret = Secret::new("the node's own secret");
        let tokens = Tokens::new("n1", &secret);
        let sign =
            |kind, claims: &CallGatewayClaims| KindKeys::new(&[("n1".into(), secret.clone())], kind).sign(claims);
        let good = sign(Kind::CallGateway, &claims("n1", 60));
        assert!(matches!(tokens.client(&good), ClientCredentials::Claims(claims) if claims.user_id.as_str() == "anna"));
        let other_key = KindKeys::new(&[("n1".into(), Secret::new("another"))], Kind::CallGateway);
        let bad = [
            sign(Kind::CallGateway, &claims("n2", 60)),
            sign(Kind::CallGateway, &claims("n1", 0)),
            sign(Kind::Control, &claims("n1", 60)),
            other_key.sign(&claims("n1", 60)),
            String::new(),
        ];
        for token in bad {
            assert!(matches!(tokens.client(&token), ClientCredentials::Refused), "{token}");
        }
    }

    #[test]
    fn a_pull_token_serves_at_the_node_that_it_names_or_at_any_that_has_the_secret() {
        let secret = Secret::new("the node's own secret");
        let tokens = Tokens::new("n1", &secret);
        let keys = |secret: &Secret| KindKeys::new(&[("n1".into(), secret.clone())], Kind::Pull);
        let claims = |node: Option<&str>, ttl_s| {
            PullClaims::new(node, ConfId::parse("c").unwrap(), Some("anna"), Duration::from_secs(ttl_s))
        };
        for node in [Some("n1"), None] {
            let credentials = tokens.client(&keys(&secret).sign(&claims(node, 60)));
            assert!(
                matches!(credentials, ClientCredentials::Pull(claims) if claims.stream.as_deref() == Some("anna")),
                "{node:?}"
            );
        }
        let bad = [
            keys(&secret).sign(&claims(Some("n2"), 60)),
            keys(&secret).sign(&claims(Some("n1"), 0)),
            keys(&Secret::new("another")).sign(&claims(None, 60)),
        ];
        for token in bad {
            assert!(matches!(tokens.client(&token), ClientCredentials::Refused), "{token}");
        }
    }

    #[test]
    fn a_control_link_is_a_gateways() {
        let secret = Secret::new("the node's own secret");
        let keys = KindKeys::new(&[("n1".into(), secret.clone())], Kind::Control);
        let tokens = Tokens::new("n1", &secret);
        let claims = |gateway: &str| ControlClaims::new(gateway, "g1", Duration::from_secs(60));
        assert_eq!(tokens.gateway(&keys.sign(&claims("n1"))).as_deref(), Some("g1"));
        assert_eq!(tokens.gateway(&keys.sign(&claims("n2"))), None);
        let client = KindKeys::new(&[("n1".into(), secret)], Kind::CallGateway);
        assert_eq!(tokens.gateway(&client.sign(&claims("n1"))), None);
    }
}
