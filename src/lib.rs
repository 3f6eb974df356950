//! ffrtmp-sup: declarative, non-owning supervision of media workloads. Start reading here; the whole
//! picture, and the flow of one edit through the code, is in `docs/architecture.md`.
//!
//! | module | what it is |
//! |---|---|
//! | [`model`] | The nouns: jobs, constraints, exits, reports, identifiers, units. Pure |
//! | [`config`] | From TOML on disk to jobs: parse, profiles, resolve |
//! | [`reconcile`] | From what is wanted and seen to what is to be done: the plan. Pure |
//! | [`runs`] | The directory of a run: its records and its lock |
//! | [`lint`] | What is wrong with a file, for people, editors and CI |
//! | [`logs`] | Output files of jobs: kept within a bound while they are written |
//! | [`linux`] | The kernel's side: process identity, priorities, spawning |
//! | [`wrapper`] | The small process that is the parent of one workload |
//! | [`supervisor`] | The loop: watch, observe, plan, execute, report |
//! | [`commands`] | What the commands of `ffrtmp-sup` do that look without touching: status, plan, doctor, sla |
//! | [`worker`] | The documents that worker agents exchange with their master. Pure |
//! | [`convert`] | Job files, made from systemd units, supervisord programs and worker documents. Pure |
//! | [`cli`] | The command line of `ffrtmp`: options, and the job that they come to |
//! | [`telemetry`] | Log lines |
//! | [`abort`] | Where tests end a process; nothing, in a release |
//!
//! What is written on disk, below the state folder ([`config::paths::Layout`]):
//!
//! | file | by |
//! |---|---|
//! | `runs/<job>/<run-id>/wrapper.lock` | the supervisor; held by the wrapper for as long as it lives |
//! | `runs/<job>/<run-id>/spec.json` | the supervisor, before a start and at each edit in place |
//! | `runs/<job>/<run-id>/started.json` | the wrapper, before the program's first instruction |
//! | `runs/<job>/<run-id>/stop.json` | the supervisor, before it sends the stop signal |
//! | `runs/<job>/<run-id>/exited.json` | the wrapper, before it ends; else the supervisor that noticed |
//! | `reports/<job>.json` | the supervisor, at each change of a job's life |
//! | `reports/history/<job>/<run-id>.json` | the supervisor, for each run that ended |
//! | `logs/<job>.log` | the workload, where its output goes to a file |
//! | `logs/<job>.log.1`, `.2` ... | the supervisor: older pieces of that, the newest first |
//! | `supervisor.lock` | the supervisor: one per state |
//! | `cli/reports/<job>.json`, `cli/reports/history/<job>/<run-id>.json` | `ffrtmp run` and `ffrtmp attach`, for a run with a name |
//!
//! And below the run folder, which a reboot empties:
//!
//! | file | by |
//! |---|---|
//! | `cgroups.json` | the supervisor, at its start: what keeps limits |
//! | `cli/<job>/<run-id>/` with `wrapper.lock`, `spec.json`, `started.json` | the keeper of `ffrtmp run`, and `ffrtmp attach`; gone with the run |

pub mod abort;
pub mod cli;
pub mod commands;
pub mod config;
pub mod convert;
pub mod lint;
pub mod linux;
pub mod logs;
pub mod model;
pub mod reconcile;
pub mod runs;
pub mod supervisor;
pub mod telemetry;
pub mod worker;
pub mod wrapper;
