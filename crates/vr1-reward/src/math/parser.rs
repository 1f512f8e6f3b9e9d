//! Tokens of LaTeX to an answer, by recursive descent.
//!
//! ```text
//! answer   := elements                      (`,` makes a set, `;` tuples of what lies between)
//! element  := side (relation side)*
//! side     := ['\pm'] sum ['\pm' sum] | set (('\cup' | '\cap' | '\setminus') set)*
//! sum      := product (('+' | '-') product)*
//! product  := unary (('\cdot' | '/' | …) unary)*
//! unary    := '-' unary | factor factor …   (what stands side by side is multiplied)
//! factor   := primary ['!' | '\%'] ['^' …]
//! ```

use num_bigint::BigInt;
use num_rational::BigRational;

use super::expr::{Answer, Expr, Relation};
use super::lexer::{Token, tokens};
use super::numeric::Work;

/// Nothing nested deeper is an answer.
const MAX_DEPTH: usize = 100;

pub(crate) fn parse(latex: &str, work: &Work) -> Option<Answer> {
    if let Some(number) = thousands(latex.trim()) {
        return Some(Answer::Expr(number));
    }
    let tokens = tokens(latex)?;
    work.steps(1 + tokens.len() as u64 / 8)?;
    let mut parser = Parser { tokens, at: 0, depth: 0, bars: 0, work };
    // A final mark of the sentence is none of the answer.
    while matches!(parser.tokens.last(), Some(Token::Symbol('.' | ',' | ';' | ':'))) {
        parser.tokens.pop();
    }
    let answer = parser.elements()?;
    (parser.at == parser.tokens.len()).then_some(answer)
}

/// `1,234,567.8`, where commas can only group.
fn thousands(text: &str) -> Option<Expr> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let grouped = whole.contains(',') && number(first) && first.len() <= 3;
    if !grouped || !groups.all(|group| group.len() == 3 && number(group)) {
        return None;
    }
    if digits.contains('.') && !number(fraction) {
        return None;
    }
    let plain = decimal(&digits.replace(',', ""))?;
    Some(if text.starts_with('-') { plain.negated() } else { plain })
}

/// A number as it is written, exactly.
pub(crate) fn decimal(text: &str) -> Option<Expr> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() + fraction.len() > 1000 {
        return None;
    }
    let digits: BigInt = format!("{whole}{fraction}").parse().ok()?;
    let scale = num_traits::pow(BigInt::from(10), fraction.len());
    Some(Expr::Number { value: BigRational::new(digits, scale), decimal: text.contains('.') })
}

