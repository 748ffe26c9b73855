//! The configuration's promises.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::*;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<ConfigError>> {
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::from_table(text.parse().expect("the test's TOML is well-formed"), variables)
}

/// The keys that are refused, with the messages.
fn refused(text: &str, variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let errors = load(text, variables).expect_err("it must be refused");
    errors.into_iter().map(|error| (error.key.clone(), error.to_string())).collect()
}

fn refused_keys(text: &str) -> Vec<String> {
    refused(text, &[]).into_iter().map(|(key, _)| key).collect()
}

/// The example with its `#key = value` lines made real.
fn example_with_everything() -> String {
    let real = |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned();
    EXAMPLE.lines().map(real).collect::<Vec<_>>().join("\n")
}

/// Every `section.key[.member]` that the structs have, given a configuration in which everything is set.
fn keys_of(config: &Config) -> BTreeSet<String> {
    fn walk(at: String, value: &Json, keys: &mut BTreeSet<String>) {
        match value {
            Json::Object(members) => {
                members.iter().for_each(|(name, member)| walk(format!("{at}.{name}"), member, keys));
            }
            Json::Array(items) if items.iter().any(Json::is_object) => {
                items.iter().for_each(|item| walk(at.clone(), item, keys));
            }
            _ => {}
        }
        keys.insert(at.trim_start_matches('.').to_owned());
    }
    let mut keys = BTreeSet::new();
    walk(String::new(), &serde_json::to_value(config).unwrap(), &mut keys);
    keys.remove("");
    keys
}

#[test]
fn the_example_is_the_default_configuration() {
    let mut default = Config::default();
    default.callgw.complete(&default.http.base_path, &default.node.id);
    assert_eq!(load(EXAMPLE, &[]).unwrap(), default);
    assert_eq!(load("", &[]).unwrap(), default);
}

#[test]
fn the_example_with_every_key_set_is_accepted() {
    load(&example_with_everything(), &[]).unwrap();
}

#[test]
fn the_example_names_every_key_with_what_is_allowed() {
    let full = load(&example_with_everything(), &[]).unwrap();
    let documented: BTreeSet<String> = example::documented().map(|key| key.path).collect();
    assert_eq!(documented, keys_of(&full));
    for key in example::documented() {
        assert!(!key.path.contains('.') || key.prose.contains("Allowed: "), "{}: {}", key.path, key.prose);
    }
}

#[test]
fn the_example_states_the_ranges_that_are_checked() {
    for (key, least, most) in check::RANGES.into_iter().flatten() {
        let allowed = example::allowed(key).unwrap_or_default();
        assert!(allowed.starts_with(&format!("{least} to {most}")), "{key}: {allowed}");
    }
}

#[test]
fn the_built_in_call_gateway_is_called_as_its_node_and_stands_where_it_does() {
    let of = |text: &str| {
        let node = load(text, &[]).unwrap().callgw.nodes.remove(0);
        (node.id, node.region)
    };
    assert_eq!(of("[node]\nid = \"b\""), ("b".into(), None));
    assert_eq!(of("[node]\nid = \"b\"\n[callgw]\nregion = \"eu\""), ("b".into(), Some("eu".into())));
    let own = "[node]\nid = \"b\"\n[[callgw.nodes]]\nkind = \"builtin\"\nregion = \"us\"";
    assert_eq!(of(own), ("b".into(), Some("us".into())));
    assert_eq!(of(&format!("{own}\nid = \"m\"")), ("m".into(), Some("us".into())));
    let same = "[node]\nid = \"b\"\n[[callgw.nodes]]\nkind = \"builtin\"\n[[callgw.nodes]]\nid = \"b\"\n\
                kind = \"confgate\"\nurl = \"wss://a\"\nsecret = \"a long random text\"";
    assert_eq!(refused_keys(same), ["callgw.nodes[1].id"]);
    assert_eq!(refused_keys("[[callgw.nodes]]\nkind = \"janus\"\nadmin_url = \"ws://a\""), ["callgw.nodes[0].id"]);
}

