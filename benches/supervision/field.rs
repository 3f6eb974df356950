//! What was measured of other supervisors and of ours beside them, and its table.

use serde::Serialize;

use crate::stats::Summary;
use crate::table::{DASH, figure, print_table, short};

/// How many jobs there are where memory and CPU are measured.
pub const FEW: usize = 200;
/// How many there are where only their start is.
pub const MANY: usize = 1000;

/// A job after a process of its supervisor was killed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Survival {
    /// How many of its workloads run.
    pub copies: usize,
    /// The one that ran before is among them.
    pub same_pid: bool,
}

/// Whether an exit code is told that a workload had while no manager lived.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Telling {
    /// By the next manager, or by a helper that lived.
    Told,
    /// It is nowhere.
    Lost,
    /// It is nowhere either where the manager lives.
    NeverTold,
}

/// What was measured of one supervisor.
#[derive(Debug, Default, Serialize)]
pub struct Standing {
    /// As its users call it.
    pub name: &'static str,
    /// As it calls it.
    pub version: Option<String>,
    /// Why nothing was measured.
    pub missing: Option<String>,
    /// SIGKILL of the manager, which then is started again.
    pub manager_killed: Option<Survival>,
    /// SIGKILL of the helper that has one job; none where there is no such process.
    pub helper_killed: Option<Survival>,
    /// An exit after SIGKILL of the manager, before it is started again.
    pub exit_between: Option<Telling>,
    /// Whether the job runs on when the manager has ended by SIGTERM.
    pub outlives_sigterm: Option<bool>,
    /// Seconds from the start of the manager until the last of [`FEW`] workloads runs.
    pub few_s: Option<Summary>,
    /// The same of [`MANY`].
    pub many_s: Option<Summary>,
    /// PSS in MiB of manager and helpers with [`FEW`] jobs.
    pub memory_mib: Option<Summary>,
    /// Their CPU time while nothing happens, as percent of a core.
    pub idle_percent: Option<Summary>,
    /// Milliseconds from a workload's last act to the first of the next.
    pub restart_ms: Option<Summary>,
    /// What could not be measured, and why.
    pub notes: Vec<String>,
}

/// All of them.
#[derive(Debug, Serialize)]
pub struct Field {
    /// Seconds that so many bare posix_spawn take: the reference.
    pub spawn_few_s: Option<Summary>,
    /// The same of [`MANY`].
    pub spawn_many_s: Option<Summary>,
    /// Ours first.
    pub supervisors: Vec<Standing>,
}

impl Field {
    /// One row a supervisor; every figure is the median of its samples.
    pub fn print(&self) {
        let head = [
            "supervisor",
            "manager killed",
            "helper killed",
            "exit in between",
            "SIGTERM",
            "200 jobs",
            "1,000 jobs",
            "memory",
            "idle CPU",
            "restart",
        ];
        let spawns = [&self.spawn_few_s, &self.spawn_many_s].map(Option::as_ref);
        let mut reference = std::array::from_fn(|_| DASH.to_owned());
        reference[0] = "posix_spawn, no supervisor".into();
        reference[5] = figure(spawns[0], "s");
        reference[6] = figure(spawns[1], "s");
        let here = self.supervisors.iter().filter(|standing| standing.missing.is_none());
        let rows = here.map(|standing| standing.cells(spawns));
        print_table(&head.map(String::from), std::iter::once(reference).chain(rows));
        for Standing { name, missing, notes, .. } in &self.supervisors {
            if let Some(why) = missing {
                println!("{name}: not here: {why}");
            }
            notes.iter().for_each(|note| println!("{name}: {note}"));
        }
    }
}

impl Standing {
    fn cells(&self, [few, many]: [Option<&Summary>; 2]) -> [String; 10] {
        let survival = |survival: Option<Survival>| match survival {
            None => DASH.into(),
            Some(Survival { copies: 1, same_pid: true }) => "same process".into(),
            Some(Survival { copies: 1, same_pid: false }) => "new process".into(),
            Some(Survival { copies, .. }) => format!("{copies} copies"),
        };
        let time = |ours: &Option<Summary>, spawn: Option<&Summary>| match (ours, spawn) {
            (Some(ours), Some(spawn)) if spawn.median > 0.0 => {
                format!("{} s ({} x)", short(ours.median), short(ours.median / spawn.median))
            }
            _ => figure(ours.as_ref(), "s"),
        };
        [
            format!("{} {}", self.name, self.version.as_deref().unwrap_or_default()).trim_end().into(),
            survival(self.manager_killed),
            survival(self.helper_killed),
            match self.exit_between {
                None => DASH,
                Some(Telling::Told) => "told",
                Some(Telling::Lost) => "lost",
                Some(Telling::NeverTold) => "never told",
            }
            .into(),
            match self.outlives_sigterm {
                None => DASH,
                Some(true) => "job lives",
                Some(false) => "job ends",
            }
            .into(),
            time(&self.few_s, few),
            time(&self.many_s, many),
            figure(self.memory_mib.as_ref(), "MiB"),
            self.idle_percent.as_ref().map_or_else(|| DASH.into(), |idle| format!("{:.2} %", idle.median)),
            figure(self.restart_ms.as_ref(), "ms"),
        ]
    }
}
