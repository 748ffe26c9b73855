//! As much of STUN (RFC 8489) and TURN (RFC 8656) as it takes to ask a server for a relay, and to give it back.

use aws_lc_rs::hmac;
use md5::{Digest, Md5};

use crate::ids::random_bytes;

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
/// Bytes of a message's header.
pub const HEADER: usize = 20;
/// Bytes of an attribute's type and length.
const ATTRIBUTE: usize = 4;
/// Bytes of an HMAC-SHA1.
const INTEGRITY: usize = 20;

/// A method, with the class of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Method {
    Binding = 0x0001,
    Allocate = 0x0003,
    Refresh = 0x0004,
}

/// Added to a method: the classes of answers.
const SUCCESS: u16 = 0x0100;
const ERROR: u16 = 0x0110;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const LIFETIME: u16 = 0x000D;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const REQUESTED_TRANSPORT: u16 = 0x0019;

/// UDP's number among IP's protocols: what a relay sends on by.
const UDP: [u8; 4] = [17, 0, 0, 0];

/// The server's challenge before it looks at a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub realm: Vec<u8>,
    pub nonce: Vec<u8>,
}

/// The requester, in the long-term credential mechanism.
pub struct Credentials<'a> {
    pub username: &'a str,
    pub password: &'a str,
}

/// A request, ready to be sent.
pub struct Request {
    method: Method,
    pub bytes: Vec<u8>,
}

impl Request {
    /// A refresh gives the relay back. `signed`: as the server demands it.
    pub fn new(method: Method, signed: Option<(&Credentials<'_>, &Challenge)>) -> Self {
        let mut request = Self { method, bytes: Vec::with_capacity(256) };
        request.bytes.extend((method as u16).to_be_bytes());
        request.bytes.extend([0, 0]);
        request.bytes.extend(MAGIC_COOKIE);
        request.bytes.extend(random_bytes::<12>());
        match method {
            Method::Binding => {}
            Method::Allocate => request.add(REQUESTED_TRANSPORT, &UDP),
            // Zero gives the relay back.
            Method::Refresh => request.add(LIFETIME, &[0; 4]),
        }
        if let Some((credentials, challenge)) = signed {
            request.sign(credentials, challenge);
        }
        request
    }

    fn add(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend((value.len() as u16).to_be_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_length(self.bytes.len() - HEADER);
    }

    fn set_length(&mut self, length: usize) {
        self.bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    }

    fn sign(&mut self, credentials: &Credentials<'_>, challenge: &Challenge) {
        self.add(USERNAME, credentials.username.as_bytes());
        self.add(REALM, &challenge.realm);
        self.add(NONCE, &challenge.nonce);
        // The signed part has the length that includes the signature.
        self.set_length(self.bytes.len() - HEADER + ATTRIBUTE + INTEGRITY);
        let parts = [credentials.username.as_bytes(), &challenge.realm, credentials.password.as_bytes()];
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &Md5::digest(parts.join(&b':')));
        let signature = hmac::sign(&key, &self.bytes);
        self.add(MESSAGE_INTEGRITY, signature.as_ref());
    }
}

/// How many bytes follow a message's header. `None`: it isn't one.
pub fn length(header: &[u8; HEADER]) -> Option<usize> {
    let is_one = header[0] & 0xC0 == 0 && header[4..8] == MAGIC_COOKIE;
    is_one.then(|| usize::from(u16::from_be_bytes([header[2], header[3]])))
}

/// The answer of a server.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Success,
    /// With what it wants to be asked by, where it says so.
    Error {
        code: u16,
        reason: String,
        challenge: Option<Challenge>,
    },
}

