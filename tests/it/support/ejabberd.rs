//! A private ejabberd, run by `erl` itself: no distribution, so no epmd and no cookie.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use super::xmpp_server::{
    ADMIN_COMPONENT, DOMAIN, Door, Flavor, MUC, SECOND_ADMIN_COMPONENT, Site, THIRD_ADMIN_COMPONENT,
};

pub struct Ejabberd;

impl Flavor for Ejabberd {
    fn name(&self) -> &'static str {
        "ejabberd"
    }

    fn configure(&self, site: &Site) {
        let read = |name| std::fs::read_to_string(site.path(name)).expect("the site has its certificate");
        site.write("both.pem", &(read("cert.pem") + &read("key.pem")));
        site.write("ejabberd.yml", &configuration(site));
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new("erl");
        // +sbwt: an idle scheduler sleeps instead of spinning on a core that another test needs.
        command.args(["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "-noinput"]);
        command.args(["-eval", FLUSH, "-mnesia", "dir"]).arg(format!("{:?}", site.path("db"))).args(["-s", "ejabberd"]);
        command
            .env("HOME", site.path(""))
            .env("ERL_LIBS", libraries())
            .env("ERL_CRASH_DUMP", site.path("crash.dump"))
            .env("EJABBERD_CONFIG_PATH", site.path("ejabberd.yml"))
            .env("EJABBERD_LOG_PATH", site.path("ejabberd.log"))
            .env("CONTRIB_MODULES_PATH", site.path("none"));
        command
    }

    fn flush(&self, site: &Site) {
        let path = site.path("flush");
        let mut door = UnixStream::connect(&path).expect("the running ejabberd has its door");
        let mut done = String::new();
        door.read_to_string(&mut done).expect("it answers");
        assert_eq!(done, "ok", "what ejabberd stored is on the disk");
        // The next one makes its own: an address that exists is taken.
        std::fs::remove_file(path).expect("a test's directory is writable");
    }
}

/// Mnesia writes behind, by up to two seconds: who connects to this socket has what it knows written, and reads `ok`.
const FLUSH: &str = r#"
spawn(fun() ->
    {ok, Door} = gen_tcp:listen(0, [{ifaddr, {local, "flush"}}]),
    Serve = fun Next() ->
        {ok, Caller} = gen_tcp:accept(Door),
        Done = mnesia:sync_log(),
        gen_tcp:send(Caller, atom_to_list(Done)),
        gen_tcp:close(Caller),
        Next()
    end,
    Serve()
end)."#;

/// Debian keeps ejabberd's Erlang library in the machine's multiarch directory.
fn libraries() -> PathBuf {
    let holds_ejabberd = |directory: &PathBuf| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|e| e.file_name()).any(|name| name.to_string_lossy().starts_with("ejabberd-"))
    };
    let directories = std::fs::read_dir("/usr/lib").expect("Debian has /usr/lib").flatten().map(|e| e.path());
    directories.into_iter().find(holds_ejabberd).expect("the package ejabberd is installed (see tests/run)")
}

/// The largest stanza is that of ejabberd's sample configuration. Three of its defaults stop a test: c2s is shaped to a few kB/s, an address may make one account in ten minutes,
/// and what isn't local goes looking for DNS.
fn configuration(site: &Site) -> String {
    let (c2s, direct_tls) = (site.c2s.number(), site.c2s_direct_tls.number());
    let doors: String = site.doors.iter().map(listener).collect();
    let certificate = site.path("both.pem");
    format!(
        r#"loglevel: warning
log_rotate_count: 0
hosts:
  - {DOMAIN}
certfiles:
  - {certificate:?}
auth_method: internal
auth_password_format: plain
registration_timeout: infinity
s2s_access: none
shaper_rules: {{}}
listen:
  - port: {c2s}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    access: all
    shaper: none
    max_stanza_size: 262144
    starttls: true
  - port: {direct_tls}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    access: all
    shaper: none
    max_stanza_size: 262144
    tls: true
{doors}acl:
  admin:
    server:
      - "{ADMIN_COMPONENT}"
      - "{SECOND_ADMIN_COMPONENT}"
      - "{THIRD_ADMIN_COMPONENT}"
access_rules:
  local:
    allow: all
  configure:
    allow: admin
  register:
    allow: all
modules:
  mod_adhoc: {{}}
  mod_configure: {{}}
  mod_disco: {{}}
  mod_muc:
    host: {MUC}
    max_users: 600
    max_user_conferences: 10000
  mod_ping: {{}}
  mod_register:
    ip_access: all
    access: register
    access_from: configure
  mod_roster: {{}}
  mod_stream_mgmt: {{}}
  mod_version: {{}}
"#
    )
}

fn listener(door: &Door) -> String {
    let (port, secret) = (door.port.number(), door.secret);
    let host = |domain: &&str| format!("      \"{domain}\":\n        password: \"{secret}\"\n");
    let hosts: String = door.domains.iter().map(host).collect();
    format!(
        r#"  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_service
    access: all
    shaper: none
    max_stanza_size: 262144
    check_from: true
    hosts:
{hosts}"#
    )
}
