//! The command line.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::{Args, Parser, Subcommand};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use crate::app;
use crate::app::lifecycle::Failure;
use crate::app::print::{complain, print};
use crate::config::{self, Config, ConfigError};
use crate::eim::inbound::check_examples;
use crate::http::client::post_json;
use crate::ids::UserId;
use crate::schema::Schema;

pub mod check;
pub mod conformance;
mod store;

/// Exit code for wrong arguments or configuration.
const WRONG_USAGE: u8 = 2;

/// Web conferences of an XMPP enterprise messenger, entered from a plain browser.
#[derive(Parser)]
#[command(name = "confgate", version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway (also what happens without a command)
    Serve(Serve),
    /// Try every configured part for real, a line each; with --eim, play a whole conference with the EIM
    Check(Check),
    /// Run the built-in EIM as external components of an XMPP server
    Eim(ConfigFile),
    /// Run only a call gateway node: the node of kind "builtin" whose id is node.id
    Media(ConfigFile),
    /// Print the RPC schema (OpenRPC)
    Openrpc(ConfigFile),
    /// Print the event schema (AsyncAPI)
    Asyncapi(ConfigFile),
    /// Print the commented default configuration
    Config,
    /// Work on databases that no process uses
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Work with conferences through a running gateway
    #[command(subcommand)]
    Conference(ConferenceCommand),
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// Listen at this address instead of http.listen
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration; without one, everything is embedded
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Play every operation of a conference against the EIM, and print which work
    #[arg(long)]
    eim: bool,
    /// The user of the EIM who makes the conference; the configuration's first client without
    #[arg(long = "as", value_name = "USER", requires = "eim", value_parser = user)]
    chair: Option<UserId>,
    /// Print JSON, an object a line
    #[arg(long, requires = "eim")]
    json: bool,
}

fn user(text: &str) -> Result<UserId, &'static str> {
    UserId::parse(text).ok_or("a user's id has 1 to 64 of the characters a-z 0-9 . _ -")
}

#[derive(Subcommand)]
enum ConferenceCommand {
    /// Make a conference and print its link
    Create(Create),
}

#[derive(Args)]
struct Create {
    /// The conference's name
    #[arg(long)]
    name: String,
    /// Its password; one is made without
    #[arg(long)]
    password: Option<String>,
    /// When it starts, in milliseconds since 1970; at once without
    #[arg(long, value_name = "MS")]
    start_at: Option<u64>,
    /// Guests wait until the chair lets them in
    #[arg(long)]
    lobby: bool,
    /// How newcomers' microphones are treated
    #[arg(long, value_parser = ["free", "joinMuted", "locked"])]
    mute_policy: Option<String>,
    #[arg(long, help = "The gateway, such as https://meet.example.org/gzbwclient")]
    url: String,
    /// A client of the gateway's configuration
    #[arg(long)]
    client_id: String,
    /// A file that holds the client's secret
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// A PEM file of the certificate to trust; the system's without
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Does what the command line says; the exit code tells how it ended.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let code = runtime.block_on(perform(cli.command.unwrap_or(Command::Serve(cli.serve))));
    // Blocking work that is left over must not hold up the end.
    runtime.shutdown_background();
    code
}

async fn perform(command: Command) -> ExitCode {
    match command {
        Command::Serve(serve) => match load(&serve.file.config, serve.listen.as_deref()) {
            Ok(config) => match load_schema(&config) {
                Ok(schema) => ended(app::serve(config, schema, serve.file.config.is_none()).await),
                Err(code) => code,
            },
            Err(code) => code,
        },
        Command::Eim(file) => {
            let loaded = Config::load_eim_service(file.config.as_deref(), config::process_environment());
            match loaded.map_err(wrong_configuration) {
                Ok(config) => ended(app::serve_eim(config).await),
                Err(code) => code,
            }
        }
        Command::Media(file) => {
            let loaded = Config::load_media_service(file.config.as_deref(), config::process_environment());
            match loaded.map_err(wrong_configuration) {
                Ok(config) => ended(app::serve_media(config).await),
                Err(code) => code,
            }
        }
        Command::Check(check) => match load(&check.file.config, None) {
            Ok(config) if check.eim => check_eim(config, check).await,
            Ok(config) => match check::run(config).await {
                Ok(well) => ExitCode::from(u8::from(!well)),
                Err(error) => printed(Err(error)),
            },
            Err(code) => code,
        },
        Command::Openrpc(file) => print_schema(&file, Schema::openrpc),
        Command::Asyncapi(file) => print_schema(&file, Schema::asyncapi),
        Command::Config => printed(print(config::EXAMPLE.trim_end())),
        Command::Store(store::StoreCommand::Copy(copy)) => match store::copy(&copy).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        Command::Conference(ConferenceCommand::Create(create)) => match create_conference(&create).await {
            Ok(link) => printed(print(link)),
            Err(error) => failed(&error),
        },
    }
}

