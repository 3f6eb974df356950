//! The supervisor: it reads what is declared, sees what runs, plans, and executes. It owns no workload.
//!
//! `daemon.rs` is the loop. The other files are what it consists of: `inbox.rs` (what comes in), `agenda.rs`
//! (who is planned next), `starts.rs` (the queue of starts), `declared.rs` (files), `watch.rs`
//! (hints), `cgroups.rs` (what keeps the limits), `observed.rs` (run directories), `run.rs` (a run as it is
//! known), `execute.rs` (effects), `seek.rs` (which processes fit), `attach.rs` (whose they are, taking them
//! over), `orphans.rs` (workloads without records), `copied.rs` (records of another state), `alarms.rs` (what the host
//! lacks), `spaces.rs` (free space), `folders.rs` (where it writes), `writer.rs` (reports on disk),
//! `environment.rs` (what workloads inherit), `lock.rs` (one at a time), `upgrade.rs` (a new version in its
//! place), `notify.rs` (the service manager).

pub mod agenda;
pub mod alarms;
pub mod attach;
pub mod cgroups;
pub mod copied;
pub mod daemon;
pub mod declared;
pub mod environment;
pub mod execute;
pub mod folders;
pub mod inbox;
pub mod lock;
pub mod notify;
pub mod observed;
pub mod orphans;
pub mod run;
pub mod seek;
pub mod spaces;
mod starts;
pub mod upgrade;
pub mod watch;
pub mod writer;
