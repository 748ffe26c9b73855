//! Texts for `org.user.processIQ` against another parser: what we accept, written onto a stream, is to expat the one
//! stanza that its caller meant, and the stream is in step.

use std::io::Write;
use std::process::{Command, Stdio};

use confgate::xmpp::stream::{Incoming, StreamIdentity, XmppStream};
use confgate::xmpp::xml::Stanza;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Larger than any text.
const PIPE_BYTES: usize = 1024 * 1024;
/// Cases for each of proptest's own number of cases, which `tests/run --full` raises.
const CASES: u64 = 16;

const NAMES: [&str; 12] = ["a", "iq", "x", "jeExtension", "会议", "xml", "xmlns", "_9.-", "Ñ", "Стол", "ns1", "e"];
const ODD_NAMES: [&str; 8] = ["1a", "a b", "नाम", "a\u{0}", "\u{FEFF}a", "a:b", "\u{10000}", "-"];
const PREFIXES: [&str; 4] = ["p", "q", "ns1", "xml"];
const ODD_PREFIXES: [&str; 5] = ["xmlns", "", "stream", "1", "P\u{218}"];
const NAMESPACES: [&str; 8] =
    ["u", "urn:x", "jabber:client", "je:x:client:config", "jabber:component:accept", "{}", "会", "http://x?a&amp;b"];
const ODD_NAMESPACES: [&str; 6] =
    ["", "a b", "a&#10;b", "http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/", "&#120;"];
const TEXTS: [&str; 14] = [
    "t",
    " ",
    "\n",
    "\r\n",
    "\t",
    "&lt;&amp;&gt;&quot;&apos;",
    "&#x4F1A;&#13;",
    "会议 🎥",
    "]]&gt;",
    "<![CDATA[<&\r]]>",
    "\u{FEFF}",
    "\u{85}\u{2028}",
    "\u{10FFFF}",
    "שלום",
];
const ODD_PIECES: [&str; 24] = [
    "\u{FEFF}",
    "<",
    ">",
    "&",
    "]]>",
    "<![CDATA[",
    "<!-- c -->",
    "<?pi?>",
    "'",
    "\"",
    "&#0;",
    "&#xFFFE;",
    "\u{0}",
    "\u{FFFE}",
    "\u{B}",
    "xmlns:",
    "xmlns:a=''",
    "/>",
    "</a>",
    "<a>",
    "<xmlns:a/>",
    ":",
    "=",
    "&nbsp;",
];

/// A maker of texts, most of them well-formed.
struct Maker(StdRng);