async fn check_eim(config: Config, check: Check) -> ExitCode {
    let schema = match load_schema(&config) {
        Ok(schema) => schema,
        Err(code) => return code,
    };
    let options = conformance::Options { chair: check.chair, as_json: check.json };
    match conformance::run(config, schema, options).await {
        Ok(conforms) => ExitCode::from(u8::from(!conforms)),
        Err(conformance::Unplayable::WrongUsage(why)) => {
            complain(why);
            ExitCode::from(WRONG_USAGE)
        }
        Err(conformance::Unplayable::Failed(why)) => failed(&why.into()),
        Err(conformance::Unplayable::Unwritable(error)) => printed(Err(error)),
    }
}

fn ended(outcome: Result<crate::app::lifecycle::Outcome, Failure>) -> ExitCode {
    match outcome {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) => failed(&error),
    }
}

fn failed(error: &Failure) -> ExitCode {
    complain(error);
    ExitCode::FAILURE
}

/// A reader that has taken what it wanted and gone is no failure, as with any other command in a pipe.
fn printed(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&format!("writing to stdout: {error}").into()),
    }
}

/// The configuration, or all that is wrong with it on stderr.
fn load(file: &Option<PathBuf>, listen: Option<&str>) -> Result<Config, ExitCode> {
    let listen = listen.map(|address| ("CONFGATE_HTTP__LISTEN".to_owned(), address.to_owned()));
    Config::load(file.as_deref(), config::process_environment().chain(listen)).map_err(wrong_configuration)
}

fn wrong_configuration(errors: Vec<ConfigError>) -> ExitCode {
    for error in errors {
        complain(error);
    }
    ExitCode::from(WRONG_USAGE)
}

fn print_schema(file: &ConfigFile, part: fn(&Schema) -> &Value) -> ExitCode {
    let config = match load(&file.config, None) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match load_schema(&config) {
        Ok(schema) => {
            let schema = schema.served_at(&config.http.web_address(config.http.listen));
            printed(print(format_args!("{:#}", part(&schema))))
        }
        Err(code) => code,
    }
}

/// The schema with the configuration's own files, or all that is wrong with them on stderr.
fn load_schema(config: &Config) -> Result<Schema, ExitCode> {
    read_schema(config).map_err(|errors| {
        for error in errors {
            complain(error);
        }
        ExitCode::from(WRONG_USAGE)
    })
}

/// The schema with the configuration's own files, whose examples come out as they say.
fn read_schema(config: &Config) -> Result<Schema, Vec<String>> {
    let schema = Schema::load_for(config.eim.schema_dir.as_deref(), config.events.numbered)?;
    check_examples(&schema)?;
    Ok(schema)
}

async fn create_conference(create: &Create) -> Result<String, Failure> {
    let secret = tokio::fs::read_to_string(&create.secret_file)
        .await
        .map_err(|error| format!("{}: {error}", create.secret_file.display()))?;
    let params = json!({
        "grantType": "client_credentials", "clientId": create.client_id, "clientSecret": secret.trim(),
    });
    let gateway = Gateway { address: rpc_address(&create.url), ca: create.ca.as_deref() };
    let session = gateway.call("auth.http.login", params, None).await?;
    let mut params = json!({"name": create.name, "lobby": create.lobby});
    let optional = [
        ("password", create.password.clone().map(Value::from)),
        ("startAt", create.start_at.map(Value::from)),
        ("mutePolicy", create.mute_policy.clone().map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            params[name] = value;
        }
    }
    let made = gateway.call("conference.create", params, session["accessToken"].as_str()).await?;
    Ok(made["link"]["url"].as_str().ok_or("the gateway answered without a link")?.to_owned())
}

/// The JSON-RPC address of a gateway's address.
fn rpc_address(url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.ends_with("/jsonrpc") { url.to_owned() } else { format!("{url}/jsonrpc") }
}

/// A running gateway, as a client sees it.
struct Gateway<'a> {
    address: String,
    ca: Option<&'a Path>,
}

impl Gateway<'_> {
    async fn call(&self, method: &str, params: Value, token: Option<&str>) -> Result<Value, Failure> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}"))?);
        }
        let (status, body) = post_json(&self.address, headers, Bytes::from(request), self.ca).await?;
        let reply: Value = serde_json::from_slice(&body).map_err(|_| format!("{method}: HTTP {status}, no JSON"))?;
        match reply.get("error") {
            Some(error) => Err(format!("{method}: {} ({})", error["message"], error["data"]["key"]).into()),
            None => Ok(reply["result"].clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_gateways_address_leads_to_its_rpc() {
        assert_eq!(rpc_address("https://h:1/b/"), "https://h:1/b/jsonrpc");
        assert_eq!(rpc_address("https://h:1/b/jsonrpc"), "https://h:1/b/jsonrpc");
    }
}
