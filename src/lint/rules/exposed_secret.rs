//! A password or stream key that everybody can read.

use crate::lint::rule::{At, Context, KeyPath, Problem, argument, rule};

rule! {
    "exposed-secret" Warning "A secret in a file that everybody can read"
    because "\
Whoever has a stream key can broadcast in your name. A job file of mode 0644 shows it to every user and \
every backup of the machine.

- A secret in `env`: put it into a file of mode 0600 and name that in `env_files`; many programs take \
keys from the environment.
- A secret in an argument, such as a stream key in an RTMP URL: take the right to read the file from \
others (`chmod o-r FILE`). Arguments are shown to every user by ps(1) as well, unless /proc is mounted \
with `hidepid=2`.

Seen as secrets are `user:password@` in URLs, options and URL parameters with names like `password`, \
`token` or `key`, variables with such names, and a last part of an RTMP URL that looks random."
    bad r#"
[exec]
command = ["/usr/bin/true", "rtmp://live.example.com/app/x8f2-k3p9-q7w1-z5m4"]
"#
    bad r#"
[exec]
command = ["/usr/bin/true", "--password=hunter2"]
"#
    bad r#"
[exec]
command = ["/usr/bin/true"]
env = { API_TOKEN = "abc123" }
"#
    good r#"
[exec]
command = ["/usr/bin/true", "rtmp://live.example.com/app/studio"]
"#
    good r#"
[exec]
command = ["/usr/bin/true"]
env_files = ["/etc/ffrtmp/api.env"]
"#
    check Job(check)
}

const READ_BY_OTHERS: u32 = 0o004;

/// Names of options, parameters and variables whose values are secret, in small letters.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "pass",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "key",
    "streamkey",
    "stream_key",
    "stream-key",
    "accesskey",
    "access_key",
    "access_token",
    "auth",
    "sig",
    "signature",
];

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    if context.facts.mode.is_none_or(|mode| mode & READ_BY_OTHERS == 0) {
        return;
    }
    let mut tell = |at, what: String, help| problems.push(RULE.problem(at, what).help(help));
    let argv = context.argv();
    for (n, text) in argv.iter().enumerate() {
        let before = n.checked_sub(1).map_or("", |n| argv[n].as_str());
        if let Some(what) = in_argument(before, text) {
            let help = "`chmod o-r` the file; and ps(1) shows arguments to all users of the machine";
            tell(argument(n), format!("{what}, and everybody can read this file"), help);
        }
    }
    let env = context.file.exec.as_ref().and_then(|exec| exec.env.as_ref());
    for (name, text) in env.into_iter().flatten() {
        if !text.is_empty() && is_secret_variable(name) {
            let at = At::Value(KeyPath::of("exec.env").key(name.clone()));
            let help = "put it into a file of mode 0600 and name that in `env_files`";
            tell(at, format!("{name} looks like a secret, and everybody can read this file"), help);
        }
    }
}

fn in_argument(before: &str, text: &str) -> Option<&'static str> {
    if let Some(name) = before.strip_prefix("--")
        && NAMES.contains(&name.to_ascii_lowercase().as_str())
        && is_value(text)
    {
        return Some("this is the value of a secret option");
    }
    if let Some((name, value)) = text.strip_prefix("--").and_then(|option| option.split_once('='))
        && NAMES.contains(&name.to_ascii_lowercase().as_str())
        && is_value(value)
    {
        return Some("this option is a secret");
    }
    let (scheme, rest) = text.split_once("://")?;
    let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    if host.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).is_some_and(|(_, p)| !p.is_empty()) {
        return Some("this URL holds a password");
    }
    if parameters.split('&').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        // Signatures and keys of a few letters are choices, not secrets.
        value.len() >= 6 && NAMES.contains(&name.to_ascii_lowercase().as_str())
    }) {
        return Some("this URL holds a secret parameter");
    }
    let last = path.rsplit('/').next().unwrap_or("");
    (scheme.starts_with("rtmp") && path.contains('/') && looks_random(last))
        .then_some("this URL seems to end in a stream key")
}

/// A path leads to a secret, but is none.
fn is_value(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(['-', '/'])
}

fn is_secret_variable(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "stream_key", "access_key"]
        .iter()
        .any(|secret| name.contains(secret))
        && !name.ends_with("_file")
}

/// Long, and often changing between letters and digits or between small and capital letters, as no
/// name does.
fn looks_random(text: &str) -> bool {
    let class = |c: char| match c {
        'a'..='z' => 1,
        'A'..='Z' => 2,
        '0'..='9' => 3,
        _ => 0,
    };
    let classes: Vec<i32> = text.chars().map(class).filter(|class| *class > 0).collect();
    let changes = classes.windows(2).filter(|pair| pair[0] != pair[1]).count();
    classes.len() >= 12 && changes >= 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_names() {
        let secret = |text| in_argument("", text).is_some();
        assert!(secret("rtmps://a.rtmp.youtube.com/live2/ab1c-d2ef-3ghi-jk45-l6mn"));
        assert!(secret("rtmp://live.twitch.tv/app/live_123456789_a1B2c3D4e5F6g7H8"));
        assert!(secret("srt://host:9000?mode=caller&passphrase=correcthorse"));
        assert!(secret("https://u:p@host/x"));
        assert!(!secret("rtmp://host/live/channel-7-production"));
        assert!(!secret("rtmp://a1b2c3d4e5f6g7h8.example.com/live"));
        assert!(!secret("https://u@host/x?key=on"));
        assert!(in_argument("--token", "abc").is_some());
        assert!(in_argument("-i", "token").is_none());
        assert!(in_argument("", "--key=/etc/tls/key.pem").is_none());
        assert!(is_secret_variable("YT_STREAM_KEY") && !is_secret_variable("PASSWORD_FILE"));
    }
}
