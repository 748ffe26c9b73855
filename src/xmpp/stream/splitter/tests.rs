//! Frames from bytes, however they are cut.

use super::*;
use crate::xmpp::xml::read;
use proptest::prelude::*;

const HEAD: &str = "<?xml version='1.0'?>\n<stream:stream xmlns:stream='s' id='a>b'>";

fn frames(cuts: &[&[u8]]) -> Result<Vec<String>, FramingError> {
    let (mut splitter, mut out) = (Splitter::default(), Vec::new());
    for cut in cuts {
        splitter.feed(cut);
        while let Some(frame) = splitter.next_frame()? {
            out.push(match frame {
                Frame::Open(t) => format!("open {t}"),
                Frame::Stanza(t) => t.to_owned(),
                Frame::Skipped(head, why) => format!("{why}: {}", head.into_stanza().to_xml()),
                Frame::Close => "close".to_owned(),
            });
        }
    }
    Ok(out)
}

fn after_head(text: &str) -> Result<Vec<String>, FramingError> {
    frames(&[HEAD.as_bytes(), text.as_bytes()]).map(|f| f[1..].to_vec())
}

#[test]
fn stanzas_come_out_whole_however_the_bytes_are_cut() {
    let stanzas = [
        "<iq a='>' b=\"'/>\"><x><y/>t</x></iq>",
        "<handshake/>",
        "<m><![CDATA[</m>]] ><x>]]]></m>",
        "<会议 名='张'>\u{1F600}</会议 >",
        "<stream:error><a/></stream:error>",
    ];
    let text = format!("{HEAD} {} \n</stream:stream>", stanzas.join(" \n"));
    let mut expected = vec![format!("open {}", &HEAD[HEAD.find("<s").unwrap()..])];
    expected.extend(stanzas.map(str::to_owned));
    expected.push("close".into());
    assert_eq!(frames(&[text.as_bytes()]).unwrap(), expected);
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(frames(&bytes).unwrap(), expected);
}

#[test]
fn input_that_confuses_the_framing_is_refused() {
    let bad = [
        "x",
        "<!-- c -->",
        "<a><!-- c --></a>",
        "<a><!DOCTYPE b></a>",
        "<?pi?>",
        "<a><?pi?></a>",
        "<a></b>",
        "<a/ >",
        "<a / b='1'>",
        "<a b='<'/>",
        "<a <b/>>",
        "< a/>",
        "<>",
        "</other>",
        "<a></a/>",
        "<a'b'/>",
        "</stream:stream><a/>",
    ];
    for text in bad {
        assert!(after_head(text).is_err(), "accepted: {text}");
    }
    assert!(frames(&[b"<stream/>"]).is_err());
    assert!(frames(&[b"</stream>"]).is_err());
    assert!(frames(&[b"<?xml?><?xml?><s>"]).is_err());
    assert!(frames(&[HEAD.as_bytes(), b"<a>\xff</a>"]).is_err());
}

