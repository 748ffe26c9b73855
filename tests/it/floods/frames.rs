//! HTTP/2 frames, byte by byte (RFC 9113).

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const NO_ERROR: u32 = 0;
pub const CANCEL: u32 = 8;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        values.iter().flat_map(|(key, value)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// The first bytes of a connection.
pub fn opening(values: &[(u16, u32)]) -> Vec<u8> {
    [PREFACE, &settings(values), &frame(SETTINGS, ACK, 0, &[])].concat()
}

/// The n-th stream that a client opens.
pub fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// A field as HPACK's "literal without indexing", both name and value as they are (RFC 7541, section 6.2.2).
pub fn literal(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0], &string(name.as_bytes())[..], &string(value)].concat()
}

/// A field that goes into the dynamic table (section 6.2.1).
pub fn indexed(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0x40], &string(name.as_bytes())[..], &string(value)].concat()
}

/// The field that went into the dynamic table last (section 6.1).
pub const LAST_INDEXED: u8 = 0x80 | 62;

fn string(text: &[u8]) -> Vec<u8> {
    // A length in seven bits, continued seven by seven (section 5.1).
    let mut out = Vec::new();
    if text.len() < 127 {
        out.push(text.len() as u8);
    } else {
        out.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend(text);
    out
}

/// The fields of a request, which is `GET` or `POST` of that path.
pub fn request(method: &str, path: &str) -> Vec<u8> {
    let method = if method == "GET" { 0x82 } else { 0x83 };
    [&[method, 0x87][..], &literal(":path", path.as_bytes()), &literal(":authority", b"localhost")].concat()
}
