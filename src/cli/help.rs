//! The ends of help texts: how to begin, exit codes, signals, files, examples.
//!
//! A heading is a line that ends in a colon. Below it stand paragraphs, or entries: a term, two spaces or more,
//! and what it means, aligned. Below `Examples:` each command is indented by four, under a line that says what it
//! does. `tests/manual.rs` makes the man pages from this, and has a shell run every example. No line is longer
//! than 80 characters.

pub(super) const FFRTMP: &str = "\
Begin with:
  ffrtmp run -- ffmpeg -i in.mp4 out.mp4     run a command, see how it ended
  ffrtmp run --help                          all options, examples, exit codes

Jobs that stand in files are run by ffrtmp-sup: `ffrtmp-sup --help`.";

pub(super) const FFRTMP_LONG: &str = "\
Jobs that stand in files are run by ffrtmp-sup: `ffrtmp-sup --help`.

Exit status:
  0    --help and --version; else what the command says, see its help
  2    the command line is wrong; ffrtmp run has 125 for that

Examples:
  Run a command, and see how it ended
    ffrtmp run -- ffmpeg -i in.mp4 out.mp4
  Give a process that runs already two cores and 4 GiB at most
    ffrtmp attach --pid 5678 --cpu-quota 200 --memory-limit 4096
  Who is governed on this machine
    ffrtmp ps

See also:
  ffrtmp-sup(1)";

pub(super) const RUN_USAGE: &str = "\
ffrtmp run [OPTIONS] -- COMMAND [ARGUMENT]...
       ffrtmp run [OPTIONS] --job FILE";

pub(super) const RUN: &str = "\
Exit codes, signals, files and examples: ffrtmp run --help";

pub(super) const RUN_LONG: &str = "\
Exit status:
  The command's own, or
  124      it took longer than --timeout
  125      the wrapper failed: the command line is wrong, a constraint that
           --strict asks for cannot be put in force, nobody saw how it ended
  126      the command is there, but cannot be executed
  127      there is no such command
  128+N    signal N ended it: 137 is SIGKILL, 139 SIGSEGV, 143 SIGTERM; or it
           ended the wrapper, and the command runs on

Signals:
  SIGTERM, SIGHUP    to the wrapper: it leaves, and the command runs on. How
                     that ends is reported where --job-id or --report was given
  SIGINT, SIGQUIT    go to the command, which may obey. At a terminal Ctrl-C
                     reaches it directly, and Ctrl-Z, fg and bg work as ever
  SIGKILL            to the wrapper: as SIGTERM, without a word
  A terminal that is closed sends SIGHUP to the command as well: start it with
  nohup where it is to stay.

Files:
  STATE/reports/JOB.json                   the newest report of --job-id JOB
  STATE/reports/history/JOB/RUN.json       the last twenty that ended
  /etc/ffrtmp/profiles.d/NAME.toml         profiles; of a user: in
                                           ~/.config/ffrtmp/profiles.d
  STATE is /var/lib/ffrtmp/cli for root, ~/.local/state/ffrtmp/cli for a user,
  and DIR/state/cli with --root DIR.

Environment:
  FFRTMP_ROOT        as --root
  NO_COLOR           no colours, also at a terminal
  WRAPPER_ENABLED    with --job: whether a document that does not say so is
                     governed: true or false, which is the default
  The command finds its FFRTMP_JOB and FFRTMP_RUN_ID in its own.

Examples:
  Two cores and 4 GiB at most, served before others; needs root for --nice -5
    ffrtmp run --job-id h264-001 --sla-eligible --cpu-quota 200 \\
        --memory-limit 4096 --nice -5 -- \\
        ffmpeg -i in.mp4 -c:v libx264 out.mp4
  Give way to everything else
    ffrtmp run --cpu-weight 50 --nice 10 --io-class idle -- ./night-batch.sh
  The same from a profile, with one value of its own
    ffrtmp run --profile low-priority --memory-limit 2GiB -- ./night-batch.sh
  Two hours at most, and only with its limit in force
    ffrtmp run --timeout 2h --strict --memory-limit 512 -- python3 train.py
  The report on standard output, what the command prints on standard error
    ffrtmp run --json -- sysbench cpu run > report.json
  The report in a file, standard output as ever
    ffrtmp run --report report.json -- ffmpeg -i in.mp4 -f null - | wc -c
  What a worker agent was given
    ffrtmp run --job job.json --report result.json

See also:
  ffrtmp-attach(1), ffrtmp-ps(1), ffrtmp-sup(1), cgroups(7), sched(7)";

pub(super) const ATTACH: &str = "\
Exit codes, signals, files and examples: ffrtmp attach --help";

pub(super) const ATTACH_LONG: &str = "\
Exit status:
  The process's own code when it has ended, 128+N if signal N ended it, or
  0      it was let go
  1      it was not taken over: it does not exist, may not be attached, or a
         constraint that --strict asks for cannot be put in force
  2      the command line is wrong
  125    it ended, and nobody can tell how

Signals:
  SIGTERM, SIGINT, SIGHUP, SIGQUIT    let the process go: it runs on, under its
                                      constraints, or with --restore as before
  SIGKILL                             the same, without a report
  The process itself is never sent a signal.

Files:
  STATE/reports/JOB.json                   the newest report of --job-id JOB
  STATE/reports/history/JOB/RUN.json       the last twenty that ended
  STATE is /var/lib/ffrtmp/cli for root, ~/.local/state/ffrtmp/cli for a user,
  and DIR/state/cli with --root DIR.

