//! Rust source as far as the rules need it: names, paths, and what is there for tests alone.

/// A name, a `::` or another character of the code.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A path with at least one name, `use` groups written out.
#[derive(Debug)]
pub struct PathUse {
    pub segments: Vec<String>,
    pub line: usize,
}

/// The code without comments, texts and character literals.
pub fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (mut list, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let (c, next) = (chars[i], chars.get(i + 1).copied().unwrap_or(' '));
        let start = i;
        if c == '/' && next == '/' {
            while i < chars.len() && chars[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && next == '*' {
            let mut depth = 0;
            loop {
                match (chars.get(i), chars.get(i + 1)) {
                    (Some('/'), Some('*')) => (depth, i) = (depth + 1, i + 2),
                    (Some('*'), Some('/')) => (depth, i) = (depth - 1, i + 2),
                    (Some(_), _) => i += 1,
                    (None, _) => break,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if c == '"' {
            i = end_of_text(&chars, i);
        } else if c == '\'' {
            // A character literal, or else a lifetime.
            if next == '\\' {
                i += 3;
                while i < chars.len() && chars[i] != '\'' {
                    i += 1;
                }
                i += 1;
            } else if chars.get(i + 2) == Some(&'\'') {
                i += 3;
            } else {
                i += 1;
            }
        } else if is_name(c) {
            while i < chars.len() && is_name(chars[i]) {
                i += 1;
            }
            let name: String = chars[start..i].iter().collect();
            let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
            if matches!(name.as_str(), "r" | "br" | "cr") && chars.get(i + hashes) == Some(&'"') {
                i = end_of_raw_text(&chars, i + hashes + 1, hashes);
            } else {
                list.push(Token { text: name, line });
            }
        } else if c == ':' && next == ':' {
            list.push(Token { text: "::".into(), line });
            i += 2;
        } else {
            if !c.is_whitespace() {
                list.push(Token { text: c.into(), line });
            }
            i += 1;
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    list
}

fn end_of_text(chars: &[char], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn end_of_raw_text(chars: &[char], mut i: usize, hashes: usize) -> usize {
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

fn is_cfg_test(tokens: &[Token]) -> bool {
    tokens.len() > CFG_TEST.len() && tokens.iter().zip(CFG_TEST).all(|(token, text)| token.text == text)
}

/// The files of `#[cfg(test)] mod name;`, as paths below `src`.
pub fn test_modules(file: &str, tokens: &[Token]) -> Vec<String> {
    let folder = file
        .strip_suffix("mod.rs")
        .map_or_else(|| format!("{}/", file.strip_suffix(".rs").unwrap_or(file)), str::to_owned);
    let folder = if file == "lib.rs" { String::new() } else { folder };
    let mut files = Vec::new();
    for i in 0..tokens.len() {
        if is_cfg_test(&tokens[i..])
            && let [word, name, end, ..] = &tokens[i + CFG_TEST.len()..]
            && (word.text.as_str(), end.text.as_str()) == ("mod", ";")
        {
            files.push(format!("{folder}{}.rs", name.text));
            files.push(format!("{folder}{}/mod.rs", name.text));
        }
    }
    files
}

/// Leaves out every item under `#[cfg(test)]`.
pub fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut i) = (Vec::new(), 0);
    while i < tokens.len() {
        if !is_cfg_test(&tokens[i..]) {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        i += CFG_TEST.len();
        let mut depth = 0;
        while i < tokens.len() {
            match tokens[i].text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let ended = depth == 0 && matches!(tokens[i].text.as_str(), "}" | ";");
            i += 1;
            if ended {
                break;
            }
        }
    }
    kept
}

/// Every path in the code.
pub fn paths(tokens: &[Token]) -> Vec<PathUse> {
    let (mut list, mut i) = (Vec::new(), 0);
    let is_name = |token: &Token| token.text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    while i < tokens.len() {
        if is_name(&tokens[i]) && tokens.get(i + 1).is_some_and(|next| next.text == "::") {
            i = expand(tokens, i, &[], &mut list);
        } else {
            i += 1;
        }
    }
    list
}

/// Reads the path at `i`, writes out its group if it ends in one, and returns where it ends.
fn expand(tokens: &[Token], mut i: usize, prefix: &[String], list: &mut Vec<PathUse>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[i].line;
    loop {
        segments.push(tokens[i].text.clone());
        i += 1;
        if tokens.get(i).is_none_or(|token| token.text != "::") {
            break;
        }
        i += 1;
        match tokens.get(i).map(|token| token.text.as_str()) {
            Some("{") => {
                i += 1;
                while let Some(token) = tokens.get(i).filter(|token| token.text != "}") {
                    i = match token.text.as_str() {
                        "," | "*" => i + 1,
                        "as" => i + 2,
                        _ => expand(tokens, i, &segments, list),
                    };
                }
                return i + 1;
            }
            // A glob, or type arguments: the path so far is what counts.
            Some("*" | "<") | None => break,
            Some(_) => {}
        }
    }
    list.push(PathUse { segments, line });
    i
}
