//! What begins with a backslash: fractions, roots, functions, series, matrices.

use num_rational::BigRational;

use super::expr::{Answer, Expr, Function, Product};
use super::lexer::Token;
use super::matrix::determinant;
use super::names::{function, is_log, is_name, spelled};
use super::parser::Parser;
use super::primary::with_bars_closed;

impl Parser<'_> {
    pub(super) fn named(&mut self, name: &str) -> Option<Answer> {
        let expr = match name {
            "frac" | "dfrac" | "tfrac" | "cfrac" => self.argument()?.over(self.argument()?),
            "binom" | "dbinom" | "tbinom" => {
                let top = self.argument()?;
                Expr::Call(Function::Binomial, vec![top, self.argument()?])
            }
            "sqrt" => {
                let index = if self.take('[') {
                    let index = self.sum()?.expr()?;
                    self.take(']').then_some(())?;
                    index
                } else {
                    Expr::integer(2)
                };
                let of = if self.is('(') || self.is('{') { self.primary()?.expr()? } else { self.radicand()? };
                Expr::Power(Box::new(of), Box::new(index.inverse()))
            }
            "pi" => Expr::Pi,
            "infty" | "infinity" => Expr::Infinity,
            "imath" | "i" => Expr::ImaginaryUnit,
            "mathbb" | "mathbf" | "mathcal" => return self.blackboard(),
            "R" | "Z" | "N" | "Q" | "C" => return Some(Answer::Named(name.chars().next()?)),
            "emptyset" | "varnothing" => return Some(Answer::Set(Vec::new())),
            "{" | "lbrace" => {
                let inner = if self.take_command(&["}", "rbrace"]) {
                    return Some(Answer::Set(Vec::new()));
                } else {
                    self.nested(|parser| with_bars_closed(parser, Self::elements))?
                };
                if !self.take_command(&["}", "rbrace"]) && !self.take('}') {
                    return None;
                }
                return Some(match inner {
                    Answer::Set(items) => Answer::Set(items),
                    Answer::Relations(chain) => Answer::Relations(chain),
                    other => Answer::Set(vec![other]),
                });
            }
            "lfloor" | "lceil" => {
                let inner = self.sum()?.expr()?;
                self.take_command(&["rfloor", "rceil"]).then_some(())?;
                Expr::Call(if name == "lfloor" { Function::Floor } else { Function::Ceil }, vec![inner])
            }
            "lvert" | "vert" | "lVert" => {
                let inner = self.sum()?.expr()?;
                self.take_command(&["rvert", "vert", "rVert"]).then_some(())?;
                Expr::Call(Function::Abs, vec![inner])
            }
            "langle" => {
                let items = self.comma_group()?;
                self.take_command(&["rangle"]).then_some(())?;
                return Some(Answer::Tuple(items));
            }
            "lbrack" => return self.brackets('['),
            "boxed" | "fbox" => return self.braced_answer(),
            "sum" | "prod" => self.series(if name == "sum" { Product::Sum } else { Product::Product })?,
            "begin" => return self.matrix(),
            "log" | "ln" | "lg" | "exp" => self.logarithm(name)?,
            "gcd" | "lcm" | "max" | "min" => {
                let items = match self.primary()? {
                    Answer::Expr(expr) => vec![expr],
                    Answer::Tuple(items) | Answer::Set(items) => {
                        items.into_iter().map(Answer::expr).collect::<Option<_>>()?
                    }
                    Answer::Interval { low, high, .. } => vec![low, high],
                    _ => return None,
                };
                let function = match name {
                    "gcd" => Function::Gcd,
                    "lcm" => Function::Lcm,
                    "max" => Function::Max,
                    _ => Function::Min,
                };
                Expr::Call(function, items)
            }
            "overline" | "bar" | "vec" | "hat" | "tilde" | "widehat" | "overrightarrow" | "widetilde" => {
                let start = self.at;
                self.argument()?;
                let kind = if name == "overline" { "bar" } else { name };
                Expr::Symbol(format!("{kind}{{{}}}", spelled(&self.tokens[start..self.at])))
            }
            name => match function(name) {
                Some(function) => self.function_call(function)?,
                // Unknown commands in lower case are Greek letters and other names; anything else is not read.
                None if is_name(name) => return self.symbol(format!("\\{name}")),
                None => return None,
            },
        };
        Some(Answer::Expr(expr))
    }

    /// `\sqrt 2`: one number or one letter.
    pub(super) fn radicand(&mut self) -> Option<Expr> {
        match self.peek()? {
            Token::Number(text) if !text.contains('.') && text.len() > 1 => self.argument(),
            _ => self.primary()?.expr(),
        }
    }

    pub(super) fn braced_answer(&mut self) -> Option<Answer> {
        if self.take('{') { self.braces() } else { None }
    }

    pub(super) fn blackboard(&mut self) -> Option<Answer> {
        let braced = self.take('{');
        let letter = match self.peek()? {
            Token::Letter(letter) | Token::Symbol(letter) => *letter,
            _ => return None,
        };
        self.at += 1;
        if braced && !self.take('}') {
            return None;
        }
        let plain = match letter {
            'ℝ' => 'R',
            'ℤ' => 'Z',
            'ℕ' => 'N',
            'ℚ' => 'Q',
            'ℂ' => 'C',
            other => other,
        };
        Some(Answer::Named(plain))
    }

    pub(super) fn power_of_function(&mut self) -> Option<Option<Expr>> {
        if !self.take('^') {
            return Some(None);
        }
        self.script().map(Some)
    }

    pub(super) fn function_call(&mut self, function: Function) -> Option<Expr> {
        let power = self.power_of_function()?;
        let argument = self.function_argument()?;
        let inverse =
            matches!(&power, Some(Expr::Number { value, .. }) if *value == BigRational::from_integer((-1).into()));
        let of_inverse = match function {
            Function::Sin => Some(Function::Asin),
            Function::Cos => Some(Function::Acos),
            Function::Tan => Some(Function::Atan),
            _ => None,
        };
        if let (true, Some(inverse)) = (inverse, of_inverse) {
            return Some(Expr::Call(inverse, vec![argument]));
        }
        let call = Expr::Call(function, vec![argument]);
        Some(match power {
            Some(power) => Expr::Power(Box::new(call), Box::new(power)),
            None => call,
        })
    }

    /// `(x)` or what stands side by side up to the next function: `\sin 2x \cos y` has `2x`.
    pub(super) fn function_argument(&mut self) -> Option<Expr> {
        if self.is('(') || self.is('{') || self.is('[') {
            let group = self.primary()?.expr()?;
            return if self.take('^') {
                Some(Expr::Power(Box::new(group), Box::new(self.script()?)))
            } else {
                Some(group)
            };
        }
        let minus = self.take('-');
        let mut parts = vec![self.factor()?.expr()?];
        while self.starts_factor() && !self.command().is_some_and(|name| function(name).is_some() || is_log(name)) {
            if self.numerals_meet() {
                return None;
            }
            parts.push(self.factor()?.expr()?);
        }
        let argument = if parts.len() == 1 { parts.pop()? } else { Expr::Product(parts) };
        Some(if minus { argument.negated() } else { argument })
    }

    pub(super) fn logarithm(&mut self, name: &str) -> Option<Expr> {
        let base = if self.take('_') { Some(self.argument()?) } else { None };
        let power = self.power_of_function()?;
        let argument = self.function_argument()?;
        let call = match (name, base) {
            ("exp", _) => Expr::Power(Box::new(Expr::E), Box::new(argument)),
            (_, Some(base)) => Expr::Call(Function::Log, vec![argument, base]),
            ("ln", None) => Expr::Call(Function::Log, vec![argument]),
            // Math-Verify reads \log without a base as the decimal logarithm.
            _ => Expr::Call(Function::Log, vec![argument, Expr::integer(10)]),
        };
        Some(match power {
            Some(power) => Expr::Power(Box::new(call), Box::new(power)),
            None => call,
        })
    }

    pub(super) fn series(&mut self, product: Product) -> Option<Expr> {
        self.take('_').then_some(())?;
        self.take('{').then_some(())?;
        let variable = self.primary()?.expr()?.word()?;
        self.take('=').then_some(())?;
        let low = self.sum()?.expr()?;
        self.take('}').then_some(())?;
        self.take('^').then_some(())?;
        let high = self.script()?;
        let body = self.product()?.expr()?;
        let (low, high, body) = (Box::new(low), Box::new(high), Box::new(body));
        Some(Expr::Series { product, variable, low, high, body })
    }

    pub(super) fn matrix(&mut self) -> Option<Answer> {
        let kind = self.environment_name()?;
        let known = ["matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix", "array"];
        if !known.contains(&kind.as_str()) {
            return None;
        }
        if kind == "array" && self.is('{') {
            // The columns' alignment.
            while !self.take('}') {
                self.at += 1;
                self.peek()?;
            }
        }
        let mut rows: Vec<Vec<Expr>> = vec![Vec::new()];
        loop {
            if self.take_command(&["end"]) {
                self.environment_name()?;
                break;
            }
            if self.peek() == Some(&Token::Row) {
                self.at += 1;
                rows.push(Vec::new());
                continue;
            }
            if self.take('&') {
                continue;
            }
            if self.take_command(&["hline"]) {
                continue;
            }
            let cell = self.nested(Self::sum)?.expr()?;
            rows.last_mut()?.push(cell);
        }
        rows.retain(|row| !row.is_empty());
        let columns = rows.first()?.len();
        if rows.iter().any(|row| row.len() != columns) {
            return None;
        }
        let cells: Vec<Expr> = rows.into_iter().flatten().collect();
        Some(Answer::Expr(match kind.as_str() {
            "vmatrix" => determinant(columns, &cells)?,
            _ => Expr::Matrix { columns, cells },
        }))
    }

    pub(super) fn environment_name(&mut self) -> Option<String> {
        self.take('{').then_some(())?;
        let mut name = String::new();
        loop {
            match self.peek()?.clone() {
                Token::Letter(letter) => name.push(letter),
                Token::Symbol('*') => {}
                Token::Symbol('}') => {
                    self.at += 1;
                    return Some(name);
                }
                _ => return None,
            }
            self.at += 1;
        }
    }
}