#[test]
fn own_url_is_an_address_that_others_can_reach() {
    let of = |url: &str| load(&format!("[callgw]\nown_url = {url:?}"), &[]);
    let complete = |url: &str| of(url).unwrap().callgw.own_url.unwrap().to_string();
    assert_eq!(complete("wss://n1.example.org"), "wss://n1.example.org/gzbwclient");
    assert_eq!(complete("wss://[2001:db8::1]:9092/n1"), "wss://[2001:db8::1]:9092/n1");
    let long = format!("wss://{}.example.org", "a".repeat(256));
    for wrong in ["ws://n1.example.org", "https://n1", "n1", "wss://0.0.0.0:9092", "wss://[::]", "wss://n1/?x", &long] {
        let keys: Vec<String> = of(wrong).unwrap_err().into_iter().map(|error| error.key).collect();
        assert_eq!(keys, ["callgw.own_url"], "{wrong}");
    }
}

#[test]
fn every_integer_key_has_a_range() {
    let full: Table = example_with_everything().parse().unwrap();
    let ranged: BTreeSet<&str> = check::RANGES.into_iter().flatten().map(|(key, ..)| *key).collect();
    for (section, keys) in &full {
        for (key, _) in keys.as_table().unwrap().iter().filter(|(_, value)| value.is_integer()) {
            assert!(ranged.contains(format!("{section}.{key}").as_str()), "{section}.{key}");
        }
    }
}

#[test]
fn every_key_can_be_set_from_the_environment() {
    let full: Table = example_with_everything().parse().unwrap();
    let mut variables = Vec::new();
    for (section, keys) in &full {
        for (key, value) in keys.as_table().unwrap() {
            let text = match value {
                Value::String(text) => text.clone(),
                other => serde_json::to_string(other).unwrap(),
            };
            variables.push((format!("CONFGATE_{}__{}", section.to_uppercase(), key.to_uppercase()), text));
        }
    }
    let mut laid = Table::new();
    env::lay_over(&mut laid, variables);
    assert_eq!(laid, full);
}

#[test]
fn a_variable_wins_over_the_file_and_an_empty_one_restores_the_default() {
    let text = "[http]\nlisten = \"127.0.0.1:1\"\n[limits]\nbatch = 7";
    let config = load(
        text,
        &[("CONFGATE_HTTP__LISTEN", "[::1]:4433"), ("CONFGATE_LIMITS__BATCH", ""), ("CONFGATE_PORT", "tcp://x")],
    );
    let config = config.unwrap();
    assert_eq!(config.http.listen, "[::1]:4433".parse().unwrap());
    assert_eq!(config.limits.batch, 50);
}

#[test]
fn text_from_a_variable_stays_text_where_the_key_takes_text() {
    let config = load("", &[("CONFGATE_ADMIN__TOKEN", "12345"), ("CONFGATE_AUTH__STRICT_JSONRPC", "true")]).unwrap();
    assert_eq!(config.admin.token.unwrap().expose(), "12345");
    assert!(config.auth.strict_jsonrpc);
}

#[test]
fn all_errors_are_told_at_once_each_with_key_value_and_what_is_allowed() {
    let text = r#"
        [http]
        listen = "nowhere"
        base_path = "gzb/"
        allowed_networks = ["10.0.0.0/8", "10.0.0.0/99"]
        cert = "a.pem"
        [admin]
        listen = "0.0.0.0:9093"
        [eim]
        mode = "component"
        port = 70000
        [limits]
        batch = 0
        drain_s = "soon"
        [[auth.clients]]
        name = "nameless"
        [[auth.clients]]
        id = "second"
        scopes = ["user.create", "root"]
        [[auth.clients]]
        id = "third"
        [[callgw.nodes]]
        id = "m1"
        kind = "confgate"
        url = "https://m1.example.org"
    "#;
    let found = refused(text, &[("CONFGATE_EIM__TIMEOUT_MS", "-5")]);
    let keys: BTreeSet<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    let expected = BTreeSet::from([
        "http.listen",
        "http.base_path",
        "http.allowed_networks[1]",
        "http.key",
        "admin.token",
        "eim.port",
        "eim.host",
        "eim.secret",
        "eim.timeout_ms",
        "limits.batch",
        "limits.drain_s",
        "auth.clients[0].id",
        "auth.clients[1].scopes[1]",
        "auth.clients[2].secret",
        "callgw.nodes[0].url",
        "callgw.nodes[0].secret",
    ]);
    assert_eq!(keys, expected);
    let message = |key: &str| found.iter().find(|(k, _)| k == key).unwrap().1.clone();
    assert_eq!(message("http.listen"), "http.listen = \"nowhere\"; allowed: IP:PORT; port 0 takes any free one");
    assert_eq!(message("limits.batch"), "limits.batch = 0; allowed: 1 to 10000");
    assert_eq!(message("eim.timeout_ms"), "eim.timeout_ms = -5 (from CONFGATE_EIM__TIMEOUT_MS); allowed: 1 to 3600000");
    assert!(message("eim.host").starts_with("eim.host is not set; allowed: "));
}

