//! `ffrtmp ps`: prints what is governed on this machine.

use std::io::{self, IsTerminal, Write};

use super::ffrtmp::PsArgs;
use super::layout;
use crate::lint::diagnostic::escape;
use crate::model::units::{cut, mebibytes, short_time};
use crate::wrapper::ps::{Found, Governed, look};

/// Columns of a terminal that LIMITS may take; the command behind it is worth more.
const LIMITS: usize = 40;

/// Prints it on standard output; what cannot be told, on standard error.
///
/// # Errors
/// `/proc` cannot be read, or nothing can be printed.
pub fn run(args: PsArgs) -> Result<(), String> {
    // Without a home there are no orphans of our own; the living are found all the same.
    let roots = layout(args.root).map(|home| vec![home.runs(), home.command_line_runs()]).unwrap_or_default();
    let found = look(&roots).map_err(|error| format!("processes cannot be looked at: {error}"))?;
    let mut out = io::stdout().lock();
    let printed = match args.json {
        true => document(&found, &mut out),
        false => {
            let width = out.is_terminal().then(terminal_size::terminal_size).flatten();
            table(&found, width.map(|(width, _)| usize::from(width.0)), &mut out)
        }
    };
    for problem in &found.problems {
        eprintln!("ffrtmp ps: not shown: {}", escape(problem));
    }
    match printed {
        // Whoever reads us has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|error| format!("standard output: {error}")),
    }
}

fn document(found: &Found, out: &mut dyn Write) -> io::Result<()> {
    let Found { governed, hidden, problems } = found;
    let document = serde_json::json!({
        "schema": "ffrtmp.ps/1", "governed": governed, "hidden": hidden, "problems": problems,
    });
    writeln!(out, "{document:#}")
}

/// The cells of a row but for the command, which nothing follows.
fn cells(row: &Governed, limits: Option<usize>) -> [String; 8] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let in_force: Vec<String> = row
        .constraints
        .iter()
        .filter(|status| status.applied)
        .map(|status| format!("{}={}", status.name, status.requested))
        .collect();
    let in_force = Some(in_force.join(" ")).filter(|text| !text.is_empty());
    let in_force = escape(&or_none(in_force)).into_owned();
    [
        row.job_id.to_string(),
        or_none(row.pid.map(|pid| pid.to_string())),
        row.by.as_str().into(),
        escape(&or_none(row.user.clone())).into_owned(),
        or_none(row.running_sec.map(short_time)),
        or_none(row.usage.cpu_sec.map(short_time)),
        or_none(row.memory_bytes.map(mebibytes)),
        limits.map_or(in_force.clone(), |width| cut(&in_force, width)),
    ]
}

fn table(found: &Found, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let heads = ["JOB", "PID", "BY", "USER", "TIME", "CPU", "MEMORY", "LIMITS"].map(String::from);
    let mut rows = vec![(heads, "COMMAND".to_owned())];
    for row in &found.governed {
        rows.push((cells(row, width.map(|_| LIMITS)), escape(&row.command.join(" ")).into_owned()));
    }
    let widths: [usize; 8] =
        std::array::from_fn(|n| rows.iter().map(|(cells, _)| cells[n].chars().count()).max().unwrap_or(0));
    if found.governed.is_empty() {
        writeln!(out, "nothing is governed")?;
        rows.clear();
    }
    for (cells, command) in rows {
        let mut line = String::new();
        for (n, (cell, width)) in cells.iter().zip(widths).enumerate() {
            // Numbers end where their column does.
            line += &if [1, 4, 5, 6].contains(&n) {
                format!("{cell:>width$}  ")
            } else {
                format!("{cell:width$}  ")
            };
        }
        line += &command;
        writeln!(out, "{}", width.map_or(line.clone(), |width| cut(line.trim_end(), width)))?;
    }
    if found.hidden > 0 {
        let them = if found.hidden == 1 { "process" } else { "processes" };
        writeln!(
            out,
            "not shown: {} {them} of other users with a wrapper's name; only root may look into them",
            found.hidden
        )?;
    }
    Ok(())
}
