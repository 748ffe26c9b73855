//! The reasons for refusals that the schema names are those of the table.

use std::collections::BTreeSet;

use serde_json::Value;

use super::built_in;
use crate::refusal::{Kind, Reason};

/// Codes of the groups that belong to methods which the schema does not list them for.
const GENERAL: [Kind; 5] =
    [Kind::ParseError, Kind::InvalidRequest, Kind::MethodNotFound, Kind::Internal, Kind::TooMany];

fn reasons(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn codes(keys: &BTreeSet<&str>) -> BTreeSet<i32> {
    let of = |key: &&str| Reason::ALL.iter().find(|reason| reason.key() == *key).map(|reason| reason.kind().code());
    keys.iter().map(|key| of(key).unwrap_or_else(|| panic!("{key} is in no table"))).collect()
}

#[test]
fn the_schemas_reasons_are_the_tables() {
    let schema = built_in();
    let document = schema.openrpc();
    let groups = document["x-reasons"].as_object().expect("groups");
    let methods = document["methods"].as_array().expect("methods");
    let shared: Vec<&str> = groups.values().flat_map(reasons).collect();
    let mut named: BTreeSet<&str> = shared.iter().copied().collect();
    assert_eq!(named.len(), shared.len(), "a reason is in one group");
    for method in methods {
        let own = reasons(&method["x-reasons"]);
        assert_eq!(own.intersection(&reasons(&groups["any"])).count(), 0, "{}", method["name"]);
        named.extend(own);
    }
    let table: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.key()).collect();
    assert_eq!(named, table);
}

#[test]
fn each_method_lists_the_codes_of_its_reasons_and_no_others() {
    let schema = built_in();
    let document = schema.openrpc();
    let groups = &document["x-reasons"];
    let code_of = |error: &Value| {
        let name = error["$ref"].as_str().and_then(|r| r.rsplit('/').next()).expect("a component");
        document["components"]["errors"][name]["code"].as_i64().and_then(|code| i32::try_from(code).ok())
    };
    for method in document["methods"].as_array().expect("methods") {
        let name = &method["name"];
        let listed: BTreeSet<i32> = method["errors"].as_array().expect("errors").iter().filter_map(code_of).collect();
        let mut may = codes(&reasons(&groups["any"]));
        if listed.contains(&Kind::EimUnreachable.code()) {
            may.extend(codes(&reasons(&groups["eim"])));
        }
        let own = codes(&reasons(&method["x-reasons"]));
        let general: BTreeSet<i32> = GENERAL.iter().map(|kind| kind.code()).collect();
        let unlisted: Vec<&i32> = own.iter().filter(|code| !listed.contains(code) && !general.contains(code)).collect();
        assert!(unlisted.is_empty(), "{name} lists no {unlisted:?}");
        let unexplained: Vec<&i32> = listed.iter().filter(|code| !own.contains(code) && !may.contains(code)).collect();
        assert!(unexplained.is_empty(), "{name} has no reason of {unexplained:?}");
        let asks = schema.method(name.as_str().expect("a name")).is_some_and(|method| method.access.names_conference());
        assert!(
            !asks || listed.contains(&Kind::EimUnreachable.code()),
            "{name}: whose conference it is, the EIM knows"
        );
    }
}
