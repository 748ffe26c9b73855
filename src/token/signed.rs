//! Compact JWS (RFC 7515) with HS256, as far as our own tokens need it. Nobody else signs them, so whatever we would not
//! have written is refused: other header members (`crit`, `b64`, `cty`, `jwk` among them), unknown key ids, a member
//! twice, base64url that is not canonical, another kind's claims, a time still to come.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{AUDIENCE, Kind, derive};
use crate::clock::date_ms;
use crate::ids::Secret;

/// Longest token that is looked at, in bytes.
pub const TOKEN_MAX: usize = 4096;
/// The one algorithm: RFC 7518 section 3.2.
const ALGORITHM: &str = "HS256";
const TYPE: &str = "JWT";
/// How far another gateway's clock may be ahead, in seconds: RFC 7519 section 4.1.5 allows a small leeway.
const LEEWAY_S: u64 = 5;

/// The token is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// The keys for one kind of token.
pub struct KindKeys {
    kind: Kind,
    /// By key id; the first is the one that signs.
    keys: Vec<(String, hmac::Key)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
    alg: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

/// The claims that every kind has, and those of RFC 7519 that none may break.
#[derive(Deserialize)]
struct Registered {
    typ: String,
    aud: String,
    #[serde(default)]
    nbf: Option<u64>,
    #[serde(default)]
    iat: Option<u64>,
}

impl KindKeys {
    /// # Panics
    /// Without any key.
    pub fn new(configured: &[(String, Secret)], kind: Kind) -> Self {
        assert!(!configured.is_empty(), "there is a signing key");
        let derived = |secret: &Secret| hmac::Key::new(hmac::HMAC_SHA256, &derive(secret.expose(), kind.name()));
        Self { kind, keys: configured.iter().map(|(id, secret)| (id.clone(), derived(secret))).collect() }
    }

    /// Signs the claims.
    pub fn sign(&self, claims: &impl Serialize) -> String {
        let (id, key) = &self.keys[0];
        let head = Head { typ: Some(TYPE.into()), alg: ALGORITHM.into(), kid: Some(id.clone()) };
        let mut token = format!("{}.{}", encoded(&head), encoded(claims));
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(key, token.as_bytes()));
        token.push('.');
        token.push_str(&tag);
        token
    }

    /// The claims, if the signature is one of ours for that kind and they serve by now. Deadlines are not looked at: by
    /// them the caller tells expired tokens from invalid ones.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn verify<T: DeserializeOwned>(&self, token: &str) -> Result<T, Invalid> {
        if token.len() > TOKEN_MAX {
            return Err(Invalid);
        }
        let (signed, tag) = token.rsplit_once('.').ok_or(Invalid)?;
        let (head, claims) = signed.split_once('.').ok_or(Invalid)?;
        let key = self.key(&read(&decoded(head)?)?)?;
        hmac::verify(key, signed.as_bytes(), &decoded(tag)?).map_err(|_| Invalid)?;
        let claims = decoded(claims)?;
        self.check(&read(&claims)?)?;
        read(&claims)
    }

    fn key(&self, head: &Head) -> Result<&hmac::Key, Invalid> {
        if head.alg != ALGORITHM || head.typ.as_deref().is_some_and(|typ| typ != TYPE) {
            return Err(Invalid);
        }
        let found = match (&head.kid, self.keys.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|(id, _)| id == kid),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        found.map(|(_, key)| key).ok_or(Invalid)
    }

    fn check(&self, claims: &Registered) -> Result<(), Invalid> {
        let latest = date_ms() / 1000 + LEEWAY_S;
        // A link says from when it serves; who comes before is told so.
        let nbf = claims.nbf.filter(|_| self.kind != Kind::Link);
        let is_early = nbf.max(claims.iat).is_some_and(|from| from > latest);
        let is_ours = claims.typ == self.kind.name() && claims.aud == AUDIENCE;
        if is_ours && !is_early { Ok(()) } else { Err(Invalid) }
    }
}

fn encoded(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("headers and claims have string keys"))
}

