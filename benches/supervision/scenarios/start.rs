//! A job file renamed into place until its workload's first instruction, beside posix_spawn of the
//! same program. The two take turns, with pauses in between: the supervisor is found idle, as in life.

use std::time::Duration;

use crate::stage::Stage;
use crate::stats::millis;
use crate::table::{Aim, Row};
use crate::workload::Life;
use crate::{Bench, interrupt};

/// Long enough for the report of the last run to be written.
const PAUSE: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Measures it.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let samples = bench.samples(250, 20);
    let mut stage = Stage::new(bench)?;
    let supervised = bench.binaries.is_some();
    if supervised {
        stage.jobs()?;
        stage.supervise(bench)?;
        stage.declare("warm-up", &stage.job(Life::Once, 0, ""))?;
        stage.wait_for(1, false, TIMEOUT)?;
        interrupt::sleep(Duration::from_secs(1))?;
    }
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for id in 1..=samples {
        let before = stage.spawn(Life::Once, id)?;
        bare.push(millis(before, stage.wait_for(1, false, TIMEOUT)?[0].at));
        interrupt::sleep(PAUSE)?;
        if supervised {
            let before = stage.declare(&format!("job-{id:04}"), &stage.job(Life::Once, id, ""))?;
            ours.push(millis(before, stage.wait_for(1, false, TIMEOUT)?[0].at));
            interrupt::sleep(PAUSE)?;
        }
    }
    let row = |name, what| Row::new(name, what, "ms").ours(&ours).beside("posix_spawn", &bare);
    Ok(vec![
        row("start_median", "job file in place until exec, median").aim(Aim::Below(5.0)),
        row("start_p99", "job file in place until exec, 99th percentile").p99().aim(Aim::Below(20.0)),
    ])
}
