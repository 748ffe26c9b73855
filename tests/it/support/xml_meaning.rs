//! The meaning of a piece of XML, apart from its writing: prefixes, the order of attributes, quotes, CDATA, references
//! and the place of a namespace's declaration are no part of it.

use std::collections::BTreeSet;

use quick_xml::NsReader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{NamespaceResolver, QName, ResolveResult};

/// The content of the outermost element, one entry for each begin, end and run of text.
#[track_caller]
pub fn content(xml: &str) -> Vec<String> {
    let mut reader = NsReader::from_str(xml);
    let (mut depth, mut said, mut text) = (0, Vec::new(), String::new());
    loop {
        let event = reader.read_event().unwrap_or_else(|e| panic!("{e} in {xml}"));
        match &event {
            Event::Text(run) => text.push_str(&run.xml10_content()),
            Event::CData(run) => text.push_str(&run.xml10_content()),
            Event::GeneralRef(reference) => text.push(character(reference)),
            Event::Start(_) | Event::Empty(_) | Event::End(_) if !text.is_empty() => {
                said.push(format!("{:?}", std::mem::take(&mut text)));
            }
            _ => {}
        }
        match event {
            Event::Start(start) => {
                said.push(begin(reader.resolver(), &start));
                depth += 1;
            }
            Event::Empty(start) => {
                said.push(begin(reader.resolver(), &start));
                said.push("end".to_owned());
            }
            Event::End(_) => {
                depth -= 1;
                said.push("end".to_owned());
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "it ends in {xml}");
    said.pop();
    said.split_off(1)
}

fn character(reference: &BytesRef<'_>) -> char {
    let number = reference.resolve_char_ref().unwrap_or_else(|e| panic!("{e}"));
    number.unwrap_or_else(|| match &*reference.xml10_content() {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "apos" => '\'',
        "quot" => '"',
        other => panic!("no reference of XML's own: {other}"),
    })
}

fn begin(resolver: &NamespaceResolver, start: &BytesStart<'_>) -> String {
    let attributes: BTreeSet<String> = start
        .attributes()
        .map(|attribute| attribute.unwrap_or_else(|e| panic!("{e}")))
        .filter(|attribute| attribute.key.as_namespace_binding().is_none())
        .map(|attribute| {
            let value = quick_xml::escape::unescape(&attribute.value).unwrap_or_else(|e| panic!("{e}"));
            format!("{}={value:?}", name(resolver, attribute.key, false))
        })
        .collect();
    format!("{} {attributes:?}", name(resolver, start.name(), true))
}

fn name(resolver: &NamespaceResolver, written: QName<'_>, is_element: bool) -> String {
    let (namespace, local) = resolver.resolve(written, is_element);
    match namespace {
        ResolveResult::Bound(namespace) => format!("{{{}}}{}", namespace.as_ref(), local.as_ref()),
        ResolveResult::Unbound => local.as_ref().to_owned(),
        ResolveResult::Unknown(prefix) => panic!("an unknown prefix: {prefix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_to_write_the_same_mean_the_same() {
        let one = "<iq id='1'><a:x xmlns:a='n' q='1' p='&lt;2'><![CDATA[a<b]]>&#x4F1A;</a:x><y xmlns='n'/></iq>";
        let other = "<iq><x xmlns=\"n\" p=\"&#60;2\" q=\"1\">a&lt;b会</x><b:y xmlns:b=\"n\"></b:y></iq>";
        assert_eq!(content(one), content(other));
        for different in ["<iq><x xmlns='n'/></iq>", "<iq><x xmlns='m' q='1' p='&lt;2'>a&lt;b会</x><y xmlns='n'/></iq>"]
        {
            assert_ne!(content(one), content(different));
        }
    }
}