#[test]
fn an_unknown_key_or_section_is_refused_without_showing_its_value() {
    let text = "[htp]\nlisten = 1\n[auth]\nsercet = \"hush\"\n[[auth.keys]]\nid = \"k\"\nsecret = \"0123456789abcdef\"\nsalt = \"hush\"";
    let found = refused(text, &[("CONFGATE_ADMIN__TOKN", "hush")]);
    let keys: BTreeSet<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, BTreeSet::from(["htp", "auth.sercet", "auth.keys[0].salt", "admin.tokn"]));
    assert!(found.iter().all(|(_, message)| !message.contains("hush")), "{found:?}");
    assert!(
        found
            .iter()
            .any(|(_, message)| message
                == "admin.tokn is not a key (from CONFGATE_ADMIN__TOKN); allowed: listen or token")
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let text = r#"
        [store]
        url = "postgres://me:hush@db/confgate"
        [events]
        url = "http://me:hush@broker"
        [admin]
        token = ["hush"]
        [eim]
        admin_secret = { hush = "hush" }
        [live]
        callback_path = "hush"
        [[auth.keys]]
        id = "k"
        secret = "hush"
        [[auth.clients]]
        id = "c"
        secret = ["hush"]
        [callgw.turn]
        urls = ["turn:x"]
        secret = { hush = 1 }
    "#;
    let found =
        refused(text, &[("CONFGATE_EIM__USERS", "[{\"password\":\"hush\""), ("CONFGATE_CALLGW__NODES", "hush")]);
    assert!(found.len() >= 9, "{found:?}");
    assert!(found.iter().all(|(_, message)| !message.contains("hush")), "{found:#?}");
    let full = load(&example_with_everything(), &[]).unwrap();
    let printed = format!("{full:?}");
    for secret in ["a long random text", "the person's password", "the cloud's key", "a-long-random-text"] {
        assert!(!printed.contains(secret), "{secret}");
    }
}

#[test]
fn a_list_element_needs_exactly_the_members_that_are_said_to_be_required() {
    let full: Table = example_with_everything().parse().unwrap();
    for (holder, required) in check::REQUIRED {
        let (section, key) = holder.split_once('.').unwrap();
        let (element, is_list) = match &full[section][key] {
            Value::Array(list) => (list[0].as_table().unwrap(), true),
            other => (other.as_table().unwrap(), false),
        };
        let with = |members: Vec<(String, Value)>| {
            let element = Value::Table(Table::from_iter(members));
            if is_list { Value::Array(vec![element]) } else { element }
        };
        let members = |names: &[&str]| names.iter().map(|name| (name.to_string(), element[*name].clone())).collect();
        assert!(check::takes(section, key, &with(members(required))), "{holder}");
        for left_out in required {
            let rest: Vec<&str> = required.iter().filter(|name| *name != left_out).copied().collect();
            assert!(!check::takes(section, key, &with(members(&rest))), "{holder}.{left_out}");
        }
    }
}

