//! What is declared, and which processes fit what attach jobs ask for: who has to be planned when either changes.

use std::collections::BTreeSet;

use tracing::{error, info, warn};

use super::Daemon;
use crate::linux::clock;
use crate::model::ids::JobId;
use crate::reconcile::plan::Wanted;
use crate::supervisor::declared::{Hint, News, Scan};
use crate::supervisor::run::Run;
use crate::supervisor::targets::{matches, rules};
use crate::supervisor::watch::Notice;

impl Daemon {
    /// Reads all files again, and what could not be read of runs.
    pub(super) fn rescan(&mut self) {
        if self.watch.refresh() {
            // What happened between the last look and the new watch is seen by this scan.
            info!(
                "watching {} and {}",
                self.declared.jobs_d().display(),
                self.declared.profiles_d().display()
            );
        }
        if let Err(error) = self.executor.check_claim() {
            error!("{error}");
        }
        self.look_at_disk();
        let now = clock::now();
        let scan = self.declared.scan(now);
        self.executor.resync_mut().rescanned(now.boot);
        self.scanned(scan);
        for job in self.executor.jobs_mut().take_opaque() {
            self.executor.take_over(&job);
            if self.executor.jobs_mut().get_mut(&job).is_some_and(|tracked| !tracked.is_opaque()) {
                self.executor.is_seen_again(&job);
            }
        }
    }

    /// Reads the files of which something was told.
    pub(super) fn noticed(&mut self, notices: Vec<Notice>) {
        let mut hints: BTreeSet<Hint> = BTreeSet::new();
        for notice in notices {
            match notice {
                Notice::Everything => return self.rescan(),
                Notice::File(hint) => drop(hints.insert(hint)),
            }
        }
        // Complete wins, where both were told.
        let complete: BTreeSet<String> =
            hints.iter().filter(|hint| hint.complete).map(|hint| hint.stem.clone()).collect();
        hints.retain(|hint| hint.complete || !complete.contains(&hint.stem));
        let scan = self.declared.look_at(&hints, clock::now());
        self.scanned(scan);
    }

    fn scanned(&mut self, scan: Scan) {
        for news in scan.news {
            match news {
                News::Error(text) => error!("{text}"),
                News::Warning(text) => warn!("{text}"),
                News::Mended(path) => info!("{}: valid again", path.display()),
            }
        }
        let is_rule =
            |id: &JobId| matches!(self.declared.wanted(id), Wanted::Run(job) if job.attach().is_some());
        if scan.changed.iter().any(|id| is_rule(id) || self.seeker.seeks(id)) {
            self.seeker.set_rules(rules(&self.declared));
            self.seek();
        }
        // What a rule for all governs are runs of other names.
        let stems: BTreeSet<&str> = scan.changed.iter().map(JobId::stem).collect();
        let jobs = self.executor.jobs_mut();
        let of_rules: Vec<JobId> = stems.iter().flat_map(|stem| jobs.instances(stem)).cloned().collect();
        of_rules.iter().chain(&scan.changed).for_each(|job| jobs.mark_urgent(job));
        if !scan.gone.is_empty() {
            let is_gone = |job: &&JobId| scan.gone.contains(job.stem());
            let gone: Vec<JobId> = jobs.names().filter(is_gone).cloned().collect();
            gone.iter().for_each(|job| jobs.mark_urgent(job));
        }
        if let Some(at) = scan.again {
            self.executor.resync_mut().rescan_by(at);
        }
    }

    /// Looks for processes that fit, and has the jobs planned for which that changes something.
    pub(super) fn seek(&mut self) {
        self.heed_attach_news();
        // Whatever changes a run has its job planned; most events come without.
        let jobs = self.executor.jobs();
        if std::mem::take(&mut self.planned) || !jobs.agenda().is_empty() {
            // Whoever descends from one of these is governed already.
            let live = jobs.runs().map(|(_, run)| run).filter(|run| run.is_live());
            self.seeker.set_governed(live.flat_map(Run::ours).collect());
        }
        let changed = self.seeker.look(clock::boot());
        self.mark_rules(changed);
    }

    /// Tells those who look for processes what became of some: who has ended, and that one is nobody's any more, for
    /// which other jobs may wait.
    pub(super) fn heed_attach_news(&mut self) {
        for process in self.executor.attach_news().take_ended() {
            self.seeker.note_end(&process);
        }
        if self.executor.attach_news().take_freed() {
            self.mark_rules(rules(&self.declared).into_keys());
        }
    }

    /// Has attach jobs planned, and the runs of those that govern all that fit.
    fn mark_rules(&mut self, rules: impl IntoIterator<Item = JobId>) {
        let jobs = self.executor.jobs_mut();
        for rule in rules {
            let all = matches!(self.declared.wanted(&rule), Wanted::Run(job) if job.attach().is_some_and(|a| a.all));
            if all {
                let mut runs = matches(&self.seeker, &rule);
                // Those that have ended, too: that nothing is wanted of them any more may be new.
                let ended = |id: &&JobId| !jobs.run(id).is_some_and(Run::is_live);
                runs.extend(jobs.instances(rule.stem()).filter(ended).cloned());
                runs.iter().for_each(|id| jobs.mark(id));
            }
            jobs.mark(&rule);
        }
    }
}
