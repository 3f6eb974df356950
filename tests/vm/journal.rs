//! What can be found in the journal.

use serde_json::Value;

use crate::machine::{Machine, UNIT, await_some, run};

/// The entries that match, oldest first.
fn entries(matches: &[&str]) -> Vec<Value> {
    let text = run(&[&["journalctl", "--boot", "--no-pager", "--output=json"], matches].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn the_journal_is_searched_by_job() {
    let Some(machine) = Machine::started("the_journal_is_searched_by_job") else { return };
    machine.put(
        "in-the-journal",
        "lifecycle = \"continuous\"\n[exec]\noutput = \"journal\"\n\
         command = [\"/bin/sh\", \"-c\", \"echo frame=1; echo late >&2; exec sleep 100000\"]\n",
    );
    machine.put("another", "lifecycle = \"continuous\"\n[exec]\ncommand = [\"/bin/sleep\", \"100000\"]\n");
    let live = machine.running("in-the-journal");
    machine.running("another");

    let told = |text: &str| {
        await_some(text, || {
            let all = entries(&["FFRTMP_JOB=in-the-journal"]);
            assert!(all.iter().all(|entry| entry["FFRTMP_JOB"] == "in-the-journal"), "{all:#?}");
            all.into_iter().find(|entry| entry["MESSAGE"].as_str().is_some_and(|told| told.contains(text)))
        })
    };
    let running = told("running");
    assert_eq!(running["_SYSTEMD_UNIT"], UNIT, "{running:#}");
    assert_eq!(running["FFRTMP_RUN"], live.run.as_str(), "{running:#}");
    assert_eq!(running["FFRTMP_PID"], live.process.pid.to_string(), "{running:#}");

    // What the job itself says: standard output and error, under its own name.
    let own = await_some("its output", || {
        Some(entries(&["--identifier=ffrtmp-in-the-journal"])).filter(|all| all.len() == 2)
    });
    let own: Vec<_> = own.iter().filter_map(|entry| entry["MESSAGE"].as_str()).collect();
    assert_eq!(own, ["frame=1", "late"]);
}
