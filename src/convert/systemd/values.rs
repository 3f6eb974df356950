//! Values as systemd writes them: words, times, sizes (systemd.syntax(7), systemd.time(7)).

use std::time::Duration;

/// Stands for a `;` that begins another command.
pub(super) const NEXT: &str = "\0;";

/// Splits a line into words, with quotes and C's escapes (systemd.syntax(7)).
pub(super) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut plain = true;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                plain = false;
                word.get_or_insert_default().push(escape(&mut rest)?);
            }
            c if quote == Some(c) => quote = None,
            c if quote.is_some() => word.get_or_insert_default().push(c),
            '"' | '\'' => {
                (quote, plain) = (Some(c), false);
                word.get_or_insert_default();
            }
            c if c.is_whitespace() => {
                words.extend(word.take().map(|word| if plain && word == ";" { NEXT.into() } else { word }));
                plain = true;
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".into());
    }
    words.extend(word.map(|word| if plain && word == ";" { NEXT.into() } else { word }));
    Ok(words)
}

/// The character after a backslash.
fn escape(rest: &mut std::str::Chars<'_>) -> Result<char, String> {
    let Some(c) = rest.next() else { return Err("it ends with a backslash".into()) };
    let mut number = |digits: usize, base: u32, first: Option<char>| {
        let text: String = first.into_iter().chain(rest.by_ref().take(digits)).collect();
        let number = u32::from_str_radix(&text, base).ok().filter(|number| *number != 0);
        number.and_then(char::from_u32).ok_or_else(|| format!("{text:?} is the number of no character"))
    };
    Ok(match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        's' => ' ',
        '\\' | '"' | '\'' | ';' => c,
        'x' => number(2, 16, None)?,
        'u' => number(4, 16, None)?,
        'U' => number(8, 16, None)?,
        '0'..='7' => number(2, 8, Some(c))?,
        other => return Err(format!("\\{other} is no escape that systemd knows")),
    })
}

/// A number of something, or no limit.
pub(super) enum Amount {
    Number(u64),
    Infinite,
}

/// `4G`, `512M`, `infinity`.
pub(super) fn size(text: &str, base: u64) -> Option<Amount> {
    if text == "infinity" {
        return Some(Amount::Infinite);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let exponent = match text[digits.len()..].trim() {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        "E" => 6,
        _ => return None,
    };
    let factor = base.checked_pow(exponent)?;
    match digits.parse::<u64>() {
        Ok(number) => number.checked_mul(factor).map(Amount::Number),
        Err(_) => {
            let number = digits.parse::<f64>().ok().filter(|number| *number >= 0.0)? * factor as f64;
            (number < 1e18).then_some(Amount::Number(number as u64))
        }
    }
}

/// A time span (systemd.time(7)): `5`, `1min 30s`, `500ms`; `infinity` is no end.
pub(super) fn time(text: &str) -> Option<Option<Duration>> {
    if text == "infinity" {
        return Some(None);
    }
    let mut total = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "us" | "usec" | "μs" | "µs" => 1e-6,
                "ms" | "msec" => 1e-3,
                "" | "s" | "sec" | "second" | "seconds" => 1.0,
                "m" | "min" | "minute" | "minutes" => 60.0,
                "h" | "hr" | "hour" | "hours" => 3600.0,
                "d" | "day" | "days" => 86_400.0,
                "w" | "week" | "weeks" => 604_800.0,
                "M" | "month" | "months" => 2_629_800.0,
                "y" | "year" | "years" => 31_557_600.0,
                _ => return None,
            };
        rest = rest[end..].trim_start();
    }
    Duration::try_from_secs_f64(total).ok().filter(|time| time.as_secs() < 1 << 40).map(Some)
}

/// A boolean that says no.
pub(super) fn is_no(text: &str) -> bool {
    matches!(text, "no" | "false" | "off" | "0")
}
