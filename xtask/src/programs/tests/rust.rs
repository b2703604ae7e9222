//! The programs that Rust code starts.
use std::{collections::BTreeSet, fmt::Write as _};

use super::{Start, shell};

/// Programs that run the one among their arguments.
const WRAPPERS: [&str; 7] = [
    "nice",
    "nsenter",
    "pivot_root",
    "runuser",
    "setpriv",
    "timeout",
    "unshare",
];

#[derive(Clone, Debug, Eq, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Words, strings and signs; comments are left out.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        let next = chars.get(at + 1).copied();
        if c == '/' && next == Some('/') {
            while chars.get(at).is_some_and(|c| *c != '\n') {
                at += 1;
            }
        } else if c == '/' && next == Some('*') {
            at += 2;
            while at < chars.len() && !(chars[at] == '*' && chars.get(at + 1) == Some(&'/')) {
                at += 1;
            }
            at += 2;
        } else if let Some((text, after)) = raw(&chars, at) {
            tokens.push(Token::Text(text));
            at = after;
        } else if c == '"' {
            let (text, after) = quoted(&chars, at + 1);
            tokens.push(Token::Text(text));
            at = after;
        } else if c == '\'' {
            // A character; else a lifetime, whose name follows as a word.
            at += match (next, chars.get(at + 2)) {
                (Some('\\'), _) => {
                    2 + chars[at + 3..].iter().take_while(|c| **c != '\'').count() + 2
                }
                (_, Some('\'')) => 3,
                _ => 1,
            };
        } else if c.is_alphanumeric() || c == '_' {
            let word: String = chars[at..]
                .iter()
                .take_while(|c| c.is_alphanumeric() || **c == '_')
                .collect();
            at += word.chars().count();
            tokens.push(Token::Word(word));
        } else {
            if !c.is_whitespace() {
                tokens.push(Token::Sign(c));
            }
            at += 1;
        }
    }
    tokens
}

/// `r"..."`, `r#"..."#`, also of bytes.
fn raw(chars: &[char], at: usize) -> Option<(String, usize)> {
    if at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') {
        return None;
    }
    let mut place = at + usize::from(chars[at] == 'b');
    if chars.get(place) != Some(&'r') {
        return None;
    }
    let hashes = chars[place + 1..].iter().take_while(|c| **c == '#').count();
    place += 1 + hashes;
    if chars.get(place) != Some(&'"') {
        return None;
    }
    let from = place + 1;
    let ends = |end: usize| {
        chars[end] == '"'
            && chars[end + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes
    };
    let end = (from..chars.len()).find(|end| ends(*end))?;
    Some((chars[from..end].iter().collect(), end + 1 + hashes))
}

fn quoted(chars: &[char], mut at: usize) -> (String, usize) {
    let mut text = String::new();
    while let Some(c) = chars.get(at).copied() {
        at += 1;
        match c {
            '"' => break,
            '\\' => {
                let escaped = chars.get(at).copied().unwrap_or(' ');
                at += 1;
                match escaped {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    '\n' => {
                        while chars.get(at).is_some_and(|c| c.is_whitespace()) {
                            at += 1;
                        }
                    }
                    other => text.push(other),
                }
            }
            other => text.push(other),
        }
    }
    (text, at)
}

fn is(token: Option<&Token>, text: &str) -> bool {
    match token {
        Some(Token::Word(word)) => word == text,
        Some(Token::Sign(sign)) => text.len() == 1 && text.starts_with(*sign),
        _ => false,
    }
}

/// Whether the tokens at `at` are these words and signs.
fn follows(tokens: &[Token], at: usize, them: &[&str]) -> bool {
    them.iter()
        .enumerate()
        .all(|(nth, text)| is(tokens.get(at + nth), text))
}

/// The tokens of the first argument of a call whose `(` is before `from`, and whether it is the only one.
fn argument(tokens: &[Token], from: usize) -> (&[Token], bool) {
    let mut depth = 0;
    for (length, token) in tokens[from..].iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') if depth == 0 => {
                return (&tokens[from..from + length], true);
            }
            Token::Sign(')' | ']' | '}') => depth -= 1,
            Token::Sign(',') if depth == 0 => return (&tokens[from..from + length], false),
            _ => {}
        }
    }
    (&tokens[from..], true)
}

fn written(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Word(word) => text.push_str(word),
            Token::Text(inner) => {
                let _ = write!(text, "{inner:?}");
            }
            Token::Sign(sign) => text.push(*sign),
        }
    }
    text
}

