//! Shell scripts that run a trainer: assignments, and one command with `--key value`.

use std::collections::BTreeMap;

/// A command of a script.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Run {
    /// The trainer's script, or the words of `trl`.
    pub(super) program: String,
    /// The launcher's flags, in order.
    pub(super) launcher: Vec<(String, Vec<String>)>,
    /// The trainer's flags, in order.
    pub(super) flags: Vec<(String, Vec<String>)>,
}

/// The first command of `text` that runs a trainer.
pub(super) fn run(text: &str) -> Option<Run> {
    let mut variables = BTreeMap::new();
    for line in joined(text) {
        let words = words(&line, &variables);
        let assigned = |word: &String| {
            let (name, value) = word.split_once('=')?;
            let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            named.then(|| (name.to_owned(), value.to_owned()))
        };
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["export" | "local" | "set", ..] | [_] => variables.extend(words.iter().filter_map(assigned)),
            _ => {
                // `NAME=value command` assigns too.
                variables.extend(words.iter().map_while(assigned));
                if let Some(run) = command(&words) {
                    return Some(run);
                }
            }
        }
    }
    None
}

/// The flags of a file that holds nothing but flags.
pub(super) fn arguments(text: &str) -> Vec<(String, Vec<String>)> {
    let words: Vec<String> = joined(text).iter().flat_map(|line| words(line, &BTreeMap::new())).collect();
    if words.first().is_some_and(|word| word.starts_with("--")) { flags(&words) } else { Vec::new() }
}

/// Lines without comments, those that go on joined.
fn joined(text: &str) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for part in text.lines() {
        let part = part.trim_end();
        if part.trim_start().starts_with('#') {
            continue;
        }
        match part.strip_suffix('\\') {
            Some(open) => line = line + open + " ",
            None => lines.push(std::mem::take(&mut line) + part),
        }
    }
    lines.push(line);
    lines
}

/// The words of a line, quotes taken away and variables put in; what is not known stays as it is.
fn words(line: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(rest.next()),
            (None | Some('"'), '$') if rest.peek() == Some(&'(') => {
                // What another command says is not known.
                let (word, mut depth) = (word.get_or_insert_default(), 0);
                word.push('$');
                for c in rest.by_ref() {
                    word.push(c);
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    if depth == 0 {
                        break;
                    }
                }
            }
            (None | Some('"'), '$') => {
                let braced = rest.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                let mut raw = format!("{}{name}", if braced { "${" } else { "$" });
                if braced {
                    let tail: String = std::iter::from_fn(|| rest.next_if(|c| *c != '}')).collect();
                    raw = raw + &tail + "}";
                    rest.next();
                }
                word.get_or_insert_default().push_str(variables.get(&name).unwrap_or(&raw));
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn command(words: &[String]) -> Option<Run> {
    let trl = words.windows(2).position(|pair| pair[0] == "trl" && ["grpo", "dpo", "sft"].contains(&pair[1].as_str()));
    let script = words.iter().position(|word| word.ends_with(".py"));
    let module = words.iter().position(|word| word == "-m").map(|at| at + 1).filter(|at| *at < words.len());
    let (program, start, end) = match (trl, script, module) {
        (Some(at), _, _) => (format!("trl {}", words[at + 1]), at, at + 2),
        (None, Some(at), _) => (words[at].clone(), at, at + 1),
        (None, None, Some(at)) => (words[at].clone(), at, at + 1),
        _ => return None,
    };
    let flags = flags(&words[end..]);
    (!flags.is_empty()).then(|| Run { program, launcher: self::flags(&words[..start]), flags })
}

/// `--key value…`, `--key=value`, `--flag`, and `key=value` as OmegaConf has it.
fn flags(words: &[String]) -> Vec<(String, Vec<String>)> {
    let mut flags: Vec<(String, Vec<String>)> = Vec::new();
    let omega = !words.iter().any(|word| word.starts_with("--"));
    for word in words {
        // A negative number is a value.
        match word.strip_prefix("--").filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic())) {
            Some(flag) => {
                let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
                flags.push((name.replace('-', "_"), value.into_iter().map(str::to_owned).collect()));
            }
            None => match (word.split_once('='), flags.last_mut()) {
                (Some((name, value)), _) if omega && dotted(name) => {
                    flags.push((name.to_owned(), vec![value.to_owned()]));
                }
                (_, Some((_, values))) => values.push(word.clone()),
                (_, None) => {}
            },
        }
    }
    flags
}

fn dotted(name: &str) -> bool {
    let letters = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    name.split('.').all(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_with_its_variables_and_continued_lines() {
        let text = "ROOT=\"$(cd \"$(dirname \"$0\")\" && pwd)\"\nexport NAME=\"a b\" # what it is called\nN=8\n# N=9\ntorchrun --nproc_per_node=\"$N\" \\\n  src/grpo_jsonl.py \\\n    \
                    --run_name ${NAME} \\\n    --reward-funcs accuracy format \\\n    --bf16 \\\n    --lr=-1 \\\n    --out $HOME/x${UNKNOWN:-y}/$ROOT\n";
        let run = run(text).unwrap_or_default();
        let pair =
            |key: &str, values: &[&str]| (key.to_owned(), values.iter().map(|&v| v.to_owned()).collect::<Vec<_>>());
        assert_eq!(run.program, "src/grpo_jsonl.py");
        assert_eq!(run.launcher, [pair("nproc_per_node", &["8"])]);
        let flags = [
            pair("run_name", &["a b"]),
            pair("reward_funcs", &["accuracy", "format"]),
            pair("bf16", &[]),
            pair("lr", &["-1"]),
            pair("out", &["$HOME/x${UNKNOWN:-y}/$(cd \"$(dirname \"$0\")\" && pwd)"]),
        ];
        assert_eq!(run.flags, flags);
        assert_eq!(super::run("echo hello\nls"), None);
        let omega =
            super::run("python3 -m verl.trainer.main \\\n  config=x.yaml \\\n  worker.rollout.n=5").unwrap_or_default();
        assert_eq!(omega.flags, [pair("config", &["x.yaml"]), pair("worker.rollout.n", &["5"])]);
    }
}
