//! An IQ as text in place of a JSON-RPC request: the same as `org.user.processIQ`, and counted as that.

use std::str;
use std::time::{Duration, Instant};

use super::Rpc;
use super::context::{Context, Params};
use super::iq::{self, NoIq};
use super::methods::Registered;
use crate::ids::random_text;
use crate::refusal::{Reason, Refusal};
use crate::xmpp::xml::Stanza;

/// The method whose access, rates and counters hold.
const METHOD: &str = "org.user.processIQ";
/// Characters of the id that an IQ without one gets.
const ID: usize = 16;

/// Why an IQ has no answer.
pub enum NotAnswered {
    /// The text is no XML that is read.
    Malformed(Refusal),
    /// It is no IQ that can be sent.
    Unsuitable(Refusal),
    /// It may not be sent, or its answer did not come.
    Refused(Refusal),
}

impl NotAnswered {
    /// The refusal.
    pub fn refusal(&self) -> &Refusal {
        let (Self::Malformed(refusal) | Self::Unsuitable(refusal) | Self::Refused(refusal)) = self;
        refusal
    }
}

impl From<Refusal> for NotAnswered {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<NoIq> for NotAnswered {
    fn from(why: NoIq) -> Self {
        match why {
            NoIq::Malformed(_) => Self::Malformed(why.into()),
            NoIq::Unsuitable(_) => Self::Unsuitable(why.into()),
        }
    }
}

impl Rpc {
    /// Sends the IQ in the caller's name and gives its answer, an IQ of type `error` too. One without an `id` gets one.
    /// `limit`: how long the answer may take, where that is less than `eim.timeout_ms`. The log's line has the id of the
    /// request that the caller has begun.
    ///
    /// # Errors
    /// Where it is not sent, or not answered.
    pub async fn process_iq(
        &self,
        context: &Context<'_>,
        text: &[u8],
        limit: Option<Duration>,
    ) -> Result<String, NotAnswered> {
        let registered = self.methods.get(METHOD).ok_or_else(|| Refusal::of(Reason::MethodNotFound))?;
        let began = Instant::now();
        let outcome = self.process_text(context, registered, text, limit).await;
        let refused = outcome.as_ref().err().map(NotAnswered::refusal);
        let kind = registered.counters.count(refused, began.elapsed());
        let (code, key) = (refused.map(|refusal| refusal.kind.code()), refused.map(Refusal::key));
        tracing::debug!(method = METHOD, outcome = kind, code, key, "rest");
        outcome.map(|answer| answer.to_xml())
    }

    async fn process_text(
        &self,
        context: &Context<'_>,
        registered: &Registered,
        text: &[u8],
        limit: Option<Duration>,
    ) -> Result<Stanza, NotAnswered> {
        let caller = self.identify(context, registered)?.ok_or_else(Refusal::unauthenticated)?;
        let text = str::from_utf8(text).map_err(|_| NoIq::Malformed("not UTF-8"))?;
        let mut iq = iq::read(text)?;
        let params = Params::new();
        self.rates.request(&caller, registered.act, &params)?;
        self.authorization.check(&caller, &registered.method, &params).await?;
        if iq.attr("id").is_none() {
            iq.set("id", random_text(ID));
        }
        Ok(self.namespaces.user.send_iq(&caller, iq, limit).await?)
    }
}
