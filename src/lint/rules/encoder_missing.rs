//! An encoder this ffmpeg was built without.

use crate::config::suggest::nearest;
use crate::lint::host::Host;
use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "encoder-missing" Error "The ffmpeg of this machine does not have the encoder"
    because "\
Told with `--host` only. Which encoders an ffmpeg has is decided when it is built: those of \
distributions often lack libfdk_aac, static builds often lack the ones for graphics cards. `ffmpeg \
-encoders` lists them; it is what is asked here. An encoder in the list may still find no card when it \
starts.

For this the program that the job names is run, as whoever runs `validate`; not if others than that \
user or root can change it."
    bad Words "[\"ffmpeg\", \"-i\", \"/srv/in.mp4\", \"-c:a\", \"libfdk_aac\", \"/srv/out.m4a\"] with an ffmpeg that has no libfdk_aac"
    good r#"
[exec]
command = ["/bin/sh", "/srv/x"]
"#
    check Host(check)
}

fn check(context: &Context<'_>, host: &Host, problems: &mut Vec<Problem>) {
    let (Some(ffmpeg), Some(exec)) = (&context.ffmpeg, context.job.exec()) else { return };
    let path = exec.env.get("PATH").map(AsRef::as_ref);
    // That the program is missing is told by its own rule.
    let Ok(program) = host.program(&exec.command[0], path) else { return };
    for output in &ffmpeg.outputs {
        for option in ffmpeg.of(output) {
            let name = option.name.split(':').next().unwrap_or("");
            let Some(encoder) = option.value else { continue };
            if !matches!(name, "c" | "codec" | "vcodec" | "acodec" | "scodec") {
                continue;
            }
            match host.encoders(&program).as_ref() {
                Ok(encoders) if encoders.contains(encoder) => {}
                Ok(encoders) => {
                    let near = nearest(encoder, encoders.iter().map(String::as_str));
                    let help = match near {
                        Some(near) => {
                            format!("did you mean {near}? `ffmpeg -encoders` lists those there are")
                        }
                        None => "`ffmpeg -encoders` lists those there are".into(),
                    };
                    let message = format!("{} has no encoder {encoder:?}", program.display());
                    problems.push(RULE.problem(argument(option.index + 1), message).help(help));
                }
                Err(why) => {
                    let message = format!("the encoders of ffmpeg cannot be told: {why}");
                    problems.push(RULE.problem(argument(0), message).help("run it by hand to see why"));
                    return;
                }
            }
        }
    }
}
