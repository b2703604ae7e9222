//! The programs that a shell script starts.
use std::collections::BTreeSet;

/// What the shell does itself.
const BUILT_IN: [&str; 24] = [
    ":", ".", "[", "break", "cd", "command", "continue", "echo", "eval", "exit", "export", "false",
    "printf", "pwd", "read", "return", "set", "shift", "test", "trap", "true", "ulimit", "unset",
    "wait",
];
/// A command follows these.
const BEFORE_A_COMMAND: [&str; 9] = [
    "!", "do", "elif", "else", "exec", "if", "then", "until", "while",
];
/// These begin words that are no commands, up to the end of their command; and `kill`, which sh and
/// bash have built in.
const NO_COMMAND: [&str; 6] = ["case", "done", "esac", "fi", "for", "kill"];

/// Names of programs at the place of a command. Not a whole grammar: here-documents are not known,
/// and a name that is made up by the script itself is left out.
pub(super) fn programs(script: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    scan(script, &mut found);
    found
}

fn scan(script: &str, found: &mut BTreeSet<String>) {
    let chars: Vec<char> = script.chars().collect();
    let mut at = 0;
    let mut expects = true;
    let mut word = String::new();
    let mut plain = true;
    let mut in_case_head = false;
    while at <= chars.len() {
        let c = chars.get(at).copied().unwrap_or('\n');
        let next = chars.get(at + 1).copied().unwrap_or('\n');
        match c {
            '#' if word.is_empty() && plain => {
                while chars.get(at).is_some_and(|c| *c != '\n') {
                    at += 1;
                }
                continue;
            }
            '\\' if next == '\n' => at += 1,
            '\\' => {
                word.push(next);
                plain = false;
                at += 1;
            }
            '\'' => {
                plain = false;
                at += 1;
                while chars.get(at).is_some_and(|c| *c != '\'') {
                    at += 1;
                }
            }
            '"' => {
                plain = false;
                at += 1;
                while chars.get(at).is_some_and(|c| *c != '"') {
                    if chars[at] == '\\' {
                        at += 1;
                    } else if chars[at] == '$' && chars.get(at + 1) == Some(&'(') {
                        at = substitution(&chars, at + 2, found);
                        continue;
                    }
                    at += 1;
                }
            }
            '$' if next == '(' => {
                plain = false;
                at = substitution(&chars, at + 2, found);
                continue;
            }
            ' ' | '\t' | '\n' | ';' | '|' | '&' | '(' | ')' | '{' | '}' | '<' | '>' => {
                // `${x}` and `2>&1` are no ends of a command.
                if c == '{' && word.ends_with('$') || c == '}' && word.contains('$') {
                    plain = false;
                    word.push(c);
                    at += 1;
                    continue;
                }
                let descriptor =
                    c == '&' && (chars.get(at.wrapping_sub(1)) == Some(&'>') || next == '>');
                if !word.is_empty() || !plain {
                    take(&word, plain, &mut expects, &mut in_case_head, found);
                    word.clear();
                    plain = true;
                }
                if matches!(c, '<' | '>') {
                    // The file's name is the next word.
                    at += 1;
                    while chars.get(at).is_some_and(|c| matches!(c, '>' | '&' | ' ')) {
                        at += 1;
                    }
                    while chars
                        .get(at)
                        .is_some_and(|c| !c.is_whitespace() && !matches!(c, ';' | ')' | '|'))
                    {
                        at += 1;
                    }
                    continue;
                }
                if !descriptor && matches!(c, '\n' | ';' | '|' | '&' | '(' | ')' | '{') {
                    expects = !in_case_head;
                    // After `in` the patterns: what stands before `)` is no command.
                    if c == ')' {
                        in_case_head = false;
                        expects = true;
                    }
                    if c == ';' && next == ';' {
                        in_case_head = true;
                        expects = false;
                        at += 1;
                    }
                }
            }
            _ => word.push(c),
        }
        at += 1;
    }
}

/// Reads `$(...)` from its first character; where it goes on.
fn substitution(chars: &[char], from: usize, found: &mut BTreeSet<String>) -> usize {
    let mut depth = 1;
    let mut at = from;
    while at < chars.len() && depth > 0 {
        match chars[at] {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    let inner: String = chars[from..at.saturating_sub(1).max(from)].iter().collect();
    scan(&inner, found);
    at
}

fn take(
    word: &str,
    plain: bool,
    expects: &mut bool,
    in_case_head: &mut bool,
    found: &mut BTreeSet<String>,
) {
    if word == "esac" {
        *in_case_head = false;
        *expects = false;
        return;
    }
    // `case x in` and `for x in`; a case's patterns come next.
    if word == "in" && !*expects {
        *in_case_head = true;
        return;
    }
    if word == "do" {
        *in_case_head = false;
        *expects = true;
        return;
    }
    if !*expects {
        return;
    }
    if BEFORE_A_COMMAND.contains(&word) {
        return;
    }
    let assigns = word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    if assigns && (plain || word.contains('=')) {
        return;
    }
    *expects = false;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "/_.-+".contains(c);
    let is_descriptor = word.chars().all(|c| c.is_ascii_digit());
    let named = plain && !is_descriptor && word.chars().all(is_name) && !word.is_empty();
    if named && !BUILT_IN.contains(&word) && !NO_COMMAND.contains(&word) {
        found.insert(word.to_owned());
    }
}

#[test]
fn commands_are_told_from_their_arguments() {
    let of = |script| programs(script).into_iter().collect::<Vec<_>>();
    for (script, expected) in [
        ("a b; c && d || e | f & g", "a c d e f g"),
        ("x=1 y=\"$(a b)\" c d", "a c"),
        ("if a; then b; elif c; then d; else e; fi", "a b c d e"),
        ("for x in a b; do c $x; done", "c"),
        ("while ! a; do sleep 1; done", "a sleep"),
        ("case $x in a|b) c ;; *) d ;; esac; e", "c d e"),
        ("a >out 2>&1 <in; b 2>/dev/null || true", "a b"),
        ("\"$lbd\" a b\n# c d\ne 'f; g' \"h; i\"", "e"),
        ("exec a -c b", "a"),
        ("[ -n \"$2\" ] && exit 0; ( a ); { b; }", "a b"),
        ("echo $(a $(b)) | c", "a b c"),
        ("a \\\n b c\nd", "a d"),
    ] {
        assert_eq!(of(script).join(" "), expected, "{script}");
    }
}
