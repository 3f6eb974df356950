//! What the service manager is told of the supervisor (sd_notify(3)): that it is ready, reloading, alive
//! or leaving, and how many jobs run. Without `NOTIFY_SOCKET` in the environment, nothing is done.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::model::time::BootTime;
use crate::model::units::count;

/// The service manager, if there is one that listens.
#[derive(Debug)]
pub struct Manager {
    /// Without one, an idle supervisor need not wake.
    watchdog: Option<Watchdog>,
    /// `READY=1` is owed: at the start, and after each `RELOADING=1`.
    owes_ready: bool,
    /// The number of running jobs that it was told last.
    running: Option<usize>,
    /// An error is told once, until a message is taken again.
    failing: bool,
}

/// `WatchdogSec=` of the unit.
#[derive(Debug)]
struct Watchdog {
    /// Half of what the unit allows, as sd_watchdog_enabled(3) recommends.
    every: Duration,
    /// When it is fed next.
    due: BootTime,
}

impl Manager {
    /// As the environment tells: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    #[must_use]
    pub fn from_environment(now: BootTime) -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET")?;
        let watchdog = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        Some(Self {
            // The loop counts in milliseconds: less would make it spin.
            watchdog: watchdog
                .map(|limit| Watchdog { every: (limit / 2).max(Duration::from_millis(1)), due: now }),
            owes_ready: true,
            running: None,
            failing: false,
        })
    }

    /// When the watchdog has to be fed next.
    #[must_use]
    pub fn wake(&self) -> Option<BootTime> {
        self.watchdog.as_ref().map(|watchdog| watchdog.due)
    }

    /// A round of the loop has ended, and this many jobs run: feeds the watchdog. `ready`: all that was read
    /// is carried out.
    pub fn round_ended(&mut self, now: BootTime, running: usize, ready: bool) {
        let mut states = Vec::new();
        if ready && std::mem::take(&mut self.owes_ready) {
            states.push(NotifyState::Ready);
        }
        let status = format!("{} running", count(running, "job"));
        if self.running.replace(running) != Some(running) {
            states.push(NotifyState::Status(&status));
        }
        if let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.due <= now) {
            watchdog.due = now + watchdog.every;
            states.push(NotifyState::Watchdog);
        }
        self.tell(&states);
    }

    /// Everything is read again now; [`Self::round_ended`] says when that is done.
    pub fn reloading(&mut self) {
        // `Type=notify-reload` wants to know since when, so as not to take an older READY=1 for the answer.
        let mut states = vec![NotifyState::Reloading];
        states.extend(NotifyState::monotonic_usec_now());
        self.owes_ready = true;
        self.tell(&states);
    }

    /// The supervisor leaves, the workloads stay.
    pub fn leaving(&mut self, running: usize) {
        let status = format!("leaving, {} left running", count(running, "job"));
        self.tell(&[NotifyState::Stopping, NotifyState::Status(&status)]);
    }

    fn tell(&mut self, states: &[NotifyState]) {
        if states.is_empty() {
            return;
        }
        match sd_notify::notify(states) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                warn!("cannot tell the service manager, at NOTIFY_SOCKET: {error}");
            }
            Err(_) => {}
        }
    }
}