/// What a name of this file stands for, from its `const NAME: .. = ` or the last `let NAME = ` before `at`.
fn meaning<'a>(tokens: &'a [Token], name: &str, at: usize) -> &'a [Token] {
    let declares = |nth: &usize| {
        let nth = *nth;
        is(tokens.get(nth), name)
            && (nth > 0
                && (is(tokens.get(nth - 1), "let")
                    || is(tokens.get(nth - 1), "const")
                    || is(tokens.get(nth - 1), "mut")))
            && (is(tokens.get(nth + 1), "=") || is(tokens.get(nth + 1), ":"))
    };
    let place = (0..at.min(tokens.len()))
        .rev()
        .find(declares)
        .or_else(|| (0..tokens.len()).find(declares));
    let Some(place) = place else { return &[] };
    let end = (place..tokens.len())
        .find(|nth| is(tokens.get(*nth), ";"))
        .unwrap_or(tokens.len());
    // The length in `[&str; 3]` has a `;` too.
    let from = (place..tokens.len())
        .find(|nth| is(tokens.get(*nth), "="))
        .unwrap_or(end);
    let end = (from..tokens.len())
        .find(|nth| is(tokens.get(*nth), ";"))
        .unwrap_or(tokens.len());
    &tokens[from.min(end)..end]
}

/// The strings of some tokens, those of the constants that they name included.
fn strings(tokens: &[Token], of: &[Token], at: usize) -> Vec<String> {
    let mut found = Vec::new();
    for token in of {
        if let Token::Text(text) = token {
            found.push(text.clone());
        }
    }
    if found.is_empty()
        && let Some(Token::Word(name)) = of.iter().find(|token| matches!(token, Token::Word(_)))
    {
        let meant = meaning(tokens, name, at);
        found.extend(meant.iter().filter_map(|token| match token {
            Token::Text(text) => Some(text.clone()),
            _ => None,
        }));
    }
    found
}

/// Everything that a file starts.
pub(super) fn starts(source: &str) -> BTreeSet<Start> {
    let tokens = tokens(source);
    let mut found = BTreeSet::new();
    for at in 0..tokens.len() {
        let from = if follows(&tokens, at, &["Command", ":", ":", "new", "("]) {
            at + 5
        } else if follows(&tokens, at, &[".", "command", "("])
            && !(at > 0 && is(tokens.get(at - 1), "dialogue"))
        {
            at + 3
        } else if follows(&tokens, at, &[".", "output", "("])
            || follows(&tokens, at, &[".", "run", "("])
        {
            of_a_list(&tokens, at + 3, &mut found);
            at + 3
        } else if follows(&tokens, at, &["quietly", "("]) || follows(&tokens, at, &["always", "("])
        {
            at + 2
        } else if follows(&tokens, at, &["quietly_within", "("]) {
            at + 2 + argument(&tokens, at + 2).0.len() + 1
        } else {
            continue;
        };
        let (argument, alone) = argument(&tokens, from);
        match argument {
            [Token::Text(program)] => {
                // `.output("a b")` of one argument is another function's.
                if alone && follows(&tokens, at, &[".", "output", "("]) {
                    continue;
                }
                found.insert(Start::Named(program.clone()));
                if WRAPPERS.contains(&program.as_str()) {
                    wrapped(&tokens, from + 1, &mut found);
                }
                if program.ends_with("sh") {
                    script(&tokens, from + 1, &mut found);
                }
            }
            [] => {}
            // A function's own declaration.
            other if is(other.get(1), ":") => {}
            other => {
                let is_new = follows(&tokens, at, &["Command", ":", ":", "new", "("]);
                let is_command = follows(&tokens, at, &[".", "command", "("]) && alone;
                let is_quiet = is(tokens.get(at), "quietly")
                    || is(tokens.get(at), "always")
                    || is(tokens.get(at), "quietly_within");
                if (is_new || is_command || is_quiet) && !declared(&tokens, at) {
                    found.insert(Start::By(written(other)));
                }
            }
        }
    }
    found
}

fn declared(tokens: &[Token], at: usize) -> bool {
    at > 0 && is(tokens.get(at - 1), "fn")
}

