//! Frames from bytes, however they are cut.

use super::*;
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
fn what_would_confuse_the_framing_is_refused() {
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
fn a_stanza_is_bounded_in_size_and_depth() {
    let deep = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
    assert_eq!(after_head(&deep(DEPTH_MAX)).unwrap().len(), 1);
    assert!(after_head(&deep(DEPTH_MAX + 1)).is_err());
    let sized = |n: usize| format!("<a>{}</a>", "x".repeat(n - 7));
    assert_eq!(after_head(&sized(STANZA_MAX)).unwrap().len(), 1);
    assert!(after_head(&sized(STANZA_MAX + 1)).is_err());
    let unfinished = format!("<a>{}", "x".repeat(STANZA_MAX));
    assert!(after_head(&unfinished).is_err(), "kept an endless stanza");
    assert!(after_head(&" ".repeat(STANZA_MAX * 2)).unwrap().is_empty(), "white space is no stanza");
}

proptest! {
    #[test]
    fn random_cuts_change_nothing(
        texts in proptest::collection::vec("[a-z<>&;'\"\\]会 ]{0,40}", 1..6),
        cuts in proptest::collection::vec(1usize..30, 1..40),
    ) {
        let mut whole = HEAD.to_owned();
        for text in &texts {
            let mut element = crate::eim::xml::Element::new("m", "n").with("a", text.clone());
            element = element.with_text(text.clone()).with_child(crate::eim::xml::Element::new("c", "n"));
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
                let _ = crate::eim::xml::Stanza::split(stanza);
            }
        }
    }
}