impl Maker {
    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.0.random_range(0..of.len())]
    }

    /// Seldom an odd one.
    fn pick<'t>(&mut self, usual: &[&'t str], odd: &[&'t str]) -> &'t str {
        if self.0.random_bool(0.02) { self.one(odd) } else { self.one(usual) }
    }

    fn text(&mut self) -> String {
        let mut text = format!("<iq to='jeprivacy.ips3000' id='1' type='get'>{}</iq>", self.element(0, &[]));
        if self.0.random_bool(0.3) {
            let at = text.char_indices().map(|(at, _)| at).nth(self.0.random_range(0..text.chars().count()));
            let at = at.expect("it is within the text");
            match self.0.random_range(0..3) {
                0 => text.insert_str(at, self.one(&ODD_PIECES)),
                1 => drop(text.remove(at)),
                _ => text.replace_range(
                    at..=at + text[at..].chars().next().map_or(0, |c| c.len_utf8() - 1),
                    self.one(&ODD_PIECES),
                ),
            }
        }
        text
    }

    fn element(&mut self, depth: usize, outer: &[&'static str]) -> String {
        let mut known = outer.to_vec();
        let mut tag = String::new();
        if self.0.random_bool(0.4) {
            tag += &format!(" xmlns='{}'", self.pick(&NAMESPACES, &ODD_NAMESPACES));
        }
        for _ in 0..self.0.random_range(0..3) {
            let prefix = self.pick(&PREFIXES[..3], &ODD_PREFIXES);
            if !tag.contains(&format!("xmlns:{prefix}=")) {
                tag += &format!(" xmlns:{prefix}=\"{}\"", self.pick(&NAMESPACES, &ODD_NAMESPACES));
                known.push(prefix);
            }
        }
        for at in 0..self.0.random_range(0..3) {
            let value = if self.0.random_bool(0.5) { "v'&gt;\t&#10;" } else { "" };
            tag += &match self.0.random_range(0..3) {
                0 if !known.is_empty() => {
                    format!(" {}:{}{at}=\"{value}\"", self.pick(&known, &ODD_PREFIXES), self.one(&NAMES[..3]))
                }
                1 if at == 0 => format!(" xml:lang=\"{value}\""),
                _ => format!(" {}{at}=\"{value}\"", self.pick(&NAMES, &ODD_NAMES)),
            };
        }
        let local = self.pick(&NAMES, &ODD_NAMES);
        let name = if !known.is_empty() && self.0.random_bool(0.3) {
            format!("{}:{local}", self.pick(&known, &ODD_PREFIXES))
        } else {
            local.to_owned()
        };
        let mut content = String::new();
        for _ in 0..self.0.random_range(0..3) {
            content += self.pick(&TEXTS, &ODD_PIECES);
            if depth < 4 {
                content += &self.element(depth + 1, &known);
            }
        }
        if content.is_empty() { format!("<{name}{tag}/>") } else { format!("<{name}{tag}>{content}</{name} >") }
    }
}

/// Texts that were kept because they are told apart wrongly somewhere.
fn kept() -> Vec<String> {
    let lines = include_str!("../corpus/stanzas/kept.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).expect("a line is a JSON string")).collect()
}

/// Hands each to expat; gives what it says against us.
fn judged(header: &str, texts: &[String], stanzas: &[String]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/expat.py");
    let mut expat = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed (see tests/run)");
    let input = json!({ "header": header, "texts": texts, "stanzas": stanzas }).to_string();
    expat.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("the judge reads");
    let output = expat.wait_with_output().expect("the judge ends");
    assert!(output.status.success(), "the judge failed: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Both ends of a stream on which a component speaks.
struct Wire {
    here: XmppStream,
    there: DuplexStream,
}

impl Wire {
    fn new() -> Self {
        let (here, there) = tokio::io::duplex(PIPE_BYTES);
        let voice = StreamIdentity::Component(vec!["webconf.ips3000".to_owned()]);
        Self { here: XmppStream::new(Box::new(here), voice), there }
    }

    /// The stream's output.
    async fn written(&mut self) -> String {
        self.here.flush().await.expect("the pipe is open");
        let mut bytes = Vec::with_capacity(PIPE_BYTES);
        self.there.read_buf(&mut bytes).await.expect("the pipe is open");
        String::from_utf8(bytes).expect("a stream is UTF-8")
    }

    /// As the callers' link sends it.
    async fn send(&mut self, mut iq: Stanza) -> String {
        iq.set("from", "u1%ips3000@webconf.ips3000/uc");
        iq.set("to", "jeprivacy.ips3000");
        assert!(self.here.queue(&iq), "it has its addresses");
        self.written().await
    }
}

/// Our own reader finds each whole, too.
async fn read_back(header: &str, stanzas: &[String]) {
    let (here, mut there) = tokio::io::duplex(PIPE_BYTES);
    let mut here = XmppStream::new(Box::new(here), StreamIdentity::Server);
    there.write_all(header.as_bytes()).await.expect("the pipe is open");
    here.next_header().await.expect("a header");
    for stanza in stanzas {
        there.write_all(stanza.as_bytes()).await.expect("the pipe is open");
        let incoming = here.incoming().await.unwrap_or_else(|e| panic!("{e}: {stanza}"));
        assert!(matches!(incoming, Incoming::Stanza(_)), "{stanza}");
    }
}

#[tokio::test]
async fn accepted_text_is_exactly_one_intended_stanza_to_expat() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256) * CASES;
    let mut wire = Wire::new();
    wire.here.queue_header("jabber:client", &[("to", "webconf.ips3000")]);
    let header = wire.written().await;
    let mut maker = Maker(StdRng::seed_from_u64(6120));
    let made = (0..cases).map(|_| maker.text());
    let (mut texts, mut stanzas) = (Vec::new(), Vec::new());
    for text in kept().into_iter().chain(made) {
        if let Ok(iq) = Stanza::parse(&text) {
            stanzas.push(wire.send(iq).await);
            texts.push(text);
        }
    }
    let accepted = texts.len() as u64;
    assert!((cases / 4..cases).contains(&accepted), "{accepted} of {cases} are accepted: not both sides are tried");
    read_back(&header, &stanzas).await;
    assert_eq!(judged(&header, &texts, &stanzas), "");
}

#[test]
fn the_judge_tells_what_is_not_as_it_was_meant() {
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    let meant = "<iq><x xmlns='u'>t</x></iq>";
    for written in
        ["<iq><x xmlns='v'>t</x></iq>", "<iq><x xmlns='u'>t</x></iq><iq/>", "<iq><x xmlns='u'>t</x>", "<iq><x:x/></iq>"]
    {
        assert_ne!(judged(header, &[meant.to_owned()], &[written.to_owned()]), "", "{written}");
    }
}