#[test]
fn dependent_keys_are_demanded_together() {
    let cases = [
        ("[admin]\nlisten = \"[::]:9093\"", vec!["admin.token"]),
        ("[http]\nkey = \"k.pem\"", vec!["http.cert"]),
        ("[http]\npublic_url = \"http://a\"", vec!["http.public_url"]),
        ("[http]\nbase_path = \"/call/x\"", vec!["http.base_path"]),
        ("[http]\nlisten = \"127.0.0.1:9093\"", vec!["admin.listen"]),
        ("[store]\nurl = \"postgres://h/d\"", vec!["store.url"]),
        ("[eim]\nmode = \"c2s\"", vec!["eim.host"]),
        ("[eim]\nmode = \"component\"\nhost = \"h\"\nsecret = \"s\"\nadmin_domain = \"a.b\"", vec!["eim.admin_secret"]),
        ("[eim]\ncomponent = \"a.b\"\nadmin_domain = \"a.b\"", vec!["eim.admin_domain"]),
        ("[eim]\ncomponents = [\"a.b\"]\nadmin_domains = [\"c.d\", \"a.b\"]", vec!["eim.admin_domains"]),
        ("[eim]\nadmin_domains = [\"not a domain\"]", vec!["eim.admin_domains[0]"]),
        ("[eim]\nreconnect_min_ms = 9\nreconnect_max_ms = 8", vec!["eim.reconnect_min_ms"]),
        ("[eim]\nmode = \"c2s\"\nhost = \"h\"\n[events]\nmode = \"inproc\"", vec!["events.mode"]),
        ("[events]\nurl = \"http://h\"", vec!["events.url"]),
        ("[events]\nnumbered = \"gateway\"", vec!["events.numbered"]),
        ("[events]\nurl = \"amqp://[::1]:5672\"", vec!["events.url"]),
        ("[eim]\nmode = \"c2s\"\nhost = \"h\"\n[events]\nmode = \"amqp\"", vec!["events.url"]),
        (
            "[eim]\nmode = \"c2s\"\nhost = \"h\"\n[events]\nmode = \"amqp\"\nurl = \"http://h\"\nexchange = \"a b\"",
            vec!["events.url", "events.exchange"],
        ),
        (
            "[eim]\nmode = \"c2s\"\nhost = \"h\"\n[[auth.clients]]\nid = \"c\"\nsecret = \"s\"",
            vec!["auth.clients[0].password"],
        ),
        ("[[auth.clients]]\nid = \"a\"\nopen = true", vec!["auth.clients[0].networks"]),
        ("[[auth.keys]]\nid = \"a\"\nsecret = \"short\"", vec!["auth.keys[0].secret"]),
        (
            "[[eim.users]]\nuser_id = \"a\"\nname = \"A\"\n[[eim.users]]\nuser_id = \"a\"\nname = \"B\"",
            vec!["eim.users[1].user_id"],
        ),
        ("[[callgw.nodes]]\nid = \"j\"\nkind = \"janus\"", vec!["callgw.nodes[0].admin_url"]),
        (
            "[[callgw.nodes]]\nid = \"w\"\nkind = \"whip\"\nadmin_url = \"ws://a\"\nwhip_path = \"a b\"",
            vec!["callgw.nodes[0].admin_url", "callgw.nodes[0].whip_path"],
        ),
        (
            "[[callgw.nodes]]\nid = \"w\"\nkind = \"whip\"\nadmin_url = \"http://a\"\nsigner_secret = \"s\"",
            vec!["callgw.nodes[0].signer_id", "callgw.nodes[0].signer_secret"],
        ),
        (
            "[[callgw.nodes]]\nid = \"a\"\nkind = \"builtin\"\n[[callgw.nodes]]\nid = \"b\"\nkind = \"builtin\"",
            vec!["callgw.nodes"],
        ),
        ("[callgw]\nreconnect_min_ms = 2001", vec!["callgw.reconnect_min_ms"]),
        ("[callgw]\npull_allow = [\"wss://a/x\"]", vec!["callgw.pull_allow[0]"]),
        ("[callgw.turn]\nurls = [\"http://a\"]\nsecret = \"s\"", vec!["callgw.turn.urls"]),
        ("[live]\ncallback_listen = \"127.0.0.1:0\"", vec!["live"]),
        ("[log]\nfilter = \"info,=x=\"", vec!["log.filter"]),
    ];
    for (text, expected) in cases {
        assert_eq!(refused_keys(text), expected, "{text}");
    }
}

#[test]
fn mode_muc_needs_a_server_a_secret_and_addresses_of_the_components_own() {
    let refused = |more: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("confgate.toml");
        std::fs::write(&path, format!("[eim]\nmode = \"muc\"\n{more}")).unwrap();
        let errors = Config::load(Some(&path), []).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let server = "host = \"h\"\nsecret = \"s\"\n";
    assert_eq!(refused(server), "");
    let missing = refused("");
    assert!(missing.contains("eim.host") && missing.contains("eim.secret"), "{missing}");
    assert!(missing.contains("since eim.mode is \"muc\""), "{missing}");
    let scheme = refused(&format!("{server}jid_scheme = \"user@domain/resource\"\n"));
    assert!(scheme.contains("guests have no account at the server"), "{scheme}");
    for own in ["ips3000", "webconf.ips3000", "webconf-admin.ips3000"] {
        assert!(refused(&format!("{server}muc_domain = \"{own}\"\n")).contains("eim.muc_domain"), "{own}");
    }
    let events = refused(&format!("{server}[events]\nmode = \"amqp\"\nurl = \"amqp://h\"\n"));
    assert!(events.contains("since eim.mode is \"muc\""), "{events}");
    let numbered = refused(&format!("{server}[events]\nnumbered = \"gateway\"\n"));
    assert!(numbered.contains("events.numbered"), "{numbered}");
}

