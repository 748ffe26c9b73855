//! `confgate check --eim`: the whole conversation of a gateway with its EIM, played against the configured one, and a
//! table of what works. It makes a conference and two temporary accounts, and takes them back.

mod broker;
mod conversation;
mod ending;
mod entering;
mod events;
mod leading;
mod mask;
mod opening;
pub mod operations;
mod report;
mod warnings;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config, EimMode};
use crate::eim::convert::Dialect;
use crate::eim::{Eim, EimConfig};
use crate::ids::{ConfId, Secret, UserId, random_digits, random_text};
use crate::schema::Schema;
use crate::store::{NodeLock, NodeRole};
use broker::Broker;
use conversation::{Cast, Conversation, Made, Stop};
use events::EventStream;
use report::Report;
use warnings::Warnings;

/// How long the conversation may take, without its end. A good EIM needs a second or two.
const OVERALL_LIMIT: Duration = Duration::from_secs(180);
/// Digits of an account's id.
const ID_DIGITS: usize = 12;

/// The command line's part.
pub struct Options {
    /// The user of the EIM who makes the conference; `None`: the configuration's first client.
    pub chair: Option<UserId>,
    /// Rows as JSON lines.
    pub as_json: bool,
}

/// Why nothing was asked.
pub enum Unplayable {
    /// In the configuration or the command line.
    WrongUsage(String),
    /// A part is not as it must be.
    Failed(String),
    /// The output can't be written.
    Unwritable(io::Error),
}

/// Plays the conversation and prints the table; true where every must passed.
///
/// # Errors
/// Where it can't begin, or can't be printed.
pub async fn run(config: Config, schema: Schema, options: Options) -> Result<bool, Unplayable> {
    let chair = chair(&config, options.chair)?;
    if let Some(owner) = NodeLock::owner(&config.store, NodeRole::Node(&config.node.id)).await {
        return Err(Unplayable::Failed(format!("a gateway of this configuration runs ({owner}): stop it meanwhile")));
    }
    let (schema, warnings) = (Arc::new(schema), Warnings::collect());
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let settings = EimConfig::new(&config.eim, &schema);
    let started = Eim::start(&settings, None, &tracker, stop.clone());
    let (eim, inbound) = started.map_err(|why| Unplayable::Failed(format!("eim: {why}")))?;
    let node = format!("check-{}", random_text(12));
    let broker = Broker::start(&config, &schema, &node, &stop, &tracker);
    let (inbound, broker) = match broker {
        Some((broker, delivered)) => {
            events::discard(inbound);
            (delivered, Some(broker))
        }
        None => (inbound, None),
    };
    let conversation = Conversation {
        eim,
        mode: config.eim.mode,
        numbered: config.events.numbered,
        domain: config.eim.domain.clone(),
        dialect: Dialect::new(&schema, &config.eim.domain),
        limit: config.eim.timeout,
        events: EventStream::new(inbound, warnings),
        report: Report::new(options.as_json),
        cast: cast(&config, chair, node),
        made: Made::default(),
        secrets: Vec::new(),
        broker,
        schema,
    };
    let conforms = play_within_limit(conversation).await;
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    conforms.map_err(Unplayable::Unwritable)
}

/// The user who acts as the chair.
fn chair(config: &Config, wanted: Option<UserId>) -> Result<UserId, Unplayable> {
    if config.eim.mode.is_embedded() {
        let why = "eim.mode is \"builtin\": the EIM is the gateway's own. --eim is for one behind an XMPP server";
        return Err(Unplayable::WrongUsage(why.to_owned()));
    }
    let first = || config.auth.clients.first().map(config::Client::speaks_as);
    let why = "--as USER: a user of the EIM who may make a conference; the configuration has no client to take";
    let chair = wanted.or_else(first).ok_or_else(|| Unplayable::WrongUsage(why.to_owned()))?;
    if config.eim.mode == EimMode::C2s && chair_password(config, &chair).is_none() {
        let why = format!("with eim.mode = \"c2s\", {chair} needs an entry of auth.clients with a password");
        return Err(Unplayable::WrongUsage(why));
    }
    Ok(chair)
}

fn chair_password(config: &Config, chair: &UserId) -> Option<Secret> {
    let of_chair = config.auth.clients.iter().filter(|client| client.speaks_as() == *chair);
    of_chair.filter_map(|client| client.password.clone()).next()
}

fn cast(config: &Config, chair: UserId, node: String) -> Cast {
    let account = || UserId::parse(&format!("g{}", random_digits(ID_DIGITS))).expect("a letter and digits");
    let chair_password = chair_password(config, &chair);
    Cast { chair, chair_password, guest: account(), visitor: account(), node, conf_password: random_digits(ID_DIGITS) }
}

/// Plays it as far as it goes, takes back what was made, and ends the table.
async fn play_within_limit(mut conversation: Conversation) -> io::Result<bool> {
    conversation.secrets.push(conversation.cast.conf_password.clone());
    let because = tokio::select! {
        played = conversation.play() => match played {
            Ok(()) => "a row before it failed".to_owned(),
            Err(Stop(row)) => format!("{row} failed"),
        },
        () = tokio::time::sleep(OVERALL_LIMIT) => format!("{} s are over", OVERALL_LIMIT.as_secs()),
        _ = tokio::signal::ctrl_c() => "interrupted".to_owned(),
    };
    let left = conversation.clean_up().await;
    if !left.is_empty() {
        let remark = format!("Left behind, because the EIM did not take it back: {}.", left.join(", "));
        conversation.report.remark(&remark);
    }
    conversation.report.finish(&because)
}

impl Conversation {
    /// The order is that of the table.
    async fn play(&mut self) -> Result<(), Stop> {
        self.open().await?;
        let conf: ConfId = self.make_conference().await?;
        self.enter_chair(&conf).await?;
        self.enter_guest(&conf).await?;
        self.control_members(&conf).await;
        self.chat(&conf).await;
        self.use_lobby(&conf).await;
        self.lock(&conf).await;
        self.come_back(&conf).await;
        self.look_around().await;
        self.end(&conf).await;
        self.close().await;
        Ok(())
    }
}
