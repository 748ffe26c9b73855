mod dialogues;
mod directory;
mod documents;
mod events;
mod params;
mod reasons;

use super::*;
use crate::eim::requests::object;

fn built_in() -> Schema {
    Schema::load(None).unwrap_or_else(|errors| panic!("{}", errors.join("\n")))
}

/// The paths that are told for the params, and nothing of the values.
fn paths(schema: &Schema, method: &str, params: Value) -> Vec<String> {
    let method = schema.method(method).expect("a method");
    let errors = method.validate_params(&object(params)).err().unwrap_or_default();
    errors.into_iter().map(|e| e.path).collect()
}

#[test]
fn the_built_in_schema_holds_every_method_of_its_stage() {
    let schema = built_in();
    let names: Vec<&str> = schema.methods().map(|m| m.name.as_str()).collect();
    let expected = "auth.http.login auth.http.logout call.accept call.cancel call.decline \
        call.hangup call.start callgw.allocate callgw.drain callgw.list callgw.release callgw.report \
        conference.control conference.create conference.createLink conference.end conference.get conference.join \
        conference.leave conference.list conference.listLinks conference.members conference.messages \
        conference.revokeLink conference.sendMessage conference.update config.getProperties events.resume \
        org.contacts.departments org.contacts.search org.contacts.users org.user.createUser org.user.processIQ \
        rpc.discover";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    let internals: Vec<&str> = schema.internals().map(|m| m.name.as_str()).collect();
    let expected = "eim.account.create eim.account.delete eim.account.verify eim.conference.find eim.conference.get \
        eim.presence eim.resetNode eim.snapshot eim.subscribe eim.unsubscribe eim.user.subscribe eim.user.unsubscribe";
    assert_eq!(internals, expected.split_whitespace().collect::<Vec<_>>());
    for name in internals {
        assert!(schema.method(name).is_none(), "{name} is callable");
        assert!(!schema.openrpc().to_string().contains(&format!("\"{name}\"")), "{name} is told");
    }
}

#[test]
fn a_file_is_named_like_its_method() {
    for folder in ["methods", "eim"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("rpc-schema").join(folder);
        for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
            let text = std::fs::read(entry.path()).expect("a file");
            let method: Value = serde_json::from_slice(&text).expect("JSON");
            assert_eq!(format!("{}.json", method["name"].as_str().unwrap_or_default()).as_str(), entry.file_name());
        }
    }
}
