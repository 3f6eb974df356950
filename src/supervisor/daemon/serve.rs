//! The rounds.

use std::time::Duration;

use tracing::info;

use super::Daemon;
use crate::abort::{self, Point};
use crate::linux::clock;
use crate::model::time::BootTime;
use crate::model::units::count;
use crate::runs::retention::Needed;
use crate::supervisor::changes::RunChanged;
use crate::supervisor::inbox::{Inbox, Message};
use crate::supervisor::run::Run;
use crate::supervisor::upgrade::{block_signals, unblock_signals};

impl Daemon {
    /// Takes over what runs, reads what is declared, and sees to both until it is told to leave.
    ///
    /// # Errors
    /// It is not known what runs; or another supervisor has the state.
    pub async fn serve(mut self, mut inbox: Inbox) -> anyhow::Result<()> {
        info!(jobs_d = %self.declared.jobs_d().display(), "supervising, pid {}", std::process::id());
        // Watched before the first scan, so that nothing falls between the two.
        self.watch.refresh();
        self.take_over()?;
        abort::at(Point::TakenOver);
        self.executor.keep_logs();
        self.rescan();
        self.executor.tell_undeclared(self.declared.jobs());
        self.ready_at = self.executor.jobs().agenda().end();
        // What ended while the program was exchanged: only now, as a child that is reaped tells nobody else.
        self.executor.reap();
        let mut upgrading = false;
        loop {
            self.settle_some();
            self.start_some();
            if let Some(why) = self.executor.usurped().map(str::to_owned) {
                self.leave();
                anyhow::bail!(why);
            }
            let now = clock::boot();
            let resync = self.executor.resync().wake();
            let next = self.tell_manager(now).into_iter().chain(self.wakes()).fold(resync, Ord::min);
            let planning = !self.executor.jobs().agenda().is_empty();
            let busy = planning || self.executor.is_behind() || upgrading;
            let patience = if busy { Duration::ZERO } else { next.since(now) };
            let messages = inbox.next(patience, self.seeker.readable()).await;
            // Before anything that came in: what is due must not wait for what happens.
            self.timer();
            self.executor.catch_up();
            let mut asked = false;
            for message in messages {
                match message {
                    Message::Leave => {
                        self.leave();
                        return Ok(());
                    }
                    Message::Upgrade => {
                        block_signals();
                        asked = true;
                    }
                    other => self.carry(other),
                }
            }
            // A round later: what was heard before signals were held comes first.
            if std::mem::replace(&mut upgrading, asked) {
                self.upgrade();
                unblock_signals();
                upgrading = false;
            }
        }
    }

    /// Reads the run directories: what runs is taken over, what ended meanwhile is reported.
    fn take_over(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        for job in self.executor.recorded()? {
            self.declared.expect(&job, now);
            self.executor.take_over(&job);
            self.executor.jobs_mut().mark(&job);
        }
        self.executor.find_orphans();
        self.executor.sweep();
        let live = self.executor.jobs().live();
        if live > 0 {
            info!("took over {}", count(live, "running workload"));
        }
        Ok(())
    }

    /// Does what one message asks for.
    fn carry(&mut self, message: Message) {
        match message {
            Message::Reload => self.reload(),
            Message::Children => self.executor.reap(),
            Message::Run(RunChanged { job, run, refused }) => {
                // Its exit status may be known to us alone.
                self.executor.reap();
                self.executor.look_again(&job, Some(&run), refused);
            }
            Message::Written(outcome) => self.executor.written(outcome),
            Message::Space(answer) => {
                let waiting = self.spaces.answered(answer, clock::boot());
                waiting.iter().for_each(|job| self.executor.jobs_mut().mark(job));
            }
            Message::Files(notices) => self.noticed(notices),
            Message::Processes => self.seek(),
            Message::ClockSet => self.mark_scheduled(),
            // The loop does these itself.
            Message::Leave | Message::Upgrade => {}
        }
    }

    fn reload(&mut self) {
        info!("looking at everything again, on SIGHUP");
        if let Some(manager) = &mut self.manager {
            manager.reloading();
        }
        self.rescan();
        self.executor.try_again();
        self.executor.verify_all();
        self.mark_scheduled();
        self.retain(clock::boot());
        self.ready_at = self.executor.jobs().agenda().end();
    }

    fn leave(&mut self) {
        let live = self.executor.jobs().live();
        if let Some(manager) = &mut self.manager {
            manager.leaving(live);
        }
        info!("leaving; {} left running for the next supervisor to take over", count(live, "workload"));
    }

    /// Tells the service manager that this round has ended, and whether all that was read is carried out.
    /// Gives when it wants to hear from us next.
    fn tell_manager(&mut self, now: BootTime) -> Option<BootTime> {
        let manager = self.manager.as_mut()?;
        let jobs = self.executor.jobs();
        let ready = jobs.agenda().has_reached(self.ready_at) && self.executor.starts().none_first();
        manager.round_ended(now, jobs.live(), ready);
        manager.wake()
    }

    /// When something is due, beside the look at everything.
    fn wakes(&self) -> impl Iterator<Item = BootTime> {
        let due = self.executor.jobs().next_wake();
        [due, self.seeker.wake(), self.executor.starts().wake()].into_iter().flatten()
    }

    /// Does what is due.
    fn timer(&mut self) {
        let now = clock::boot();
        while let Some(job) = self.executor.jobs_mut().pop_due(now) {
            if self.executor.jobs().run(&job).is_some_and(Run::gives_no_event) {
                self.executor.look_again(&job, None, None);
            }
            self.executor.jobs_mut().mark_urgent(&job);
        }
        self.executor.check_starts(now);
        if self.executor.resync().rescan_is_due(now) {
            self.rescan();
        }
        if self.seeker.wake().is_some_and(|at| at <= now) {
            self.seek();
        }
        // With the resync: no wake-up of its own.
        if self.executor.retention_is_due(now) {
            self.retain(now);
        }
        if self.executor.resync().verify_is_due(now) {
            self.executor.verify_all();
            self.executor.resync_mut().verified(now);
        }
    }

    /// Has the files of jobs removed that are gone for long, or too many. Where it is not known what is declared, nobody
    /// is gone.
    fn retain(&mut self, now: BootTime) {
        let needed = self.declared.undecided().map(|stems| {
            let jobs = self.declared.jobs().chain(self.executor.jobs().names()).cloned().collect();
            Needed { jobs, stems }
        });
        self.executor.retain(now, needed);
    }

    /// Has jobs with a schedule planned anew, because the time is another than was reckoned with.
    fn mark_scheduled(&mut self) {
        let is_scheduled = |run: &Run| !run.seen.job.schedule.is_empty();
        let runs = self.executor.jobs().runs().filter(|(_, run)| is_scheduled(run));
        let jobs: Vec<_> = runs.map(|(job, _)| job.clone()).collect();
        jobs.iter().for_each(|job| self.executor.jobs_mut().mark_urgent(job));
    }
}
