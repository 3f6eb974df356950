//! PURE: command lines of shells.

/// Whether a program is a shell.
pub fn is_shell(program: &str) -> bool {
    matches!(program, "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "mksh" | "busybox")
}

/// The script that a shell is given as an argument, and which argument it is: that behind `-c`, which may stand among
/// other letters.
pub fn script(argv: &[String]) -> Option<(usize, &str)> {
    let is_flag = |text: &String| text.starts_with('-') && !text.starts_with("--") && text.ends_with('c');
    let n = argv.iter().position(is_flag)? + 1;
    Some((n, argv.get(n)?))
}

/// Whether a script has a word in it, as a shell tells words apart.
pub fn has_word(script: &str, word: &str) -> bool {
    script.split(|c: char| c.is_whitespace() || ";&|(){}".contains(c)).any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_found_behind_the_letters_of_its_flag() {
        let script = |words: &[&str]| {
            let argv: Vec<String> = words.iter().map(|&word| word.into()).collect();
            script(&argv).map(|(n, text)| (n, text.to_owned()))
        };
        assert_eq!(script(&["sh", "-c", "exec x"]), Some((2, "exec x".into())));
        assert_eq!(script(&["bash", "-x", "-ec", "a; exec b"]), Some((3, "a; exec b".into())));
        assert_eq!(script(&["sh", "script.sh"]), None);
        assert_eq!(script(&["sh", "-c"]), None);
        assert!(has_word("cd /srv&&exec x", "exec") && !has_word("executable", "exec"));
    }
}
