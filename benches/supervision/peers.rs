//! Other supervisors, one entry each: where it comes from, how its jobs are written down, how it is started
//! and stopped, and how it tells an exit code. What is measured of them is in `scenarios/peers.rs`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use nix::sys::signal::Signal;

use crate::Bench;
use crate::stage::Stage;
use crate::workload::{self, Life};

/// Names the folder in which scripts/setup keeps peers that are no Debian packages.
const PEERS_DIR: &str = "FFRTMP_PEERS";

/// A supervisor. Every job is to run all the time, and to be started again without a pause where that can be
/// said; its output goes nowhere. All else is as it comes.
pub struct Peer {
    /// As its users call it.
    pub name: &'static str,
    /// The program to start.
    program: &'static str,
    /// What holds that program.
    package: &'static str,
    /// A command that prints its version.
    version: &'static [&'static str],
    /// Writes down so many jobs of this life into the stage's folder. Gives the command line that starts them:
    /// a process that stays in the foreground.
    pub prepare: fn(&Stage, &Path, Life, usize) -> anyhow::Result<Vec<OsString>>,
    /// What ends it, its helpers and its jobs.
    pub stop: Signal,
    /// What it writes into some file of the stage about an exit with [`workload::FAILURE`].
    pub failure: &'static str,
}

/// All that are looked for.
pub const PEERS: [Peer; 6] = [
    Peer {
        name: "runit",
        program: "runsvdir",
        package: "Debian package runit",
        version: &["dpkg-query", "-W", "-f", "${Version}", "runit"],
        prepare: runit,
        stop: Signal::SIGHUP,
        failure: "ended with code 7",
    },
    Peer {
        name: "s6",
        program: "s6-svscan",
        package: "Debian package s6",
        version: &["dpkg-query", "-W", "-f", "${Version}", "s6"],
        prepare: s6,
        stop: Signal::SIGTERM,
        failure: "ended with code 7",
    },
    Peer {
        name: "dinit",
        program: "dinit",
        package: "Debian package dinit",
        version: &["dinit", "--version"],
        prepare: dinit,
        stop: Signal::SIGTERM,
        failure: "exit code 7",
    },
    Peer {
        name: "supervisord",
        program: "supervisord",
        package: "Debian package supervisor",
        version: &["supervisord", "--version"],
        prepare: supervisord,
        stop: Signal::SIGTERM,
        failure: "exit status 7",
    },
    Peer {
        name: "circus",
        program: "circusd",
        package: "PyPI package circus",
        version: &["circusd", "--version"],
        prepare: circus,
        stop: Signal::SIGTERM,
        failure: "exit_code: 7",
    },
    Peer {
        name: "pm2",
        program: "pm2-runtime",
        package: "npm package pm2",
        version: &["pm2-runtime", "--version"],
        prepare: pm2,
        stop: Signal::SIGTERM,
        failure: "exited with code [7]",
    },
];

impl Peer {
    /// Its program, or why it is not here.
    pub fn find(&self) -> Result<PathBuf, String> {
        find(self.program).ok_or_else(|| {
            let why = peers_dir().map(|dir| dir.join(format!("{}.missing", self.name)));
            match why.and_then(|path| fs::read_to_string(path).ok()) {
                Some(why) => why.trim().to_owned(),
                None => format!("{} is not on PATH; it comes with the {}", self.program, self.package),
            }
        })
    }

    /// What it calls its version, without what Debian adds to it.
    pub fn version(&self) -> Option<String> {
        let [program, arguments @ ..] = self.version else { return None };
        let output = Command::new(find(program)?).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        Some(number.split('-').next()?.trim_end_matches('.').to_owned())
    }
}

/// Ours, as a peer among peers: without cgroups, or with those that this host has.
pub fn ours(bench: &Bench, cgroups: bool) -> Option<(Peer, PathBuf)> {
    let peer = Peer {
        name: if cgroups { "ffrtmp-sup, cgroups" } else { "ffrtmp-sup" },
        program: "ffrtmp-sup",
        package: "make release",
        version: &[],
        prepare: if cgroups { ffrtmp } else { ffrtmp_without_cgroups },
        stop: Signal::SIGTERM,
        failure: "\"exit_code\": 7",
    };
    Some((peer, bench.binaries.as_ref()?.supervisor.clone()))
}

fn peers_dir() -> Option<PathBuf> {
    std::env::var_os(PEERS_DIR).map(PathBuf::from)
}

