//! The dialogues agree with the schema; whether the gateway says what they say is for those who replay them.

use std::path::Path;

use serde_json::Value;

use super::built_in;

#[test]
fn every_method_has_a_dialogue_and_every_dialogue_can_be_read() {
    let schema = built_in();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("rpc-schema/dialogues");
    for method in schema.methods() {
        assert!(dir.join(format!("{}.dialogue", method.name)).is_file(), "{} has none", method.name);
    }
    for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(entry.path()).expect("a file");
        if !name.ends_with(".dialogue") {
            continue;
        }
        assert!(text.starts_with("// "), "{name} does not say why it is there");
        let marks: String =
            text.lines().filter_map(|line| line.get(..2)).filter(|m| matches!(*m, ">>" | "<<")).collect();
        assert_eq!(marks, ">><<".repeat(marks.len() / 4), "{name}: each request has one reply");
        for reply in text.lines().filter_map(|line| line.strip_prefix("<<")).filter(|reply| !reply.is_empty()) {
            assert!(serde_json::from_str::<Value>(reply).is_ok(), "{name}: {reply}");
        }
    }
}

#[test]
fn every_successful_request_of_a_dialogue_is_what_its_method_takes() {
    let schema = built_in();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("rpc-schema/dialogues");
    for method in schema.methods() {
        let text = std::fs::read_to_string(dir.join(format!("{}.dialogue", method.name))).expect("a file");
        let steps: Vec<&str> = text.lines().filter(|l| l.starts_with(">>") || l.starts_with("<<")).collect();
        let mut called = false;
        for pair in steps.chunks(2).filter(|pair| pair[1].contains("\"result\"")) {
            // Captured values are texts of the form of an id.
            let plain: String = pair[0][2..]
                .split("${")
                .enumerate()
                .map(|(i, part)| match part.split_once('}') {
                    Some((_, rest)) if i > 0 => format!("captured{rest}"),
                    _ => part.to_owned(),
                })
                .collect();
            let request: Value = serde_json::from_str(&plain).expect("JSON");
            let name = request["method"].as_str().unwrap_or_default();
            let params = request["params"].as_object().cloned().unwrap_or_default();
            let known = schema.method(name).unwrap_or_else(|| panic!("{}: no such method: {name}", method.name));
            assert_eq!(known.validate_params(&params), Ok(()), "{}: {plain}", method.name);
            called |= name == method.name;
        }
        // Going on behind an event is for the event socket; a dialogue speaks HTTP.
        assert!(called || method.name == "events.resume", "{} is not called with success", method.name);
    }
}
