//! Text from outside: what is refused, and that what is taken means the same when it is written.

use super::read::Source;
use super::*;

fn from_a_server(text: &str) -> Result<Element> {
    read::element(text, &Source::Stream(&[("stream".into(), "s".into())]))
}

#[test]
fn text_from_outside_is_refused_for_anything_that_would_break_the_shared_stream() {
    let bad = [
        "",
        " ",
        "x",
        "\u{FEFF}<iq/>",
        "<iq/>\u{FEFF}",
        " \u{FEFF}<iq/>",
        "<iq/>x",
        "x<iq/>",
        "<iq/><iq/>",
        "<iq>",
        "</iq>",
        "<iq></iq></iq>",
        "<a></b>",
        "<!DOCTYPE x><iq/>",
        "<?xml version='1.0'?><iq/>",
        "<iq><!-- c --></iq>",
        "<iq><?pi?></iq>",
        "<iq>&nbsp;</iq>",
        "<iq a='&x;'/>",
        "<iq a='&'/>",
        "<iq a='&lt'/>",
        "<iq>&#0;</iq>",
        "<iq>&#xFFFE;</iq>",
        "<iq>&#X41;</iq>",
        "<iq a='&#X41;'/>",
        "<iq a='&#+65;'/>",
        "<iq>\u{1}</iq>",
        "<iq>\u{0}</iq>",
        "<iq>\u{FFFE}</iq>",
        "<iq a='&#1;'/>",
        "<iq a='<'/>",
        "<iq a='1' a='2'/>",
        "<p:iq/>",
        "<iq p:a='1'/>",
        "<1a/>",
        "<iq 1a=''/>",
        "<iq a:b:c='1' xmlns:a='x'/>",
        "<iq>]]></iq>",
        "<iq xmlns:p='x' xmlns:q='x' p:a='1' q:a='2'/>",
        "<iq xmlns:p='x' xmlns:p='x'/>",
        "<iq xmlns:p=''/>",
        "<iq>&#x;</iq>",
        "<iq>& </iq>",
        "&amp;<iq/>",
        "<iq><\u{10000}/></iq>",
        "<iq \u{218}='1'/>",
        "<iq xmlns='a&#10;b'/>",
        "<iq xmlns:xml='x'/>",
        "<iq xmlns:xmlns='x'/>",
        "<iq xmlns:='x'/>",
        "<iq><xmlns:a/></iq>",
        "<iq><xml:a/></iq>",
        "<iq xmlns:xml='http://www.w3.org/XML/1998/namespace'><xml:a/></iq>",
        "<iq xml:unknown=''/>",
        "<iq xmlns='http://www.w3.org/2000/xmlns/'/>",
        "<iq xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
        "<iq xmlns='http://www.w3.org/XML/1998/namespace'/>",
        "<iq xmlns:p='x' xmlns:q='&#120;' p:a='1' q:a='2'/>",
        "<iq a='1'b='2'/>",
        "<![CDATA[x]]><iq/>",
        "<iq/ >",
        "< iq/>",
        "<iq></ iq>",
        "<iq a=1/>",
        "<iq a/>",
    ];
    for text in bad {
        assert!(Stanza::parse(text).is_err(), "accepted: {text}");
        assert!(Element::parse(text).is_err(), "parsed: {text}");
    }
    let many = |n: usize| format!("<iq {}/>", (0..n).map(|i| format!("xmlns:p{i}='x' ")).collect::<String>());
    assert!(Stanza::parse(&many(ATTRS_MAX)).is_ok());
    assert_eq!(Stanza::parse(&many(ATTRS_MAX + 1)), Err(XmlError("too many attributes")));
}

#[test]
fn a_stanza_does_not_become_many_times_as_long_as_its_text() {
    let long = "u".repeat(8000);
    let (often, attributes) = ("<p:a/><b/>".repeat(2000), "<b p:c=''/>".repeat(2000));
    let texts = [
        format!("<iq xmlns:p='{long}'>{often}</iq>"),
        format!("<iq xmlns:p='{long}'>{attributes}</iq>"),
        format!("<iq xmlns:p='u' xmlns:{long}='u'>{attributes}</iq>"),
    ];
    for text in texts {
        assert!(Stanza::parse(&text).is_err() && from_a_server(&text).is_err(), "{text:.40}");
    }
    let usual = r#"<x xmlns="http://jabber.org/protocol/disco#items" jid="a@b/c"/>"#.repeat(3000);
    let stanza = Stanza::parse(&format!("<iq>{usual}</iq>")).unwrap();
    assert_eq!(stanza.to_xml(), format!("<iq>{usual}</iq>"));
    let prefixes = format!("<iq xmlns:p='u' xmlns:{}='u' p:a=''/>", "q".repeat(PREFIX_MAX));
    let stanza = Stanza::parse(&prefixes).unwrap();
    assert!(!stanza.fits(stanza.to_xml().len() - 1));
}

