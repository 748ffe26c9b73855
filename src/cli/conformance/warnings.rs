//! The link's and the broker's warnings during the check: they say why a message can't be read.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::sync::lock;

/// Most warnings that are kept, the newest.
const KEPT_MAX: usize = 8;
/// Whose warnings they are.
const SOURCE: &str = "confgate::eim";

/// The newest warnings. Cheap to clone.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Mutex<VecDeque<String>>>);

impl Warnings {
    /// Collects those of the whole process from now on. Of no effect where the process logs already.
    pub fn collect() -> Self {
        let warnings = Self::default();
        // An error here: somebody else collects them.
        let _ = tracing_subscriber::registry().with(warnings.clone()).try_init();
        warnings
    }

    /// Those since the last time.
    pub fn take(&self) -> Vec<String> {
        lock(&self.0).drain(..).collect()
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || !metadata.target().starts_with(SOURCE) {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let mut kept = lock(&self.0);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(text.0);
    }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            "suppressed" => Ok(()),
            name => write!(self.0, " ({name}: {value:?})"),
        };
    }
}