impl Answer {
    /// `None`: it is no answer to that request.
    pub fn read(bytes: &[u8], to: &Request) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let rest = bytes.get(HEADER..HEADER + length(header)?)?;
        if header[4..] != to.bytes[4..HEADER] {
            return None;
        }
        match u16::from_be_bytes([header[0], header[1]]) {
            kind if kind == to.method as u16 | SUCCESS => Some(Self::Success),
            kind if kind == to.method as u16 | ERROR => Some(Self::error(rest)),
            _ => None,
        }
    }

    fn error(mut rest: &[u8]) -> Self {
        let (mut code, mut reason, mut realm, mut nonce) = (0, String::new(), None, None);
        while let Some((head, tail)) = rest.split_first_chunk::<ATTRIBUTE>() {
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let Some(value) = tail.get(..length) else { break };
            match u16::from_be_bytes([head[0], head[1]]) {
                ERROR_CODE if length >= 4 => {
                    code = u16::from(value[2] & 7) * 100 + u16::from(value[3]);
                    reason = String::from_utf8_lossy(&value[4..]).into_owned();
                }
                REALM => realm = Some(value.to_vec()),
                NONCE => nonce = Some(value.to_vec()),
                _ => {}
            }
            rest = tail.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        let challenge = realm.zip(nonce).map(|(realm, nonce)| Challenge { realm, nonce });
        Self::Error { code, reason, challenge }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(request: &Request, class: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut answer = Request { method: request.method, bytes: request.bytes[..HEADER].to_vec() };
        attributes.iter().for_each(|(kind, value)| answer.add(*kind, value));
        answer.set_length(answer.bytes.len() - HEADER);
        answer.bytes[..2].copy_from_slice(&(request.method as u16 | class).to_be_bytes());
        answer.bytes
    }

    #[test]
    fn an_answer_is_read_only_to_its_own_request() {
        let (request, other) = (Request::new(Method::Allocate, None), Request::new(Method::Allocate, None));
        let bytes = answer(&request, SUCCESS, &[]);
        assert_eq!(Answer::read(&bytes, &request), Some(Answer::Success));
        assert_eq!(Answer::read(&bytes, &other), None, "another transaction");
        let mut asked_else = Request::new(Method::Refresh, None);
        asked_else.bytes[4..HEADER].copy_from_slice(&request.bytes[4..HEADER]);
        assert_eq!(Answer::read(&bytes, &asked_else), None, "another method");
        for cut in 0..bytes.len() {
            assert_eq!(Answer::read(&bytes[..cut], &request), None);
        }
    }

    #[test]
    fn an_error_tells_its_code_its_words_and_what_the_server_wants() {
        let request = Request::new(Method::Allocate, None);
        let attributes: [(u16, &[u8]); 3] =
            [(ERROR_CODE, b"\0\0\x04\x01Unauthorized"), (REALM, b"confgate"), (NONCE, b"n-1")];
        let bytes = answer(&request, ERROR, &attributes);
        let challenge = Some(Challenge { realm: b"confgate".to_vec(), nonce: b"n-1".to_vec() });
        let expected = Answer::Error { code: 401, reason: "Unauthorized".to_owned(), challenge };
        assert_eq!(Answer::read(&bytes, &request), Some(expected));
        let nothing = Answer::Error { code: 0, reason: String::new(), challenge: None };
        assert_eq!(Answer::read(&answer(&request, ERROR, &[(ERROR_CODE, b"\0\0")]), &request), Some(nothing));
    }

    /// RFC 5769 has no such sample with REQUESTED-TRANSPORT; what is signed, and by what key, is that of its section 2.4.
    #[test]
    fn a_request_is_signed_over_all_before_the_signature_with_its_length() {
        let challenge = Challenge { realm: b"example.org".to_vec(), nonce: b"f//499k954d6OL34oL9FSTvy64sA".to_vec() };
        let credentials = Credentials { username: "user", password: "pass" };
        let request = Request::new(Method::Allocate, Some((&credentials, &challenge)));
        assert_eq!(length(request.bytes.first_chunk().unwrap()), Some(request.bytes.len() - HEADER));
        let signed = request.bytes.len() - ATTRIBUTE - INTEGRITY;
        // MD5 of user:example.org:pass, by md5sum.
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &KEY);
        hmac::verify(&key, &request.bytes[..signed], &request.bytes[signed + ATTRIBUTE..]).unwrap();
    }

    const KEY: [u8; 16] =
        [0xab, 0xca, 0x35, 0x35, 0x6f, 0x4b, 0x00, 0xfb, 0xc3, 0x3e, 0x2d, 0x8c, 0x2c, 0x43, 0xb9, 0xd6];
}