#[test]
fn a_broker_brings_events_to_a_gateway_of_an_external_eim_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("confgate.toml");
    let text = "[events]\nmode = \"amqp\"\nurl = \"amqp://h\"\n[eim]\nhost = \"h\"\nsecret = \"s\"\n";
    std::fs::write(&path, text).unwrap();
    let refused = Config::load(Some(&path), []).unwrap_err();
    let allowed = "events.mode = \"amqp\"; allowed: \"inproc\" or \"xmpp\", since eim.mode is \"builtin\"";
    assert_eq!(refused.iter().map(ToString::to_string).collect::<Vec<_>>(), [allowed]);
    assert!(Config::load_eim_service(Some(&path), []).is_ok());
    let component = [("CONFGATE_EIM__MODE".to_owned(), "component".to_owned())];
    assert!(Config::load(Some(&path), component).is_ok());
}

#[test]
fn an_external_eim_sends_its_events_over_xmpp_unless_told_otherwise() {
    let text = "[eim]\nmode = \"component\"\nhost = \"h\"\nsecret = \"s\"\ndomain = \"corp.example\"";
    let config = load(text, &[]).unwrap();
    assert_eq!(config.events.mode, EventsMode::Xmpp);
    assert_eq!(config.eim.component_domain(), "webconf.corp.example");
    assert_eq!(config.eim.provisioning_domain(), None);
    assert_eq!(config.eim.trusted_components(), ["webconf.corp.example"]);
    assert_eq!(config.eim.trusted_admin_domains(), Vec::<String>::new());
    let nodes = load(&format!("{text}\nadmin_domains = [\"a-1.corp.example\", \"a-2.corp.example\"]"), &[]).unwrap();
    assert_eq!(nodes.eim.trusted_admin_domains(), ["a-1.corp.example", "a-2.corp.example"]);
    assert_eq!(config.eim.guest_addresses(), ["jeprivacy.corp.example"]);
    assert_eq!((config.eim.port(), config.eim.session_port()), (5347, 5222));
    assert_eq!(Config::default().eim.provisioning_domain().as_deref(), Some("webconf-admin.ips3000"));
    assert_eq!(Config::default().eim.trusted_admin_domains(), ["webconf-admin.ips3000"]);
}

#[test]
fn a_client_speaks_as_the_user_it_names_or_is_named_like() {
    let text = "[[auth.clients]]\nid = \"Portal-1\"\nsecret = \"s\"\n[[auth.clients]]\nid = \"b\"\nsecret = \"s\"\nuser_id = \"u1\"";
    let speaks_as: Vec<_> = load(text, &[]).unwrap().auth.clients.iter().map(Client::speaks_as).collect();
    assert_eq!(speaks_as.iter().map(|user| user.as_str()).collect::<Vec<_>>(), ["portal-1", "u1"]);
}