/// A program on PATH, or among the peers of this build.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = peers_dir().map(|dir| dir.join("bin")).into_iter().chain(std::env::split_paths(&path));
    dirs.find_map(|dir| Some(dir.join(name)).filter(|path| path.is_file()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn folder(path: PathBuf) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

fn name(id: usize) -> String {
    format!("job-{id:04}")
}

fn ffrtmp(stage: &Stage, program: &Path, life: Life, count: usize) -> anyhow::Result<Vec<OsString>> {
    let restart = "[restart]\npolicy = \"always\"\ndelay = \"1ms\"\nmax_delay = \"1ms\"\n";
    for id in 0..count {
        stage.declare(&name(id), &stage.job(life, id, restart))?;
    }
    Ok(vec![program.into(), "--root".into(), stage.path().into(), "supervise".into()])
}

fn ffrtmp_without_cgroups(
    stage: &Stage,
    program: &Path,
    life: Life,
    count: usize,
) -> anyhow::Result<Vec<OsString>> {
    write(&stage.path().join("supervisor.toml"), "[cgroup]\nbackend = \"none\"\n")?;
    ffrtmp(stage, program, life, count)
}

/// runsvdir and one runsv for each service.
pub fn runit(stage: &Stage, program: &Path, life: Life, count: usize) -> anyhow::Result<Vec<OsString>> {
    let services = service_folders(stage, life, count)?;
    Ok(vec![program.into(), services.into()])
}

/// s6-svscan and one s6-supervise for each service.
fn s6(stage: &Stage, program: &Path, life: Life, count: usize) -> anyhow::Result<Vec<OsString>> {
    let services = service_folders(stage, life, count)?;
    Ok(vec![program.into(), "-c".into(), "1000".into(), services.into()])
}

/// Folders of services, as runit and s6 have them.
fn service_folders(stage: &Stage, life: Life, count: usize) -> anyhow::Result<PathBuf> {
    let services = stage.path().join("services");
    for id in 0..count {
        let service = folder(services.join(name(id)))?;
        symlink(stage.program(), service.join("run")).context("cannot make a service")?;
        write(&service.join(workload::SERVICE_JOB), &format!("{} {id}", life.as_str()))?;
        if life == Life::Fail {
            let finish = service.join("finish");
            let exits = stage.path().join("exits");
            write(&finish, &format!("#!/bin/sh\necho \"ended with code $1\" >>'{}'\n", exits.display()))?;
            fs::set_permissions(&finish, fs::Permissions::from_mode(0o755))
                .context("cannot make a service")?;
        }
    }
    Ok(services)
}

fn dinit(stage: &Stage, program: &Path, life: Life, count: usize) -> anyhow::Result<Vec<OsString>> {
    let services = folder(stage.path().join("dinit.d"))?;
    let boot = folder(services.join("boot.d"))?;
    write(&services.join("boot"), "type = internal\nwaits-for.d = boot.d\n")?;
    for id in 0..count {
        let command = stage.workload(life, id).join(" ");
        let text = format!(
            "type = process\ncommand = {command}\nrestart = true\nrestart-delay = 0\nrestart-limit-count = 0\n"
        );
        write(&services.join(name(id)), &text)?;
        write(&boot.join(name(id)), "")?;
    }
    let mut command: Vec<OsString> = vec![program.into(), "--services-dir".into(), services.into()];
    command.extend(["--socket-path".into(), stage.path().join("dinit.sock").into()]);
    command.extend(["--log-file".into(), stage.path().join("dinit.log").into()]);
    Ok(command)
}

/// supervisord, without its helpers' sockets.
pub fn supervisord(stage: &Stage, program: &Path, life: Life, count: usize) -> anyhow::Result<Vec<OsString>> {
    let dir = stage.path().display();
    let mut text = format!(
        "[supervisord]\nnodaemon=true\nlogfile={dir}/supervisord.log\npidfile={dir}/supervisord.pid\n\
         childlogdir={dir}\nminfds=8192\n"
    );
    for id in 0..count {
        let command = stage.workload(life, id).join(" ");
        text += &format!(
            "[program:{}]\ncommand={command}\nautorestart=true\nstartsecs=0\n\
             stdout_logfile=NONE\nstderr_logfile=NONE\n",
            name(id)
        );
    }
    let configuration = stage.path().join("supervisord.conf");
    write(&configuration, &text)?;
    Ok(vec![program.into(), "-c".into(), configuration.into()])
}

fn circus(stage: &Stage, program: &Path, life: Life, count: usize) -> anyhow::Result<Vec<OsString>> {
    let dir = stage.path().display();
    let mut text = format!(
        "[circus]\nendpoint = ipc://{dir}/circus\npubsub_endpoint = ipc://{dir}/circus-events\nstatsd = False\n"
    );
    for id in 0..count {
        let command = stage.workload(life, id).join(" ");
        text += &format!("[watcher:{}]\ncmd = {command}\ncopy_env = True\nmax_retry = -1\n", name(id));
    }
    let configuration = stage.path().join("circus.ini");
    write(&configuration, &text)?;
    Ok(vec![program.into(), configuration.into()])
}

fn pm2(stage: &Stage, program: &Path, life: Life, count: usize) -> anyhow::Result<Vec<OsString>> {
    let home = folder(stage.path().join("pm2"))?;
    let app = |id| {
        let [script, arguments @ ..] = &stage.workload(life, id)[..] else {
            unreachable!("it has a program")
        };
        serde_json::json!({
            "name": name(id), "script": script, "args": arguments, "interpreter": "none", "exec_mode": "fork",
            "autorestart": true, "restart_delay": 0, "min_uptime": 0, "max_restarts": 1_000_000, "vizion": false,
            "out_file": "/dev/null", "error_file": "/dev/null",
        })
    };
    let apps: Vec<_> = (0..count).map(app).collect();
    let configuration = stage.path().join("ecosystem.config.json");
    write(&configuration, &serde_json::json!({ "apps": apps }).to_string())?;
    let mut setting = OsString::from("PM2_HOME=");
    setting.push(&home);
    let env = find("env").context("env is not on PATH")?;
    Ok(vec![env.into(), setting, program.into(), "start".into(), configuration.into()])
}
