//! What is left after a crash, and what the next supervisor makes of it.
//!
//! `points.rs` ends supervisor or wrapper at each abort point (src/abort.rs) in turn, `attached.rs` at those
//! of attaching; `chaos.rs`
//! (`make chaos`) kills them at random instants. Both compare what the workloads themselves wrote down
//! (`witness.rs`) with what was reported of them. The workloads are this very program (`workload.rs`), so
//! it has a harness of its own, with the words of the usual one.

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../supervise/harness.rs"]
mod harness;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../shared/wait.rs"]
mod wait;

mod attached;
mod chaos;
mod points;
mod stage;
mod witness;
mod workload;

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

/// Tests that run at once: they wait more than they work.
const AT_ONCE: usize = 6;

/// What is run, and by whom.
type Test = (String, Box<dyn Fn() + Send>);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((mode, rest)) if mode == "workload" => workload::main(rest),
        Some((mode, rest)) if mode == "child" => workload::child(rest),
        Some((mode, rest)) if mode == "chaos" => chaos::main(rest),
        _ => run(&arguments),
    }
}

/// Runs the tests whose name holds one of the arguments, all without any; none that `--skip` names.
fn run(arguments: &[String]) -> ExitCode {
    let (mut only, mut skip) = (Vec::new(), Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--skip" => skip.extend(arguments.next()),
            // Of the usual harness, as in `cargo test -- --show-output`.
            option if option.starts_with('-') => {}
            _ => only.push(argument),
        }
    }
    let named = |list: &[&String], name: &str| list.iter().any(|part| name.contains(part.as_str()));
    let chosen = |(name, _): &Test| (only.is_empty() || named(&only, name)) && !named(&skip, name);
    let tests: Vec<Test> = points::tests().into_iter().filter(chosen).collect();
    println!("\nrunning {} tests", tests.len());
    let queue = Mutex::new(tests.into_iter());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    let failed = Mutex::new((0, 0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, test)) = next() {
                    let ended = thread::Builder::new().name(name.clone()).spawn(test).map(|t| t.join());
                    let good = matches!(ended, Ok(Ok(())));
                    println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
                    if let Ok(mut counts) = failed.lock() {
                        *(if good { &mut counts.0 } else { &mut counts.1 }) += 1;
                    }
                }
            });
        }
    });
    let (passed, failed) = failed.into_inner().unwrap_or_default();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured\n");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