#[test]
fn a_stanza_that_is_too_large_or_too_deep_is_skipped_and_what_follows_is_in_step() {
    let deep = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
    assert_eq!(after_head(&deep(DEPTH_MAX)).unwrap(), [deep(DEPTH_MAX)]);
    let sized = |n: usize| format!("<a>{}</a>", "x".repeat(n - 7));
    assert_eq!(after_head(&sized(STANZA_MAX)).unwrap().len(), 1);
    let (long, asks) = ("'\"/>".repeat(STANZA_MAX), "type='get' id='1' from='f' to='t'");
    let table = [
        (deep(DEPTH_MAX + 1), "too deep: <a/>"),
        (deep(100_000), "too deep: <a/>"),
        (format!("<iq {asks}>{}</iq>", deep(40)), r#"too deep: <iq type="get" id="1" from="f" to="t"/>"#),
        (sized(STANZA_MAX + 1), "too large: <a/>"),
        (format!("<m><![CDATA[{long}</m>]]></m>"), "too large: <m/>"),
        (
            format!("<iq a='{}' {asks}/>", "x".repeat(STANZA_MAX)),
            r#"too large: <iq type="get" id="1" from="f" to="t"/>"#,
        ),
        (
            format!("<iq {asks}><b c=\"{}\"/></iq>", ">".repeat(STANZA_MAX)),
            r#"too large: <iq type="get" id="1" from="f" to="t"/>"#,
        ),
        (
            format!("<iq {}='' {asks}></iq>", "x".repeat(STANZA_MAX)),
            r#"too large: <iq type="get" id="1" from="f" to="t"/>"#,
        ),
        (format!("<{}/>", "n".repeat(STANZA_MAX)), "too large: <nnnnnnnnnnnnnnnn/>"),
        (format!("<a>{}</a>", "&apos;".repeat(60_000)), "too large: <a/>"),
    ];
    for (text, told) in &table {
        let all = format!("<b/>{text}<c/> {text}<iq></iq></stream:stream>");
        let expected = ["<b/>", told, "<c/>", told, "<iq></iq>", "close"];
        assert_eq!(after_head(&all).unwrap(), expected, "{}", &text[..40.min(text.len())]);
        let pieces: Vec<&[u8]> = [HEAD.as_bytes()].into_iter().chain(all.as_bytes().chunks(4093)).collect();
        assert_eq!(frames(&pieces).unwrap()[1..], expected);
    }
}

#[test]
fn skipped_stanza_takes_no_memory() {
    let mut splitter = Splitter::default();
    splitter.feed(HEAD.as_bytes());
    assert!(matches!(splitter.next_frame(), Ok(Some(Frame::Open(_)))));
    splitter.feed(b"<a>");
    for _ in 0..(100 * STANZA_MAX / 8192) {
        splitter.feed(&[b'x'; 8192]);
        assert!(matches!(splitter.next_frame(), Ok(None)));
        assert!(splitter.buf.len() <= STANZA_MAX + 2 * 8192);
    }
    splitter.feed(b"</a><b/>");
    assert!(matches!(splitter.next_frame(), Ok(Some(Frame::Skipped(..)))));
    assert!(matches!(splitter.next_frame(), Ok(Some(Frame::Stanza("<b/>")))));
    assert!(after_head(&" ".repeat(STANZA_MAX * 2)).unwrap().is_empty(), "white space is no stanza");
    for endless in
        [format!("</stream:stream{}", " ".repeat(STANZA_MAX * 2)), format!("<s {}", "x".repeat(STANZA_MAX * 2))]
    {
        let begun = if endless.starts_with("</") { HEAD } else { "" };
        assert!(frames(&[begun.as_bytes(), endless.as_bytes(), b">"]).is_err());
    }
}

proptest! {
    #[test]
    fn random_cuts_change_nothing(
        texts in proptest::collection::vec("[a-z<>&;'\"\\]会 ]{0,40}", 1..6),
        cuts in proptest::collection::vec(1usize..30, 1..40),
    ) {
        let mut whole = HEAD.to_owned();
        for text in &texts {
            let mut element = crate::xmpp::xml::Element::new("m", "n").with("a", text.clone());
            element = element.with_text(text.clone()).with_child(crate::xmpp::xml::Element::new("c", "n"));
            whole.push_str(&element.to_xml());
        }
        let (mut rest, mut pieces) = (whole.as_bytes(), Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (head, tail) = rest.split_at((*cut).min(rest.len()));
            pieces.push(head);
            rest = tail;
        }
        let at_once = frames(&[whole.as_bytes()]).unwrap();
        prop_assert_eq!(at_once.len(), texts.len() + 1);
        prop_assert_eq!(frames(&pieces).unwrap(), at_once);
    }

    #[test]
    fn no_bytes_make_it_panic_and_every_stanza_can_be_taken_apart(
        bytes in proptest::collection::vec(prop_oneof![
            Just(b'<'), Just(b'>'), Just(b'/'), Just(b'a'), Just(b' '), Just(b'\''), Just(b'='), Just(b'!'),
            Just(b'['), Just(b'?'), any::<u8>()], 0..200),
    ) {
        if let Ok(found) = frames(&[HEAD.as_bytes(), &bytes]) {
            for stanza in found.iter().skip(1).filter(|f| *f != "close") {
                let _ = read::element(stanza, &read::Source::Stream(&[]));
            }
        }
    }
}
