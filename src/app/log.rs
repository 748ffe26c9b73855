//! The log on stderr: `tracing` events as text or JSON lines.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter, format};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};
use crate::refusal::request_id;

/// Starts logging for the whole process. `rust_log` is the variable `RUST_LOG`, which wins over `log.filter`; where it
/// cannot be read it is warned about and `log.filter` holds.
///
/// # Errors
/// Where the process logs already.
pub fn init(log: &Log, rust_log: Option<&str>) -> Result<(), TryInitError> {
    let (filter, unread) = filter(log, rust_log);
    let color = std::io::stderr().is_terminal();
    subscriber(log.format, filter, color, std::io::stderr).try_init()?;
    if let Some(error) = unread {
        tracing::warn!(%error, "RUST_LOG is not a filter; log.filter holds");
    }
    Ok(())
}

/// The filter, and why `rust_log` is not it where it should be.
fn filter(log: &Log, rust_log: Option<&str>) -> (EnvFilter, Option<String>) {
    let wanted = rust_log.filter(|text| !text.is_empty()).map(EnvFilter::try_new);
    // A configuration whose filter cannot be read has been refused.
    let configured = || EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    match wanted {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (configured(), Some(error.to_string())),
        None => (configured(), None),
    }
}

fn subscriber<W>(format: LogFormat, filter: EnvFilter, color: bool, to: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let base = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_heard));
    // A layer prints its own write errors on stderr: where stderr is gone, that is a panic.
    let lines = tracing_subscriber::fmt::layer().with_writer(to).log_internal_errors(false);
    match format {
        LogFormat::Text => Box::new(base.with(lines.with_ansi(color).event_format(WithRequest(format::format())))),
        LogFormat::Json => {
            let json = format::json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(base.with(lines.json().event_format(WithRequest(json))))
        }
    }
}

/// Each line as that format has it, with the id of the request that it belongs to. No span: it would cost every request,
/// also those of which nothing is logged.
struct WithRequest<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithRequest<F>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'f> FormatFields<'f> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(id) = request_id::current() else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(members) => write!(writer, "{{\"traceId\":\"{id}\",{members}"),
            None => writeln!(writer, "{} traceId={id:?}", line.trim_end()),
        }
    }
}

/// Libraries that speak with strangers, and warn of what those do wrong: as often as they do it.
const OF_STRANGERS: [&str; 4] = ["h2", "hyper", "str0m", "dimpl"];

/// Libraries whose errors are their caller's to log, once: they repeat them at each layer, and at a normal stop.
const SILENT: [&str; 1] = ["lapin"];

/// Below INFO libraries print headers, frames and statements: tokens and message text, which never appear in a log,
/// whatever the filter asks for.
fn may_be_heard(event: &Metadata<'_>) -> bool {
    let library = event.target().split("::").next().unwrap_or_default();
    let most = if OF_STRANGERS.contains(&library) { Level::ERROR } else { Level::INFO };
    library == "confgate" || *event.level() <= most && !SILENT.contains(&library)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The output when the events of `say` pass.
    fn written(log: &Log, rust_log: Option<&str>, write: impl FnOnce()) -> String {
        let lines = Lines::default();
        let to = lines.clone();
        let subscriber = subscriber(log.format, filter(log, rust_log).0, false, move || to.clone());
        tracing::subscriber::with_default(subscriber, write);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn rust_log_wins_over_the_configuration() {
        let write = || tracing::debug!("detail");
        assert!(!written(&Log::default(), None, write).contains("detail"));
        assert!(!written(&Log::default(), Some(""), write).contains("detail"));
        assert!(written(&Log::default(), Some("confgate=debug"), write).contains("detail"));
        assert!(filter(&Log::default(), Some("info,=x=")).1.is_some());
    }

    #[test]
    fn no_filter_makes_libraries_print_what_passes_through_them() {
        let text = written(&Log::default(), Some("trace"), || {
            tracing::trace!(target: "tungstenite::protocol", "Bearer hush");
            tracing::debug!(target: "h2::codec", "hush");
            tracing::debug!(target: "confgatemimic", "hush");
            tracing::info!(target: "sqlx::query", "slow");
            tracing::error!(target: "lapin::io_loop", "hush: the connection ended");
            tracing::trace!("own");
        });
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("slow") && text.contains("own"), "{text}");
    }

    #[test]
    fn a_json_line_is_one_object_with_its_fields() {
        let log = Log { format: LogFormat::Json, ..Log::default() };
        let text = written(&log, None, || tracing::info!(conf_id = "c1", "conference ended"));
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "conference ended");
        assert_eq!(line["conf_id"], "c1");
        assert_eq!(line["level"], "INFO");
    }
}
