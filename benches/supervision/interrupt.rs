//! Ctrl-C: noted here, and turned into an error by every wait, so that everything is cleaned up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Starts to watch for SIGINT, SIGTERM and SIGHUP. The signal mask stays as it is, for children
/// inherit it.
pub fn watch() -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("cannot start tokio")?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch SIGHUP")?;
    drop(entered);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
        });
        INTERRUPTED.store(true, Ordering::Relaxed);
        eprintln!("bench: interrupted, cleaning up");
    });
    Ok(())
}

/// An error once a signal has come.
pub fn check() -> anyhow::Result<()> {
    if interrupted() {
        bail!("interrupted");
    }
    Ok(())
}

/// Whether a signal has come.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Sleeps, and wakes early with an error when a signal comes.
pub fn sleep(mut time: Duration) -> anyhow::Result<()> {
    const STEP: Duration = Duration::from_millis(100);
    while !time.is_zero() {
        check()?;
        let step = time.min(STEP);
        std::thread::sleep(step);
        time -= step;
    }
    check()
}
