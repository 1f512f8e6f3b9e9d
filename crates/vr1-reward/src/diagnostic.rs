use std::fmt::Write;

/// How grave a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The program runs, and may not do what was meant.
    Warning,
    /// The program does not run.
    Error,
}

/// A fault of a reward program, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The term's name, `total`, or `tests[2]`.
    pub place: String,
    /// Line, counted from 1: in the file where the program is one, else in the expression.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The marked part's length in characters, at least 1.
    pub width: usize,
    /// The source line itself.
    pub source_line: String,
    /// What stands under the mark.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// The fault as a compiler prints it, the source line under it and the place marked.
    ///
    /// `file` is what to call the source, for example the path.
    #[must_use]
    pub fn render(&self, file: &str) -> String {
        let head = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let number = self.line.to_string();
        let gap = " ".repeat(number.len());
        let mut out = String::new();
        let shown = |c: char| if c == '\t' { ' ' } else { c };
        let source: String = self.source_line.chars().map(shown).collect();
        let _ = writeln!(out, "{head}: {}", self.message);
        let _ = writeln!(out, "{gap}--> {file}:{}:{} ({})", self.line, self.column, self.place);
        let _ = writeln!(out, "{gap} |");
        let _ = writeln!(out, "{number} | {source}");
        let mark = "^".repeat(self.width.max(1));
        let indent = " ".repeat(self.column.saturating_sub(1));
        let _ = writeln!(out, "{gap} | {}", format!("{indent}{mark} {}", self.label).trim_end());
        if let Some(help) = &self.help {
            let _ = writeln!(out, "{gap} |");
            let _ = writeln!(out, "{gap} = help: {help}");
        }
        out
    }
}

/// All faults as one text.
pub(crate) fn render_all(diagnostics: &[Diagnostic], file: &str) -> String {
    let texts: Vec<String> = diagnostics.iter().map(|d| d.render(file)).collect();
    texts.join("\n").trim_end().to_owned()
}
