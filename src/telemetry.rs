//! What the supervisor says of itself: one line per event, with job, run and pid as fields.

use std::io;
use std::os::unix::fs::MetadataExt;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::schema::LogLevel;

/// Where lines go, and how they look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// To the journal if standard error leads there, else like `Human`.
    Auto,
    /// To standard error, for people.
    Human,
    /// To standard error, a JSON object per line.
    Json,
}

/// Begins to log. In the journal the fields are searchable: `journalctl FFRTMP_JOB=channel-7`.
///
/// # Errors
/// A logger is there already.
pub fn init(format: LogFormat, level: LogLevel) -> anyhow::Result<()> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let registry = tracing_subscriber::registry().with(level);
    if format == LogFormat::Auto
        && stderr_is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        return Ok(registry.with(journal.with_field_prefix(Some("FFRTMP".into()))).try_init()?);
    }
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    if format == LogFormat::Json {
        Ok(registry.with(layer.json().flatten_event(true)).try_init()?)
    } else {
        let color = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
        Ok(registry.with(layer.with_ansi(color)).try_init()?)
    }
}

/// As systemd documents it: `JOURNAL_STREAM` names device and inode of the stream it connected.
fn stderr_is_journal() -> bool {
    let Some((device, inode)) = std::env::var("JOURNAL_STREAM").ok().and_then(|stream| {
        let (device, inode) = stream.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    }) else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|meta| (meta.dev(), meta.ino()) == (device, inode))
}
