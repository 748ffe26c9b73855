//! TypeScript's compiler over the output of other projects' generators for the two documents, which also calls, and over
//! the page. With `tests/run --full`: it takes packages from npm, of the versions that `docs/front-end.md` names.

use serde_json::json;

use crate::front_end_docs::{blocks, shell, started};
use crate::support::long;

const SECTION: &str = "A typed client";
const USE: &str = r#"
import { signedIn } from "./confgate";

(async () => {
  const confgate = await signedIn("127.0.0.1", Number(process.argv[2]), "hr", "a long random text");
  CALLS
  const taken = await confgate["org.user.createUser"]("李四", "u110001").catch(({ data }) => data.key);
  console.log(JSON.stringify({ userId: user.userId, xml, taken }));
})();
"#;
/// Types of the documents' alone, by the strictest compiler.
const TYPES_ONLY: &str = r#"{
  "compilerOptions": { "strict": true, "noEmit": true, "types": [], "target": "es2022" },
  "files": ["methods.ts", "events.ts"]
}"#;

/// The page's code, by the types that its JSDoc says.
#[test]
fn page_code_passes_the_type_checker() {
    if !long() {
        return;
    }
    let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let checked = std::process::Command::new("npx")
        .args(["--yes", "-p", "typescript@5.9.3", "tsc", "-p", "jsconfig.json"])
        .current_dir(web)
        .output()
        .expect("npx runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_clients_compile_and_call() {
    if !long() {
        return;
    }
    let gateway = started("Accounts: `org.user.createUser`", "CONFGATE_AUTH__CLIENTS", |value| value).await;
    let [client, build, methods, events] = &blocks(SECTION, "sh")[..] else { panic!("four blocks of commands") };
    let file = |path: &str| gateway.directory().join(path);

    shell(&gateway, "", client);
    std::fs::write(file("client/typescript/src/confgate.ts"), blocks(SECTION, "ts").concat()).unwrap();
    let sections = ["Accounts: `org.user.createUser`", "Any IQ: `org.user.processIQ`"];
    let calls = sections.map(|section| blocks(section, "ts").concat()).concat();
    std::fs::write(file("client/typescript/src/use.ts"), USE.replace("CALLS", &calls)).unwrap();
    shell(&gateway, "", build);
    let call =
        format!("NODE_EXTRA_CA_CERTS=certs/cert.pem node client/typescript/build/use.js {}", gateway.http().port());
    let said: serde_json::Value = serde_json::from_str(&shell(&gateway, "", &call)).expect("JSON");
    assert_eq!((&said["userId"], &said["taken"]), (&json!("u110001"), &json!("user.taken")), "{said}");
    assert!(said["xml"].as_str().is_some_and(|xml| xml.contains("getMainTabs isNeedUpdate")), "{said}");

    shell(&gateway, "", methods);
    shell(&gateway, "", events);
    std::fs::write(file("tsconfig.json"), TYPES_ONLY).unwrap();
    shell(&gateway, "", "npx --yes -p typescript@5.9.3 tsc");
    let made = |path: &str| std::fs::read_to_string(file(path)).unwrap();
    let (methods, events) = (made("methods.ts"), made("events.ts"));
    for line in
        ["export type ConferenceGet = (confId: ConfId) => Promise<ConferenceGetResult>;", "export interface Member {"]
    {
        assert!(methods.contains(line), "{line} is missing in: {methods}");
    }
    // Without a title, the generator names a type by its content's hash: `string_doaGddGA`, `objectOf_...`.
    let hashed = ["string_", "boolean_", "integer_", "number_", "any_", "objectOf_", "unorderedSetOf_"];
    assert!(!hashed.iter().any(|prefix| methods.contains(&format!("export type {prefix}"))), "{methods}");
    assert!(events.contains("export interface MemberLeftEvent {") && !events.contains("Anonym"), "{events}");
}
