//! The promise in one test: a supervisor that is killed at random instants loses no exit, doubles no
//! run, and disturbs no workload. The witness is what the workloads write down themselves.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::harness::{Site, await_true, names, shell};

/// Times the supervisor is killed, at least.
const KILLS: usize = 30;

/// Runs that have to begin meanwhile, or nothing is proven.
const RUNS: usize = 12 + KILLS;

/// A loop that ends with codes 0 to 4 and is started again at once.
fn looping(witness: &str) -> String {
    let keys = "lifecycle = \"continuous\"\n[restart]\ndelay = \"10ms\"\nmax_delay = \"50ms\"";
    let script = format!(
        "echo \"$FFRTMP_RUN_ID start\" >> {witness}\n\
         code=$(( $$ % 5 ))\nsleep 0.0$(( $$ % 10 ))\n\
         echo \"$FFRTMP_RUN_ID $code\" >> {witness}\nexit $code"
    );
    shell(keys, &script)
}

fn living(witness: &str) -> String {
    shell("", &format!("echo \"$FFRTMP_RUN_ID start\" >> {witness}\nexec sleep 1000"))
}

#[test]
fn a_supervisor_that_is_killed_at_random_instants_loses_nothing() {
    let site = Site::new();
    fs::create_dir(site.path("witness")).expect("made");
    fs::write(site.path("supervisor.toml"), "[reports]\nkeep = 10000\n").expect("written");
    for n in 0..12 {
        let job = format!("job-{n}");
        let witness = site.path("witness").join(&job).display().to_string();
        site.put(&job, &if n % 2 == 0 { looping(&witness) } else { living(&witness) });
    }
    // Any seed will do; a fixed one makes the instants of two runs comparable.
    let mut random: u64 = 20_26;
    let begun = || {
        let text = |job: &String| fs::read_to_string(site.path("witness").join(job)).unwrap_or_default();
        let starts = |job: &String| text(job).matches(" start\n").count();
        names(&site.path("witness")).iter().map(starts).sum::<usize>()
    };
    let mut kills = 0;
    while kills < KILLS || begun() <= RUNS {
        assert!(kills < KILLS * 20, "too little happened: {}", begun());
        kills += 1;
        site.start();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Not waiting for anything: the instant is what is tested.
        sleep(Duration::from_millis((random >> 33) % 250));
        site.kill();
    }
    let living = (0..12).filter(|n| n % 2 == 1).map(|n| format!("job-{n}"));
    // On a slow machine no supervisor may have lived long enough to start one.
    let live: Vec<(String, Option<u64>)> =
        living.map(|job| (job.clone(), site.status(&job)["pid"].as_u64())).collect();
    site.start();
    for (job, before) in &live {
        let now = u64::from(site.running(job).pid());
        assert_eq!(before.unwrap_or(now), now, "{job}");
    }
    site.settle();
    for n in 0..12 {
        site.remove(&format!("job-{n}"));
    }
    await_true("all runs are reported and gone", || names(&site.path("state/runs")).is_empty());
    site.term();

    // What the workloads say: each run once, and the code it ended with, if it got that far.
    let mut witnessed: BTreeMap<String, Option<u64>> = BTreeMap::new();
    for job in names(&site.path("witness")) {
        for line in fs::read_to_string(site.path("witness").join(&job)).expect("a witness").lines() {
            let (run, said) = line.split_once(' ').expect("a run and a word");
            match said.parse() {
                Ok(code) => drop(witnessed.insert(run.into(), Some(code))),
                Err(_) => assert!(witnessed.insert(run.into(), None).is_none(), "{run} of {job} ran twice"),
            }
        }
        if job.trim_start_matches("job-").parse::<u32>().is_ok_and(|n| n % 2 == 1) {
            let starts =
                fs::read_to_string(site.path("witness").join(&job)).expect("a witness").lines().count();
            assert_eq!(starts, 1, "{job} was to live on");
        }
    }
    let mut reported: BTreeMap<String, Value> = BTreeMap::new();
    for job in names(&site.path("state/reports/history")) {
        let folder = site.path("state/reports/history").join(job);
        for name in names(&folder) {
            let text = fs::read(folder.join(&name)).expect("a report");
            let report: Value = serde_json::from_slice(&text).expect("JSON");
            reported.insert(name.trim_end_matches(".json").into(), report);
        }
    }
    assert!(witnessed.len() > RUNS, "too little happened: {}", witnessed.len());
    for (run, code) in &witnessed {
        let report = reported.get(run).unwrap_or_else(|| panic!("{run} is not reported"));
        assert_ne!(report["state"], "unknown", "{report:#}");
        if let Some(code) = code {
            // Stopped by the removal at the very end, after it wrote its line, is the one other way.
            let stopped = report["platform_sla_reason"] == "stopped_on_request";
            assert!(report["exit_code"].as_u64() == Some(*code) || stopped, "{code}: {report:#}");
        }
    }
}
