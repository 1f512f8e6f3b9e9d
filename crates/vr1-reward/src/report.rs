use std::fmt;

use crate::source::Test;
use crate::{Bounds, Diagnostic, Error, Fields, Hack, Outcome, Program, Result, Rollout};

/// What [`Program::check`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What the program's file is called.
    pub file: String,
    /// What the static check found that does not stop the program.
    pub warnings: Vec<Diagnostic>,
    /// The range of each term and of the total.
    pub bounds: Vec<Bounds>,
    /// How many tests ran.
    pub tests: usize,
    /// The tests that failed.
    pub failures: Vec<Failure>,
    /// Degenerate completions that earn too much.
    pub hacks: Vec<Hack>,
}

impl Report {
    /// Whether the program may be used: every test passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    fn failed_tests(&self) -> usize {
        let mut failed: Vec<usize> = self.failures.iter().map(|failure| failure.test).collect();
        failed.dedup();
        failed.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "{}", warning.render(&self.file))?;
        }
        for bounds in &self.bounds {
            writeln!(f, "{bounds}")?;
        }
        for failure in &self.failures {
            writeln!(f, "{failure}")?;
        }
        for hack in &self.hacks {
            writeln!(f, "warning: {hack}")?;
        }
        write!(f, "{} of {} tests passed", self.tests - self.failed_tests(), self.tests)
    }
}

/// A test that a program failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The test's place in `tests:`, from 0.
    pub test: usize,
    /// The completion's place in the test's group; 0 is the test's own.
    pub member: usize,
    /// The completion, shortened.
    pub completion: String,
    /// What differs: the term, what was expected, what came.
    pub differences: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = if self.member > 0 { format!(".group[{}]", self.member - 1) } else { String::new() };
        write!(f, "tests[{}]{member} failed on {:?}: {}", self.test, self.completion, self.differences.join("; "))
    }
}

/// Values of single precision differ by less than this from what a test says.
const TOLERANCE: f64 = 1e-5;

impl Program {
    /// Runs the program's own tests, and the hack probe.
    ///
    /// # Example
    /// ```
    /// use vr1_reward::{Program, Registry};
    /// let yaml = "
    /// terms: { accuracy: 'exact(answer, solution)' }
    /// total: accuracy
    /// tests:
    ///   - { completion: '<answer>4</answer>', solution: '4', expect: { accuracy: 1 } }
    ///   - { completion: '<answer>5</answer>', solution: '4', expect: { accuracy: 1 } }
    /// ";
    /// let report = Program::parse(yaml, &Registry::default())?.check();
    /// assert_eq!((report.tests, report.failures.len()), (2, 1));
    /// assert_eq!(report.failures[0].differences, ["accuracy is 0, expected 1"]);
    /// # Ok::<(), vr1_reward::Error>(())
    /// ```
    #[must_use]
    pub fn check(&self) -> Report {
        self.report(self.probe(&[]))
    }

    /// Runs the program's own tests; what was probed stands beside.
    fn report(&self, hacks: Vec<Hack>) -> Report {
        let mut failures = Vec::new();
        for (index, test) in self.source().tests.iter().enumerate() {
            for (member, (test, outcome)) in self.run_test(test).into_iter().enumerate() {
                let differences = differences(test, &outcome);
                if !differences.is_empty() {
                    let completion = test.completion.chars().take(80).collect();
                    failures.push(Failure { test: index, member, completion, differences });
                }
            }
        }
        Report {
            file: self.file.clone(),
            warnings: self.warnings().to_vec(),
            bounds: self.bounds(),
            tests: self.source().tests.len(),
            failures,
            hacks,
        }
    }

    /// The program, once it has passed its own tests; what runs for hours begins with this.
    ///
    /// # Errors
    /// [`Error::Tests`] with every test that failed.
    ///
    /// # Example
    /// ```
    /// use vr1_reward::{Error, Program, Registry};
    /// let yaml = "
    /// terms: { accuracy: 'exact(answer, solution)' }
    /// total: accuracy
    /// tests: [{ completion: '<answer>5</answer>', solution: '4', expect: { accuracy: 1 } }]
    /// ";
    /// let failed = Program::parse(yaml, &Registry::default())?.tested().unwrap_err();
    /// assert!(matches!(failed, Error::Tests { failed: 1, tests: 1, .. }));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn tested(self) -> Result<Self> {
        // Without the probe, which asks a judge dozens of times and whose finding nobody hears here.
        let report = self.report(Vec::new());
        if report.passed() {
            return Ok(self);
        }
        let lines: Vec<String> = report.failures.iter().map(Failure::to_string).collect();
        Err(Error::Tests { failed: report.failed_tests(), tests: report.tests, report: lines.join("\n") })
    }

    fn run_test<'t>(&self, test: &'t Test) -> Vec<(&'t Test, Result<Outcome>)> {
        let members: Vec<&Test> = std::iter::once(test).chain(&test.group).collect();
        // A member says only what differs from the test it belongs to.
        let fields: Vec<Fields> = members
            .iter()
            .map(|member| {
                let mut fields = test.fields.clone();
                fields.extend(member.fields.clone());
                fields
            })
            .collect();
        let or = |own: &'t str, shared: &'t str| if own.is_empty() { shared } else { own };
        let rollouts: Vec<Rollout<'_>> = members
            .iter()
            .zip(&fields)
            .map(|(member, fields)| Rollout {
                prompt: or(&member.prompt, &test.prompt),
                completion: &member.completion,
                solution: or(&member.solution, &test.solution),
                tokens: member.tokens.unwrap_or_else(|| member.completion.split_whitespace().count()),
                finished: member.finished.unwrap_or(true),
                fields,
            })
            .collect();
        members.into_iter().zip(self.outcomes(&rollouts)).collect()
    }
}

fn differences(test: &Test, outcome: &Result<Outcome>) -> Vec<String> {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return vec![error.to_string()],
    };
    let show = |value: Option<f64>| value.map_or("missing".to_owned(), |value| value.to_string());
    let mut out = Vec::new();
    for (name, expected) in &test.expect {
        let found = match outcome.terms.iter().find(|(term, _)| term == name) {
            Some((_, value)) => *value,
            None => outcome.total,
        };
        let found = found.map(f64::from);
        let same = match (found, expected.value()) {
            (None, None) => true,
            (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * f64::max(1.0, b.abs()),
            _ => false,
        };
        if !same {
            out.push(format!("{name} is {}, expected {}", show(found), show(expected.value())));
        }
    }
    out
}
