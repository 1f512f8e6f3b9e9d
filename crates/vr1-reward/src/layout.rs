//! Where in a file an expression stands.

use crate::language::ast::Fault;
use crate::{Diagnostic, Error, ProgramSource, Result};

/// Reads a program's YAML.
pub(crate) fn read(file: &str, yaml: &str) -> Result<ProgramSource> {
    serde_yaml::from_str(yaml).map_err(|error| Error::Yaml { reason: format!("{file}: {error}") })
}

/// The places of a file's expressions.
#[derive(Debug, Default)]
pub(crate) struct Layout {}

impl Layout {
    pub(crate) fn of(_yaml: &str) -> Self {
        Self {}
    }

    /// The fault with its place; without a file, the place inside the expression.
    pub(crate) fn diagnostic(&self, path: &[&str], text: &str, fault: Fault) -> Diagnostic {
        let start = fault.span.start.min(text.len());
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = fault.span.end.clamp(start, line_end);
        Diagnostic {
            severity: fault.severity,
            message: fault.message,
            place: match path {
                [section @ ("terms" | "metrics"), name] => format!("{section}.{name}"),
                [section, index] => format!("{section}[{index}]"),
                _ => path.join("."),
            },
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].chars().count().max(1),
            source_line: text[line_start..line_end].to_owned(),
            label: fault.label,
            help: fault.help,
        }
    }
}