#[test]
fn serving_as_the_eim_needs_a_server_and_a_secret() {
    let errors = Config::load_eim_service(None, []).unwrap_err();
    assert_eq!(errors.iter().map(|error| error.key.as_str()).collect::<Vec<_>>(), ["eim.host", "eim.secret"]);
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_is_named_without_its_text() {
    let missing = Config::load(Some(Path::new("/nowhere/confgate.toml")), []).unwrap_err();
    assert!(missing[0].to_string().starts_with("/nowhere/confgate.toml: "));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("confgate.toml");
    std::fs::write(&path, "[admin]\ntoken = \"hush").unwrap();
    let broken = Config::load(Some(&path), []).unwrap_err()[0].to_string();
    assert!(broken.contains("line 2, column ") && !broken.contains("hush"), "{broken}");
}

#[test]
fn a_value_of_the_wrong_kind_is_blamed_once_whatever_stands_in_it() {
    assert_eq!(refused_keys("http = 5"), ["http"]);
    assert_eq!(refused_keys("http = []"), ["http"]);
    assert_eq!(refused_keys("[http]\nlisten = { a = 1, b = [2] }"), ["http.listen"]);
    assert_eq!(refused_keys("[auth]\nclients = { id = \"a\" }"), ["auth.clients"]);
    assert_eq!(refused_keys("[[callgw]]\nopen = true"), ["callgw"]);
    assert_eq!(refused_keys("[auth]\nkeys = [[\"k\", \"0123456789abcdef\"]]"), ["auth.keys[0]"]);
}

proptest::proptest! {
    #[test]
    fn no_variable_can_make_loading_panic(key in "[A-Z_]{1,20}", value in "\\PC{0,40}") {
        for section in ["HTTP", "AUTH", "EIM", "CALLGW", "STORE"] {
            for known in [&key, "CLIENTS", "NODES", "LISTEN", "USERS", "TURN", "URL"] {
                let _ = load("", &[(&format!("CONFGATE_{section}__{known}"), &value)]);
            }
        }
    }
}

#[test]
fn a_nodes_bare_address_leads_to_where_nodes_serve() {
    let node = |kind: &str, url: &str| {
        let text = format!(
            "[http]\nbase_path = \"/b\"\n[[callgw.nodes]]\nid = \"n\"\nkind = \"{kind}\"\nurl = \"{url}\"\n\
             admin_url = \"http://127.0.0.1:1\"\nsecret = \"a long random text\"\n"
        );
        let config = Config::from_table(text.parse().unwrap(), []).unwrap_or_else(|errors| panic!("{errors:?}"));
        config.callgw.nodes[0].url.as_ref().unwrap().to_string()
    };
    assert_eq!(node("confgate", "wss://192.168.78.29:8989"), "wss://192.168.78.29:8989/b/callgw");
    assert_eq!(node("confgate", "wss://[2001:db8::1]/"), "wss://[2001:db8::1]/b/callgw");
    assert_eq!(node("builtin", "wss://media1.example.org"), "wss://media1.example.org/b/callgw");
    assert_eq!(node("whip", "wss://media1.example.org"), "wss://media1.example.org/b/callgw/at/n");
    for own in ["wss://media1.example.org/groupcall", "wss://media1.example.org/x/"] {
        assert_eq!(node("confgate", own), own);
    }
}

/// The keys in the documents, each with the number that stands behind it in the same table row (`| limits.batch | 50
/// ... |`) or in brackets (`limits.grace_ms (20 s)`).
fn documented_numbers(text: &str) -> Vec<(String, u64)> {
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        let unit = text[digits.len()..].trim_start().split([' ', ')', ',', ';']).next().unwrap_or_default().to_owned();
        Some((digits.parse::<u64>().ok()?, unit))
    };
    let mut found = Vec::new();
    for line in text.lines() {
        for (at, _) in line.match_indices('`') {
            let Some((key, rest)) = line[at + 1..].split_once('`') else { continue };
            let is_key = key.split_once('.').is_some_and(|(section, key)| {
                let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                word(section) && word(key)
            });
            let after = rest.strip_prefix(" (").or_else(|| rest.strip_prefix(" | "));
            let (true, Some((value, unit))) = (is_key, after.and_then(number)) else { continue };
            let times = match unit.as_str() {
                "s" if key.ends_with("_ms") => 1000,
                "KiB" => 1024,
                "MiB" => 1024 * 1024,
                _ => 1,
            };
            found.push((key.to_owned(), value * times));
        }
    }
    found
}

#[test]
fn the_numbers_in_the_documents_are_the_defaults() {
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let mut compared = 0;
    for file in ["operation.md", "front-end.md", "integration.md"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
        for (key, value) in documented_numbers(&std::fs::read_to_string(path).unwrap()) {
            let (section, name) = key.split_once('.').unwrap();
            let Some(default) = defaults[section][name].as_u64() else { continue };
            assert_eq!(default, value, "{file} says {value} of {key}, whose default is {default}");
            compared += 1;
        }
    }
    assert!(compared > 15, "only {compared} numbers are found");
}

#[test]
fn an_office_of_five_hundred_guests_behind_one_address_opens_six_connections_each() {
    let opened = crate::rate_limit::budget::Budget::per_minute(Limits::default().connects_per_minute);
    let address = "192.0.2.1".parse().expect("an address");
    for n in 0..500 * 6 {
        assert_eq!(opened.take(address), Ok(()), "{n}");
    }
}
