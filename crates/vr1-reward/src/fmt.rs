use std::fmt::Write;

use crate::language::parser::parse;
use crate::language::print::print;
use crate::source::{Expression, Terms, Test};
use crate::{ProgramSource, Result};

/// A program's YAML in the one way it is written: keys in order, an expression a line, tests in flow style.
///
/// Formatting twice is the same as once, and means the same as before. Comments are not kept, so a caller that writes
/// the result back says so.
///
/// # Errors
/// Where the text is not the YAML of a program. An expression that cannot be read stays as it is.
///
/// # Example
/// ```
/// use vr1_reward::format_program;
/// let yaml = "total:   a+1\nterms: {a:   'exact( answer,solution )'}";
/// assert_eq!(format_program("my.yaml", yaml)?, "terms:\n  a: exact(answer, solution)\ntotal: a + 1\n");
/// # Ok::<(), vr1_reward::Error>(())
/// ```
pub fn format_program(file: &str, yaml: &str) -> Result<String> {
    let source = crate::layout::read(file, yaml)?;
    Ok(formatted(&source))
}

fn formatted(source: &ProgramSource) -> String {
    let mut out = String::new();
    for (key, text) in [("name", &source.name), ("about", &source.about)] {
        if let Some(text) = text {
            let _ = writeln!(out, "{key}: {}", scalar(text));
        }
    }
    terms("terms", &source.terms, &mut out);
    terms("metrics", &source.metrics, &mut out);
    let _ = writeln!(out, "total: {}", expression(&source.total));
    if !source.tests.is_empty() {
        out.push_str("tests:\n");
        for test in &source.tests {
            let _ = writeln!(out, "  - {}", flow(test));
        }
    }
    out
}

fn terms(section: &str, terms: &Terms, out: &mut String) {
    if terms.is_empty() && section == "metrics" {
        return;
    }
    if terms.is_empty() {
        let _ = writeln!(out, "{section}: {{}}");
        return;
    }
    let _ = writeln!(out, "{section}:");
    for (name, text) in &terms.0 {
        let _ = writeln!(out, "  {}: {}", scalar(name), expression(text));
    }
}

fn expression(expression: &Expression) -> String {
    let text = parse(&expression.0).map_or_else(|_| expression.0.clone(), |expr| print(&expr));
    scalar(&text)
}

/// A test in JSON's flow style, which is YAML too.
fn flow(test: &Test) -> String {
    // A test holds texts, numbers and JSON, which always become JSON.
    serde_json::to_string(test).unwrap_or_default()
}

/// A text as YAML writes it plain, else in single or double quotes.
fn scalar(text: &str) -> String {
    let plain_start = text.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '(');
    let unsafe_inside = [": ", " #", "\n", "\t"].iter().any(|mark| text.contains(mark));
    let unsafe_end = text.ends_with([':', ' ']) || text.starts_with(' ');
    let special = ["true", "false", "null", "yes", "no", "on", "off", "~"];
    if plain_start && !unsafe_inside && !unsafe_end && !special.contains(&text.to_lowercase().as_str()) {
        return text.to_owned();
    }
    if text.chars().any(|c| c.is_control()) {
        // JSON's escapes are YAML's.
        return serde_json::Value::from(text).to_string();
    }
    format!("'{}'", text.replace('\'', "''"))
}