fn decoded(text: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid)
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Invalid> {
    serde_json::from_slice(json).map_err(|_| Invalid)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ids::ConfId;
    use crate::token::PullClaims;

    fn keys(kind: Kind) -> KindKeys {
        KindKeys::new(&[("k1".into(), Secret::new("a secret"))], kind)
    }

    /// Signed with our own key, whatever it is.
    fn signed(keys: &KindKeys, head: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&keys.keys[0].1, signed.as_bytes()));
        format!("{signed}.{tag}")
    }

    fn claims() -> PullClaims {
        let (conf, ttl) = (ConfId::parse("c").unwrap(), std::time::Duration::from_secs(60));
        PullClaims::new(Some("n1"), conf, Some("anna"), ttl)
    }

    fn is_taken(keys: &KindKeys, token: &str) -> bool {
        keys.verify::<PullClaims>(token).is_ok()
    }

    #[test]
    fn a_header_with_anything_but_our_own_members_is_refused() {
        let (keys, claims) = (keys(Kind::Pull), serde_json::to_string(&claims()).unwrap());
        let good = [r#"{"alg":"HS256"}"#, r#"{"typ":"JWT","alg":"HS256","kid":"k1"}"#];
        good.iter().for_each(|head| assert!(is_taken(&keys, &signed(&keys, head, &claims)), "{head}"));
        let bad = [
            r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
            r#"{"alg":"HS256","crit":[]}"#,
            r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
            r#"{"alg":"HS256","b64":false}"#,
            r#"{"alg":"HS256","b64":true}"#,
            r#"{"alg":"HS256","cty":"JWT"}"#,
            r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
            r#"{"alg":"HS256","jku":"https://evil.example/"}"#,
            r#"{"alg":"HS256","x5c":[]}"#,
            r#"{"alg":"HS256","zip":"DEF"}"#,
            r#"{"alg":"HS256","typ":"JOSE"}"#,
            r#"{"alg":"HS256","typ":"at+jwt"}"#,
            r#"{"alg":"HS256","kid":"k2"}"#,
            r#"{"alg":"HS256","kid":""}"#,
            r#"{"alg":"HS256","alg":"HS256"}"#,
            r#"{"alg":"none","alg":"HS256"}"#,
            r#"{"alg":"HS256","kid":"k1","kid":"k1"}"#,
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":"HS384"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":"HS256"} {}"#,
            r#"["HS256"]"#,
            "{}",
            "",
        ];
        bad.iter().for_each(|head| assert!(!is_taken(&keys, &signed(&keys, head, &claims)), "{head}"));
    }

    #[test]
    fn claims_of_another_kind_or_of_a_time_still_to_come_are_refused() {
        let keys = keys(Kind::Pull);
        let head = r#"{"alg":"HS256"}"#;
        let with = |name: &str, value: Value| {
            let mut claims = serde_json::to_value(claims()).unwrap();
            claims[name] = value;
            signed(&keys, head, &claims.to_string())
        };
        let now = date_ms() / 1000;
        for (name, value) in [("nbf", json!(now)), ("iat", json!(now)), ("nbf", json!(0)), ("x", json!(1))] {
            assert!(is_taken(&keys, &with(name, value)), "{name}");
        }
        let far = now + 60;
        let bad = [
            ("nbf", json!(far)),
            ("iat", json!(far)),
            ("nbf", json!(far as f64 + 0.5)),
            ("nbf", json!(u64::MAX)),
            ("nbf", json!("0")),
            ("nbf", json!(-1)),
            ("exp", json!(far as f64 + 0.5)),
            ("exp", json!(1e300)),
            ("exp", json!("9999999999")),
            ("exp", Value::Null),
            ("aud", json!("elsewhere")),
            ("aud", json!(["confgate", "elsewhere"])),
            ("aud", Value::Null),
            ("typ", json!("access")),
            ("typ", Value::Null),
        ];
        for (name, value) in bad {
            assert!(!is_taken(&keys, &with(name, value.clone())), "{name} {value}");
        }
        for gone in ["exp", "aud", "typ", "confId"] {
            let mut claims = serde_json::to_value(claims()).unwrap();
            claims.as_object_mut().unwrap().remove(gone);
            assert!(!is_taken(&keys, &signed(&keys, head, &claims.to_string())), "without {gone}");
        }
        let twice = serde_json::to_string(&claims()).unwrap().replacen('{', r#"{"confId":"d","#, 1);
        assert!(!is_taken(&keys, &signed(&keys, head, &twice)), "a member twice");
        let more = serde_json::to_string(&claims()).unwrap() + " {}";
        assert!(!is_taken(&keys, &signed(&keys, head, &more)), "data behind the claims");
    }

    #[test]
    fn a_token_is_three_canonical_parts_and_nothing_around_them() {
        let keys = keys(Kind::Pull);
        let token = keys.sign(&claims());
        assert!(is_taken(&keys, &token));
        let [head, claims, tag] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
        // The last of 43 characters stands for four bits and two of padding, which must be zero.
        let other = |last: char| format!("{head}.{claims}.{}{last}", &tag[..tag.len() - 1]);
        let alphabet = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']);
        assert_eq!(alphabet.map(other).filter(|token| is_taken(&keys, token)).count(), 1, "one spelling of the tag");
        let bad = [
            format!("{token}="),
            format!("{token}."),
            format!("{token}.x"),
            format!(".{token}"),
            format!(" {token}"),
            format!("{token}\n"),
            format!("{head}.{claims}."),
            format!("{head}.{claims}"),
            format!("{head}.{claims}.AAAA"),
            format!("{head}=.{claims}.{tag}"),
            format!("{head}..{claims}.{tag}"),
            String::new(),
            "..".into(),
            "a.b.c".into(),
            "x".repeat(TOKEN_MAX + 1),
        ];
        bad.iter().for_each(|token| assert!(!is_taken(&keys, token), "{token}"));
        let none = format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(br#"{"alg":"none"}"#));
        assert!(!is_taken(&keys, &none));
        let huge = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(TOKEN_MAX));
        assert!(!is_taken(&keys, &signed(&keys, &huge, "{}")));
    }
}
