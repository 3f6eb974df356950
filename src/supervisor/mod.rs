//! The supervisor: it reads what is declared, sees what runs, plans, and executes. It owns no workload.
//!
//! Each part is a type that owns its state, and is given what it needs. They depend on each other downwards only:
//!
//! - `start_up.rs` makes the parts, and begins.
//! - `daemon/` is the loop, which alone knows all parts: `serve.rs` (rounds), `settle.rs` (planning), `files.rs` (what is
//!   declared, which processes fit), `upgrade.rs`.
//! - `execute/` does what plans ask for, and sees what became of it: `act.rs` is the list, the others one concern each.
//! - What it works with: `jobs.rs` (what is tracked of each job), `run/` (a run as it is known), `observed.rs` (run
//!   directories), `agenda.rs` (who is planned next), `starts.rs` (the queue of starts), `host.rs` (what each run is made
//!   with), `reporter.rs` and `writer.rs` (reports on disk), `kept_logs.rs` (bounds of logs), `alarms.rs` (what the host
//!   lacks), `orphans.rs` (workloads without records), `spaces.rs` and `reserve.rs` (free space), `reaper.rs` (children that ended), `attach_news.rs` (what became
//!   of processes), `resync.rs` (when all is looked at), `claim.rs` and `lock.rs` (one supervisor at a time).
//! - What the loop hears and reads: `inbox.rs` (all sources, served in turn), `changes.rs` (of runs), `watch.rs` (hints of
//!   files), `declared.rs` (files), `seek.rs` (which processes fit), `targets.rs` (whose they are).
//! - `cgroups.rs`, `copied.rs` (records of another state), `environment.rs`, `folders.rs`, `open_files.rs`, `notify.rs` (the service manager), `upgrade.rs` (the
//!   program that takes our place).

pub mod agenda;
pub mod alarms;
pub mod attach_news;
pub mod cgroups;
pub mod changes;
pub mod claim;
pub mod copied;
pub mod daemon;
pub mod declared;
pub mod environment;
pub mod execute;
pub mod folders;
pub mod host;
pub mod inbox;
pub mod jobs;
pub mod kept_logs;
pub mod lock;
pub mod notify;
pub mod observed;
pub mod open_files;
pub mod orphans;
pub mod reaper;
pub mod reporter;
pub mod reserve;
pub mod resync;
pub mod run;
pub mod seek;
pub mod spaces;
pub mod start_up;
pub mod starts;
pub mod targets;
pub mod upgrade;
pub mod watch;
pub mod writer;