Examples:
  OBS, which somebody has started, with three cores and 4 GiB at most
    ffrtmp attach --pid $(pgrep -x obs) --job-id obs --cpu-quota 300 \\
        --memory-limit 4096
  Watch a process of unknown origin, and keep one report of it
    ffrtmp attach --pid 9012 --job-id legacy --json > legacy.json
  Make room for an hour, then give everything back
    timeout -s INT 1h ffrtmp attach --pid 9012 --nice 10 --restore

See also:
  ffrtmp-run(1), ffrtmp-ps(1), ffrtmp-sup(1), cgroups(7), pidfd_open(2)";

pub(super) const PS_LONG: &str = "\
Exit status:
  0      listed, also if there is nothing
  125    it could not do its work

Examples:
  What runs, and what it uses
    ffrtmp ps
  The same for a program
    ffrtmp ps --json

See also:
  ffrtmp-run(1), ffrtmp-attach(1), ffrtmp-sup-status(1)";

pub(super) const SUP: &str = "\
Begin with:
  ffrtmp-sup validate --host    what is wrong in the job files, if anything
  ffrtmp-sup supervise          run what they declare
  ffrtmp-sup status             where everything stands

One command alone, without a file: `ffrtmp run --help`.";

pub(super) const SUP_LONG: &str = "\
One command alone, without a file: `ffrtmp run --help`.

Exit status:
  0    done; else what the command says, see its help
  2    the command line is wrong, or the work could not be done

Files:
  /etc/ffrtmp/jobs.d/*.toml         the jobs
  /etc/ffrtmp/profiles.d/*.toml     what jobs share
  /etc/ffrtmp/supervisor.toml       settings; may be absent
  /var/lib/ffrtmp/                  reports, records of runs, logs of jobs
  For a user: ~/.config/ffrtmp and ~/.local/state/ffrtmp. With --root DIR: DIR,
  and DIR/state.

Examples:
  Try it in a folder: DIR/jobs.d holds the jobs, DIR/state what becomes of them
    ffrtmp-sup --root demo supervise
  All that is wrong, with line and column
    ffrtmp-sup validate --host
  What an edit would do
    ffrtmp-sup plan
  All about one job
    ffrtmp-sup status channel-7

See also:
  ffrtmp(1), ffrtmp-run(1)";

pub(super) const SUPERVISE: &str = "\
Exit status:
  0    it was asked to leave
  2    it could not do its work: another supervisor has the same state, a folder
       that others may write, an error in supervisor.toml

Signals:
  SIGTERM, SIGINT    leave; the workloads run on, and the next supervisor takes
                     them over
  SIGHUP             read all files again, and try again what could not be done
  SIGUSR2            execute the installed program anew: an upgrade
  SIGKILL            as SIGTERM: nothing is lost

Examples:
  In the foreground, for a try
    ffrtmp-sup --root demo supervise
  Log lines for a machine
    ffrtmp-sup supervise --log-format json

See also:
  ffrtmp-sup-status(1), ffrtmp-sup-plan(1), systemd.service(5)";

pub(super) const PLAN: &str = "\
Exit status:
  0    nothing is to be done
  1    there are errors in the files
  2    it could not do its work
  3    something would change

Examples:
  What the supervisor would do now
    ffrtmp-sup plan
  What a branch of a repository would change, before it is merged
    ffrtmp-sup plan ./etc/ffrtmp --json";

pub(super) const STATUS: &str = "\
Exit status:
  0    shown
  1    there is no such job
  2    it could not do its work

Examples:
  Every job, a line each, and again at each change
    ffrtmp-sup status --watch
  Why one failed, where its output is, what happened to it
    ffrtmp-sup status channel-7";

pub(super) const DOCTOR: &str = "\
Exit status:
  0    every kind of limit can be kept here
  1    not every kind
  2    it could not do its work

Examples:
  What this host lacks, and what to do
    ffrtmp-sup doctor";

pub(super) const VALIDATE: &str = "\
Exit status:
  0    clean, or warnings only
  1    errors; with --strict, or warnings
  2    it could not do its work

Examples:
  All that is configured, and whether this machine has what it takes
    ffrtmp-sup validate --host
  A folder of job files in CI
    ffrtmp-sup validate --strict --format github jobs.d
  A temporary file, under the name that it will have
    ffrtmp-sup validate --kind job --as channel-7.toml /tmp/new.toml

See also:
  ffrtmp-sup-explain(1), ffrtmp-sup-plan(1)";

pub(super) const EXPLAIN: &str = "\
Exit status:
  0    explained
  2    there is no such code

Examples:
  What a code means, with a bad and a good example
    ffrtmp-sup explain unknown-key";

pub(super) const SCHEMA: &str = "\
Examples:
  For an editor that checks TOML while you write
    ffrtmp-sup schema job > job.schema.json";

pub(super) const SLA: &str = "\
Exit status:
  0    computed
  1    computed, without reports that cannot be used, which are named
  2    it could not do its work

Examples:
  Of all runs that are on record
    ffrtmp-sup sla
  Of the last week, for a program
    ffrtmp-sup sla --since 7d --json";

pub(super) const CONVERT: &str = "\
The job file goes to standard output; what could not be carried over is told on
standard error, a line each.

Exit status:
  0    converted
  1    there is no job in it
  2    it could not do its work

Examples:
  A service of systemd's
    ffrtmp-sup convert live.service > jobs.d/live.toml
  One program of supervisord's
    ffrtmp-sup convert supervisord.conf --program live > jobs.d/live.toml
  A document of a worker's queue
    ffrtmp-sup convert --from worker - < job.json > jobs.d/job.toml";
