//! The replayer of dialogues.

use serde_json::json;

use crate::support::dialogue::{Captures, Dialogue};

const TEXT: &str = r#"
// A conference is made and found again.
>> hello
<< "who?"
as: chair
>> {"method": "conference.create"}
<< {"result": {"confId": "<capture:conf>", "link": {"url": "<string>", "...": "..."}, "state": "<int>"}}
as: guest
>> {"method": "conference.get", "params": {"confId": "${conf}"}}
<< {"result": {"confId": "${conf}", "members": ["u1", "..."]}}
// A notification has no reply.
>> {"method": "note"}
<<
>> no json
<< {"error": "<any>"}
"#;

/// Answers as a gateway would, and remembers who said what.
async fn replay(text: &str, members: &str) -> Vec<String> {
    let mut said = Vec::new();
    let speak = async |role: &str, request: String| {
        said.push(format!("{role}: {request}"));
        match request.as_str() {
            r#"{"method": "conference.create"}"# => {
                json!({ "result": { "confId": "c\"1", "link": { "url": "x", "code": "y" }, "state": 0 } }).to_string()
            }
            r#"{"method": "note"}"# => String::new(),
            "hello" => json!("who?").to_string(),
            "no json" => json!({ "error": -32700 }).to_string(),
            _ => format!(r#"{{ "result": {{ "confId": "c\"1", "members": {members} }} }}"#),
        }
    };
    let captures = Dialogue::parse("test", text).replay(Captures::new(), speak).await;
    assert_eq!(captures["conf"], "c\"1");
    said
}

#[tokio::test]
async fn a_dialogue_is_said_as_written_with_what_was_captured() {
    let said = replay(TEXT, r#"["u1", "u2", "u3"]"#).await;
    assert_eq!(said[0], "nobody: hello");
    assert_eq!(said[1], r#"chair: {"method": "conference.create"}"#);
    assert_eq!(said[2], r#"guest: {"method": "conference.get", "params": {"confId": "c\"1"}}"#);
    assert_eq!(said.len(), 5);
}

#[tokio::test]
#[should_panic(expected = "test:10: $.result.members[0] is \"u2\", not \"u1\"")]
async fn a_reply_that_differs_fails_with_its_place() {
    replay(TEXT, r#"["u2"]"#).await;
}

#[tokio::test]
#[should_panic(expected = "$.result.members was not expected")]
async fn a_member_that_nobody_expected_fails() {
    replay(&TEXT.replace(r#", "members": ["u1", "..."]"#, ""), "[]").await;
}

#[test]
#[should_panic(expected = "test:1: not a line of a dialogue")]
fn a_line_of_another_kind_fails() {
    Dialogue::parse("test", "hello");
}

#[test]
#[should_panic(expected = "test:2: a request and its reply come in pairs")]
fn a_request_without_a_reply_fails() {
    Dialogue::parse("test", "// why\n>> {}\n>> {}\n<<");
}
