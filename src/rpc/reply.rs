//! A reply as it goes out: pieces in a row. A document that is made once is a piece that all replies share.

use bytes::Bytes;

/// Text written so far, and the finished pieces before it.
#[derive(Default)]
pub struct Reply {
    pieces: Vec<Bytes>,
    text: Vec<u8>,
    shared: usize,
    len: usize,
}

impl Reply {
    /// An empty reply.
    pub fn new() -> Self {
        Self { text: Vec::with_capacity(256), ..Self::default() }
    }

    /// Where text is appended.
    pub fn write(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.len += text.len();
    }

    /// Appends a value.
    pub fn write_json(&mut self, value: &serde_json::Value) {
        let before = self.text.len();
        serde_json::to_writer(&mut self.text, value).expect("a JSON value is written to memory");
        self.len += self.text.len() - before;
    }

    /// Appends a document without copying it.
    pub fn share(&mut self, document: Bytes) {
        self.shared += document.len();
        self.len += document.len();
        self.finish_text();
        self.pieces.push(document);
    }

    /// Appends another reply.
    pub fn append(&mut self, mut other: Self) {
        if other.pieces.is_empty() {
            return self.write(&other.text);
        }
        self.finish_text();
        other.finish_text();
        self.pieces.append(&mut other.pieces);
        self.shared += other.shared;
        self.len += other.len;
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that are this reply's alone.
    pub fn own_len(&self) -> usize {
        self.len - self.shared
    }

    /// The bytes.
    pub fn into_pieces(mut self) -> Vec<Bytes> {
        self.finish_text();
        self.pieces
    }

    /// In one piece, for a transport that takes nothing else.
    pub fn into_bytes(mut self) -> Bytes {
        if self.pieces.is_empty() {
            return self.text.into();
        }
        self.finish_text();
        self.pieces.concat().into()
    }

    fn finish_text(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(std::mem::take(&mut self.text).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_document_is_a_piece_of_its_own_and_not_the_replys() {
        let document = Bytes::from_static(b"{}");
        let mut reply = Reply::new();
        reply.write(b"[1,");
        reply.share(document.clone());
        let mut more = Reply::new();
        more.write(b",2");
        reply.append(more);
        let mut last = Reply::new();
        last.share(document.clone());
        last.write(b"]");
        reply.append(last);
        assert_eq!((reply.len(), reply.own_len()), (10, 6));
        let pieces = reply.into_pieces();
        assert_eq!(pieces, ["[1,", "{}", ",2", "{}", "]"]);
        assert_eq!(pieces[1].as_ptr(), document.as_ptr());
    }

    #[test]
    fn in_one_piece_it_says_the_same() {
        let mut reply = Reply::new();
        reply.write(b"a");
        reply.share(Bytes::from_static(b"b"));
        reply.write(b"c");
        assert_eq!(reply.into_bytes(), "abc");
        let mut text = Reply::new();
        text.write(b"abc");
        assert_eq!((text.len(), text.own_len(), text.into_bytes()), (3, 3, "abc".into()));
    }
}
