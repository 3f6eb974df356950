//! Schedules: what is in force changes at its time, in the running process.

use jiff::{SignedDuration, Timestamp};

use crate::harness::{Site, await_true, events, nice_of_threads, sleeper};

/// How far a boundary lies ahead, so that what has to happen before it surely does.
const AHEAD: SignedDuration = SignedDuration::from_secs(10);

/// The job file of a sleeper with nice 5, and 10 in a window of these instants.
fn scheduled(from: Timestamp, to: Timestamp) -> String {
    let time = |at: Timestamp| at.strftime("%H:%M:%S").to_string();
    let (from, to) = (time(from), time(to));
    sleeper(&format!(
        "constraints = {{ nice = 5 }}\n\
         schedule = [{{ from = \"{from}\", to = \"{to}\", timezone = \"UTC\", constraints = {{ nice = 10 }} }}]\n"
    ))
}

/// The next whole second that is at least so far ahead.
fn ahead(duration: SignedDuration) -> Timestamp {
    let at = Timestamp::now() + duration + SignedDuration::from_secs(1);
    Timestamp::from_second(at.as_second()).expect("in range")
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[test]
fn a_window_changes_the_running_process_in_place_when_it_begins() {
    let site = Site::started();
    let begin = ahead(AHEAD);
    site.put("job", &scheduled(begin, begin + HOUR));
    let live = site.running("job");
    assert_eq!(nice_of_threads(live.pid()), [5]);
    let status = site.status("job");
    assert_eq!(status["schedule"]["active"], serde_json::Value::Null, "{status:#}");
    assert!(status["schedule"]["next"].as_str().expect("a window").starts_with("daily "), "{status:#}");
    assert_eq!(status["schedule"]["next_change_at"], format!("{begin:.3}"), "{status:#}");
    let plan = site.run(&["plan"]);
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(
        plan.contains("scheduled: [constraints] in force, then daily ") && plan.contains("0 changes"),
        "{plan}"
    );
    assert!(Timestamp::now() < begin, "this machine is too slow for this test");

    await_true("the window is in force", || nice_of_threads(live.pid()) == [10]);
    let late = Timestamp::now().duration_since(begin);
    assert!(late >= SignedDuration::ZERO && late < SignedDuration::from_secs(10), "{late}");
    let report = site.await_event("job", "changed in place: constraints.nice 5 -> 10");
    // Seconds are told where there are any.
    let text = format!("changed in place: schedule.active unset -> daily {}", begin.strftime("%H:%M"));
    assert!(events(&report).iter().any(|event| event.starts_with(&text)), "{report:#}");
    assert_eq!(
        (&report["constraints"][0]["requested"], &report["constraints"][0]["applied"]),
        (&"10".into(), &true.into())
    );
    site.settle();
    site.assert_untouched("job", &live);
    assert_eq!(events(&site.report("job").expect("a report")).len(), events(&report).len(), "told once");
    assert!(
        site.status("job")["note"].as_str().expect("a note").contains("UTC in force, then [constraints] at ")
    );
}

#[test]
fn a_boundary_that_no_supervisor_saw_is_made_up_for_by_the_next() {
    let site = Site::started();
    let begin = ahead(AHEAD);
    site.put("job", &scheduled(begin, begin + HOUR));
    let live = site.running("job");
    site.await_state("job", "running");
    site.kill();
    assert!(Timestamp::now() < begin, "this machine is too slow for this test");
    await_true("the time comes", || Timestamp::now() > begin);
    assert_eq!(nice_of_threads(live.pid()), [5], "nobody is there to see to it");
    let status = site.status("job");
    assert_eq!(status["schedule"]["active"], serde_json::Value::Null, "{status:#}");
    assert!(status["schedule"]["next"].is_string(), "due now: {status:#}");
    site.start();
    await_true("the window is in force", || nice_of_threads(live.pid()) == [10]);
    site.await_event("job", "constraints.nice 5 -> 10");
    site.assert_untouched("job", &live);
}

#[test]
fn a_run_begins_with_what_its_window_has_in_force_and_keeps_its_schedule_with_a_broken_file() {
    let site = Site::started();
    let (begin, end) = (Timestamp::now() - HOUR, ahead(AHEAD));
    site.put("job", &scheduled(begin, end));
    let live = site.running("job");
    assert_eq!(nice_of_threads(live.pid()), [10]);
    site.put("job", "not TOML at all");
    site.await_log("job.toml:1:");
    // Without privileges the kernel does not give it back, which is told.
    let report = site.await_event("job", "changed in place: constraints.nice 10 -> 5");
    let nice = &report["constraints"][0];
    assert_eq!(nice["requested"], "5", "{report:#}");
    if nice["applied"] == true {
        assert_eq!(nice_of_threads(live.pid()), [5]);
    } else {
        println!("SKIPPED: this user may not give a process its priority back");
    }
    site.assert_untouched("job", &live);
}

#[test]
fn an_edit_of_a_schedule_is_in_force_at_once() {
    let site = Site::started();
    let now = Timestamp::now();
    site.put("job", &scheduled(now + HOUR, now + HOUR + HOUR));
    let live = site.running("job");
    assert_eq!(nice_of_threads(live.pid()), [5]);
    site.put("job", &scheduled(now - HOUR, now + HOUR));
    await_true("the window is in force", || nice_of_threads(live.pid()) == [10]);
    site.await_event("job", "changed in place: schedule ");
    // A profile that the window takes.
    site.put_profile("night", "[constraints]\nnice = 12\n");
    let text =
        scheduled(now - HOUR, now + HOUR).replace("constraints = { nice = 10 }", "profiles = [\"night\"]");
    site.put("job", &text);
    await_true("the profile is in force", || nice_of_threads(live.pid()) == [12]);
    site.put_profile("night", "[constraints]\nnice = 14\n");
    await_true("the profile's edit is in force", || nice_of_threads(live.pid()) == [14]);
    site.settle();
    site.assert_untouched("job", &live);
}