/// `machine.run(&["program", ..])`, with the list there or before.
fn of_a_list(tokens: &[Token], from: usize, found: &mut BTreeSet<Start>) {
    let (list, _) = argument(tokens, from);
    let is_list = is(list.first(), "&") && list.len() > 1;
    if !is_list {
        return;
    }
    let words = match &list[1..] {
        [Token::Sign('['), Token::Text(program), ..] => vec![program.clone()],
        [Token::Word(name)] => {
            let meant = meaning(tokens, name, from);
            let is_of_words = meant.iter().take(4).any(|token| is(Some(token), "["));
            if is_of_words {
                strings(tokens, meant, from)
            } else {
                Vec::new()
            }
        }
        _ => Vec::new(),
    };
    if let Some(program) = words.first() {
        found.insert(Start::Named(program.clone()));
        if program.ends_with("sh") {
            script(tokens, from, found);
        }
    }
}

/// The strings from `from` to where the command is run.
fn rest(tokens: &[Token], from: usize) -> &[Token] {
    let runs = ["spawn", "output", "status", "exec"];
    let mut end = from;
    while end < tokens.len() && !runs.iter().any(|word| is(tokens.get(end), word)) {
        end += 1;
    }
    &tokens[from..end]
}

/// The program that a wrapper runs: its first argument that is neither an option nor a number. Where
/// that is no text, the expression.
fn wrapped(tokens: &[Token], from: usize, found: &mut BTreeSet<Start>) {
    let rest = rest(tokens, from);
    for (nth, token) in rest.iter().enumerate() {
        let words = match token {
            Token::Text(text) => vec![text.clone()],
            // `&arguments` of a list before.
            Token::Word(name) if nth > 0 && is(rest.get(nth - 1), "&") => {
                let meant = meaning(tokens, name, from);
                let is_list = meant.iter().take(3).any(|token| is(Some(token), "["));
                if is_list {
                    strings(tokens, meant, from)
                } else {
                    Vec::new()
                }
            }
            Token::Sign('(') if nth > 1 && is(rest.get(nth - 2), ".") => {
                let (argument, _) = argument(rest, nth + 1);
                let is_expression = !argument
                    .iter()
                    .any(|token| matches!(token, Token::Text(_) | Token::Sign('[' | '!')));
                let adds = is(rest.get(nth - 1), "arg") || is(rest.get(nth - 1), "args");
                if adds && is_expression {
                    found.insert(Start::By(written(argument)));
                    return;
                }
                continue;
            }
            _ => continue,
        };
        if let Some(program) = words.iter().find(|word| is_program(word)) {
            found.insert(Start::Named(program.clone()));
            if program.ends_with("sh") {
                script(tokens, from, found);
            }
            if WRAPPERS.contains(&program.as_str()) {
                wrapped(tokens, from + nth + 1, found);
            }
            return;
        }
    }
}

/// Whether an argument of a wrapper may be a program: it is no option and no number.
fn is_program(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
}

/// The script after `-c`, in the arguments or in a list of them that was made before.
fn script(tokens: &[Token], from: usize, found: &mut BTreeSet<Start>) {
    let near = &tokens[from..tokens.len().min(from + 60)];
    let listed = match near {
        [Token::Sign(','), Token::Sign('&'), Token::Word(list), ..] => meaning(tokens, list, from),
        _ => &[],
    };
    let after_flag = |tokens: &[Token]| {
        let flag = tokens
            .iter()
            .position(|token| *token == Token::Text("-c".to_owned()))?;
        let mut rest = tokens[flag + 1..].iter();
        rest.find(|token| match token {
            Token::Text(_) => true,
            Token::Word(word) => word != "arg",
            Token::Sign(_) => false,
        })
        .cloned()
    };
    let Some(next_token) = after_flag(listed).or_else(|| after_flag(near)) else {
        return;
    };
    let next = from;
    let mut scripts = match next_token {
        Token::Text(text) => vec![text],
        word => strings(tokens, &[word], next),
    };
    // `{CONSTANT}` in a format.
    for nth in 0..scripts.len() {
        let text = scripts[nth].clone();
        for part in text.split('{').skip(1) {
            let name: String = part
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if part[name.len()..].starts_with('}') && !name.is_empty() {
                let meant = meaning(tokens, &name, next);
                scripts.extend(strings(tokens, meant, next));
                scripts[nth] = scripts[nth].replace(&format!("{{{name}}}"), " ");
            }
        }
    }
    for text in scripts {
        found.extend(shell::programs(&text).into_iter().map(Start::Named));
    }
}