pub(super) struct Parser<'w> {
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    depth: usize,
    /// How many `|…|` are open.
    pub(super) bars: usize,
    pub(super) work: &'w Work,
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn is(&self, symbol: char) -> bool {
        self.peek() == Some(&Token::Symbol(symbol))
    }

    pub(super) fn take(&mut self, symbol: char) -> bool {
        let found = self.is(symbol);
        self.at += usize::from(found);
        found
    }

    pub(super) fn command(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Command(name)) => Some(name),
            _ => None,
        }
    }

    pub(super) fn take_command(&mut self, names: &[&str]) -> bool {
        let found = self.command().is_some_and(|name| names.contains(&name));
        self.at += usize::from(found);
        found
    }

    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        let result = if self.depth > MAX_DEPTH { None } else { parse(self) };
        self.depth -= 1;
        result
    }

    /// Everything up to what closes this level: one answer, a set, or a set of tuples.
    pub(super) fn elements(&mut self) -> Option<Answer> {
        let mut groups = vec![self.comma_group()?];
        while self.take(';') {
            groups.push(self.comma_group()?);
        }
        let mut flat = groups.into_iter();
        let first = flat.next()?;
        let rest: Vec<Vec<Answer>> = flat.collect();
        if rest.is_empty() {
            return Some(gathered(first));
        }
        let groups = std::iter::once(first).chain(rest);
        let items = groups.map(|mut group| if group.len() == 1 { group.pop() } else { Some(Answer::Tuple(group)) });
        Some(Answer::Set(items.collect::<Option<_>>()?))
    }

    pub(super) fn comma_group(&mut self) -> Option<Vec<Answer>> {
        let mut items = self.element()?;
        while self.is(',') {
            self.at += 1;
            // `1, 2, and 3` has become `1, 2,, 3`.
            while self.take(',') {}
            if self.peek().is_none() {
                break;
            }
            items.extend(self.element()?);
        }
        Some(items)
    }

    /// One element; `±` makes two.
    fn element(&mut self) -> Option<Vec<Answer>> {
        self.nested(|parser| {
            let mut sides = parser.side()?;
            let mut chain: Vec<(Answer, Relation, Answer)> = Vec::new();
            loop {
                if parser.take_command(&["approx", "sim", "simeq", "approxeq"]) {
                    let right = parser.side()?;
                    // An approximation of a name is its value; of anything else, less than the thing itself.
                    let named = chain.is_empty() && sides.len() == 1;
                    if named && sides[0].as_expr().is_some_and(Expr::is_name) {
                        sides = right;
                    }
                    continue;
                }
                let Some(relation) = parser.relation() else { break };
                let right = parser.side()?;
                let left = match chain.last() {
                    Some((_, _, last)) => last.clone(),
                    None => set_of(std::mem::take(&mut sides))?,
                };
                chain.push((left, relation, set_of(right)?));
            }
            Some(if chain.is_empty() { sides } else { vec![Answer::Relations(chain)] })
        })
    }

    fn relation(&mut self) -> Option<Relation> {
        let (relation, length) = match (self.peek()?, self.tokens.get(self.at + 1)) {
            (Token::Symbol('<'), Some(Token::Symbol('='))) => (Relation::LessEqual, 2),
            (Token::Symbol('>'), Some(Token::Symbol('='))) => (Relation::GreaterEqual, 2),
            (Token::Symbol('='), Some(Token::Symbol('='))) => (Relation::Equal, 2),
            (Token::Symbol('='), _) => (Relation::Equal, 1),
            (Token::Symbol('<'), _) => (Relation::Less, 1),
            (Token::Symbol('>'), _) => (Relation::Greater, 1),
            (Token::Command(name), _) => match name.as_str() {
                "lt" => (Relation::Less, 1),
                "gt" => (Relation::Greater, 1),
                "le" | "leq" | "leqslant" => (Relation::LessEqual, 1),
                "ge" | "geq" | "geqslant" => (Relation::GreaterEqual, 1),
                "ne" | "neq" | "notin" => (Relation::Unequal, 1),
                // `x ∈ {1, 2}` says what x is, as `x = 1, 2` does.
                "in" | "equiv" => (Relation::Equal, 1),
                _ => return None,
            },
            _ => return None,
        };
        self.at += length;
        Some(relation)
    }

    /// A side of a relation: several where there is a `±`.
    fn side(&mut self) -> Option<Vec<Answer>> {
        while self.take_command(&["approx", "therefore", "implies", "Rightarrow", "to"]) {}
        let sign = self.take_command(&["pm", "mp"]);
        let first = self.sets()?;
        if sign {
            let value = first.expr()?;
            return Some(vec![Answer::Expr(value.clone().negated()), Answer::Expr(value)]);
        }
        if self.take_command(&["pm", "mp"]) {
            let (left, right) = (first.expr()?, self.sum()?.expr()?);
            let plus = Expr::Sum(vec![left.clone(), right.clone()]);
            return Some(vec![Answer::Expr(plus), Answer::Expr(left.minus(right))]);
        }
        Some(vec![first])
    }

    fn sets(&mut self) -> Option<Answer> {
        let mut left = self.sum()?;
        loop {
            if self.take_command(&["cup", "bigcup", "lor", "vee"]) {
                let right = self.sum()?;
                left = match left {
                    Answer::Union(mut parts) => {
                        parts.push(plain_set(right));
                        Answer::Union(parts)
                    }
                    other => Answer::Union(vec![plain_set(other), plain_set(right)]),
                };
            } else if self.take_command(&["cap", "bigcap", "land", "wedge"]) {
                let right = self.sum()?;
                left = Answer::Intersection(vec![plain_set(left), plain_set(right)]);
            } else if self.take_command(&["setminus", "backslash", "smallsetminus"]) {
                let right = self.sum()?;
                left = Answer::Difference(Box::new(left), Box::new(plain_set(right)));
            } else {
                return Some(left);
            }
        }
    }
}

fn set_of(mut items: Vec<Answer>) -> Option<Answer> {
    if items.len() == 1 { items.pop() } else { Some(Answer::Set(items)) }
}

fn plain_set(answer: Answer) -> Answer {
    match answer {
        Answer::Tuple(items) => Answer::Set(items),
        other => other,
    }
}

/// What commas make: one thing, `x = 1, 2` (x is 1 or 2), or a set.
fn gathered(mut items: Vec<Answer>) -> Answer {
    if items.len() == 1
        && let Some(only) = items.pop()
    {
        return only;
    }
    let others_plain = items[1..].iter().all(|item| !matches!(item, Answer::Relations(_)));
    if let (true, Answer::Relations(chain)) = (others_plain, &items[0])
        && let [(left, Relation::Equal, first)] = chain.as_slice()
        && left.as_expr().is_some_and(Expr::is_name)
    {
        let values = std::iter::once(first.clone()).chain(items[1..].iter().cloned()).collect();
        return Answer::Relations(vec![(left.clone(), Relation::Equal, Answer::Set(values))]);
    }
    Answer::Set(items)
}