#[test]
fn every_form_that_xml_allows_passes() {
    let good = [
        " <iq/>\n",
        "<iq xmlns:p='x' p:a='1'><p:b/></iq>",
        "<iq>&#x4F1A;&lt;&#65;</iq>",
        "<iq><![CDATA[<x>]]></iq>",
        "<iq>\u{FEFF}]]&gt;</iq>",
        "<会议 名=\"张\"/>",
        "<iq xml:lang='zh' a='&quot;&apos;'/>",
        "<iq xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
    ];
    for text in good {
        assert!(Stanza::parse(text).is_ok(), "refused: {text}");
    }
    let deep = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
    assert!(Stanza::parse(&deep(DEPTH_MAX)).is_ok());
    assert_eq!(Stanza::parse(&deep(DEPTH_MAX + 1)), Err(XmlError("too deep")));
}

#[test]
fn stanza_from_a_server_is_read_with_every_xml_name() {
    for name in ["नाम", "ⴀ", "Ș"] {
        let text = format!("<iq><{name}/></iq>");
        assert!(from_a_server(&text).is_ok() && Stanza::parse(&text).is_err(), "{name}");
    }
    let features = from_a_server("<stream:features><a xmlns='x'/></stream:features>").unwrap();
    assert_eq!((features.name.as_str(), features.ns.as_str()), ("features", "s"));
    assert!(from_a_server("<other:features/>").is_err());
}

#[test]
fn an_element_survives_writing_and_reading() {
    let e = Element::new("jeExtension", "je:x:client:config")
        .with("a", "1 < 2 & \"x\"\n\t\r'")
        .with_child(Element::new("getMainTabs", "je:x:client:config").with_text("a<b&\r\n会议]]>"))
        .with_child(Element::new("x", "other"));
    assert_eq!(Element::parse(&e.to_xml()).unwrap(), e);
}

#[test]
fn stanza_is_rewritten_with_the_same_meaning() {
    let table = [
        (
            "<iq xmlns='jabber:client' type='get' id='01'><a xmlns='x'> <b c='&amp;'/></a></iq>",
            r#"<iq type="get" id="01"><a xmlns="x"> <b c="&amp;"/></a></iq>"#,
        ),
        ("<p:iq xmlns:p='jabber:client'><x/></p:iq>", r#"<iq xmlns:p="jabber:client"><x/></iq>"#),
        (
            "<iq><x xmlns=''><y xmlns='jabber:client'/></x></iq>",
            r#"<iq><x xmlns=""><y xmlns="jabber:client"/></x></iq>"#,
        ),
        (
            "<iq xml:lang='zh'><p:x xmlns:p='u' p:a='1' a='p:q'><![CDATA[<&]]>\r\n</p:x></iq>",
            "<iq xml:lang=\"zh\"><x xmlns=\"u\" xmlns:p=\"u\" p:a=\"1\" a=\"p:q\">&lt;&amp;\n</x></iq>",
        ),
        (
            "<iq><a xmlns:p='u' xmlns:q='u'><b xmlns:q='v' p:x='' q:x=''/></a></iq>",
            r#"<iq><a xmlns:p="u" xmlns:q="u"><b xmlns:q="v" ns1:x="" xmlns:ns1="u" q:x=""/></a></iq>"#,
        ),
    ];
    for (text, written) in &table[..4] {
        assert_eq!(Stanza::parse(text).unwrap().to_xml(), *written);
    }
    // The nearest prefix of the namespace is hidden by another declaration: one is made.
    let hidden = Stanza::parse(table[4].0).unwrap();
    assert_eq!(
        Stanza::parse(&hidden.to_xml()).unwrap().children().next().unwrap().children().next().unwrap().attrs,
        [("{u}x".into(), "".into()), ("{v}x".into(), "".into())]
    );
    let made = Stanza::new("iq").with("{u}a", "1").with("{u}b", "2").with("{v}a", "3");
    assert_eq!(made.to_xml(), r#"<iq xmlns:ns1="u" ns1:a="1" ns1:b="2" xmlns:ns2="v" ns2:a="3"/>"#);
}

#[test]
fn a_content_namespace_of_another_stream_is_ours() {
    for ns in ["jabber:client", "jabber:component:accept", "jabber:server"] {
        let iq = from_a_server(&format!("<iq xmlns='{ns}'><error/></iq>")).unwrap();
        assert_eq!(Stanza::from(iq).to_xml(), "<iq><error/></iq>");
    }
    assert_eq!(Stanza::parse("<iq xmlns='jabber:server'/>").unwrap().ns, "jabber:server");
}

#[test]
fn a_stanza_fits_where_a_server_may_escape_all_of_it_and_not_otherwise() {
    let text = "\"'&<>\n".repeat(100);
    let quotes = Stanza::iq("set", Element::new("x", "y").with("a", text).with_text("'\"\r".repeat(100)));
    let escaped = 2 * 6 * 100 + 4 * 5 * 100 + 2 * 6 * 100 + 5 * 100;
    assert!(!quotes.fits(escaped) && quotes.fits(escaped + 100), "names and marks are short here");
    let plain = Stanza::iq("set", Element::new("x", "y").with_text("a".repeat(1000)));
    assert!(plain.fits(1100) && !plain.fits(1000), "its text needs no escapes");
    for text in ["<iq/>", "<iq a='1'><b xmlns='c' xmlns:p='&quot;' p:d='e'>f</b></iq>"] {
        let stanza = Stanza::parse(text).unwrap();
        assert!(!stanza.fits(stanza.to_xml().len() - 1), "{text}");
    }
}
