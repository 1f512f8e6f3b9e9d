//! Sums, products and powers.

use num_traits::Signed;

use super::expr::{Answer, Expr, Function};
use super::lexer::Token;
use super::matrix::transposed;
use super::parser::{Parser, decimal};

impl Parser<'_> {
    pub(super) fn sum(&mut self) -> Option<Answer> {
        let mut first = self.product()?;
        let mut parts = Vec::new();
        loop {
            let minus = self.is('-');
            if !minus && !self.is('+') {
                break;
            }
            self.at += 1;
            let next = self.product()?;
            if minus && first.is_set() && next.is_set() && parts.is_empty() {
                first = Answer::Difference(Box::new(first), Box::new(next));
                continue;
            }
            let next = next.expr()?;
            parts.push(if minus { next.negated() } else { next });
        }
        if parts.is_empty() {
            return Some(first);
        }
        parts.insert(0, first.expr()?);
        Some(Answer::Expr(Expr::Sum(parts)))
    }

    pub(super) fn product(&mut self) -> Option<Answer> {
        let first = self.unary()?;
        let mut left = match first {
            Answer::Expr(expr) => expr,
            other => return Some(other),
        };
        loop {
            if self.take('*') || self.take_command(&["times", "cdot", "ast", "star"]) {
                let right = self.unary()?.expr()?;
                left = multiplied(left, right);
            } else if self.take('/') || self.take(':') || self.take_command(&["div"]) {
                left = left.over(self.unary()?.expr()?);
            } else if self.take_command(&["mod", "bmod", "pmod"]) {
                let right = self.unary()?.expr()?;
                left = Expr::Call(Function::Mod, vec![left, right]);
            } else {
                return Some(Answer::Expr(left));
            }
        }
    }

    pub(super) fn unary(&mut self) -> Option<Answer> {
        self.nested(|parser| {
            if parser.take('-') {
                return Some(Answer::Expr(parser.unary()?.expr()?.negated()));
            }
            if parser.take('+') {
                return parser.unary();
            }
            parser.side_by_side()
        })
    }

    /// Factors that stand side by side.
    pub(super) fn side_by_side(&mut self) -> Option<Answer> {
        let start = self.at;
        let first = match self.factor()? {
            Answer::Expr(expr) => expr,
            other => return Some(other),
        };
        let mut parts = vec![first];
        while self.starts_factor() {
            if self.numerals_meet() {
                // Two numerals are a mixed number or nothing.
                let alone = self.at == start + 1;
                parts[0] = with_part(alone.then_some(&parts[0])?, &self.plain_fraction()?)?;
                continue;
            }
            let fraction = self.command().is_some_and(|name| name.ends_with("frac"));
            let next = self.factor()?.expr()?;
            if let (true, Some(mixed)) = (fraction && parts.len() == 1, with_part(&parts[0], &next)) {
                parts[0] = mixed;
                continue;
            }
            parts.push(next);
        }
        Some(Answer::Expr(if parts.len() == 1 { parts.pop()? } else { Expr::Product(parts) }))
    }

    /// Whether the next mark is a numeral right behind another one.
    pub(super) fn numerals_meet(&self) -> bool {
        let before = self.at.checked_sub(1).map(|before| &self.tokens[before]);
        matches!((before, self.peek()), (Some(Token::Number(_)), Some(Token::Number(_))))
    }

    /// `3/4` of whole numbers.
    fn plain_fraction(&mut self) -> Option<Expr> {
        let Some([Token::Number(above), Token::Symbol('/'), Token::Number(below)]) =
            self.tokens.get(self.at..self.at + 3)
        else {
            return None;
        };
        if above.contains('.') || below.contains('.') {
            return None;
        }
        let (above, below) = (decimal(above)?, decimal(below)?);
        self.at += 3;
        let fraction = above.over(below);
        matches!(fraction, Expr::Number { .. }).then_some(fraction)
    }

    pub(super) fn starts_factor(&self) -> bool {
        match self.peek() {
            Some(Token::Number(_) | Token::Letter(_) | Token::Text(_)) => true,
            Some(Token::Symbol('(' | '[' | '{')) => true,
            Some(Token::Symbol('|')) => self.bars == 0,
            Some(Token::Command(name)) => !matches!(
                name.as_str(),
                "times"
                    | "cdot"
                    | "div"
                    | "ast"
                    | "star"
                    | "mod"
                    | "bmod"
                    | "pmod"
                    | "pm"
                    | "mp"
                    | "cup"
                    | "cap"
                    | "setminus"
                    | "backslash"
                    | "smallsetminus"
                    | "bigcup"
                    | "bigcap"
                    | "lor"
                    | "vee"
                    | "land"
                    | "wedge"
                    | "le"
                    | "leq"
                    | "ge"
                    | "geq"
                    | "lt"
                    | "gt"
                    | "ne"
                    | "neq"
                    | "leqslant"
                    | "geqslant"
                    | "in"
                    | "notin"
                    | "approx"
                    | "sim"
                    | "simeq"
                    | "approxeq"
                    | "equiv"
                    | "rfloor"
                    | "rceil"
                    | "}"
                    | "|"
                    | "end"
                    | "rangle"
                    | "rvert"
                    | "rbrace"
                    | "rbrack"
                    | "implies"
                    | "Rightarrow"
                    | "to"
                    | "dots"
                    | "ldots"
                    | "cdots"
                    | "rVert"
                    | "mid"
                    | "choose"
                    | "over"
            ),
            _ => false,
        }
    }

    pub(super) fn factor(&mut self) -> Option<Answer> {
        let mut base = match self.primary()? {
            Answer::Expr(expr) => expr,
            other => return Some(other),
        };
        loop {
            if self.take('!') {
                base = Expr::Call(Function::Factorial, vec![base]);
            } else if self.take('%') {
                base = Expr::Percent(Box::new(base));
            } else if self.take('_') {
                // The base a number is written in is not looked at.
                self.script()?;
            } else if self.take('^') {
                if self.degrees() {
                    continue;
                }
                let exponent = self.script()?;
                base = match (&base, exponent) {
                    (Expr::Matrix { columns, cells }, Expr::Symbol(name)) if matches!(name.as_str(), "t" | "\\top") => {
                        transposed(*columns, cells)
                    }
                    (_, exponent) => Expr::Power(Box::new(base), Box::new(exponent)),
                };
            } else {
                return Some(Answer::Expr(base));
            }
        }
    }

    /// After `^`: a degree sign or a prime, which changes nothing.
    pub(super) fn degrees(&mut self) -> bool {
        let sign = |token: Option<&Token>| matches!(token, Some(Token::Command(name)) if matches!(name.as_str(), "circ" | "prime" | "degree"));
        if sign(self.peek()) {
            self.at += 1;
            return true;
        }
        let braced = self.is('{')
            && sign(self.tokens.get(self.at + 1))
            && self.tokens.get(self.at + 2) == Some(&Token::Symbol('}'));
        self.at += if braced { 3 } else { 0 };
        braced
    }

    /// What follows `^` or `_`: a group, or one mark.
    pub(super) fn script(&mut self) -> Option<Expr> {
        if self.is('{') || self.is('(') {
            return self.primary()?.expr();
        }
        let minus = self.take('-');
        let value = match self.peek()? {
            // Of `x^23` only the 2 is above, as TeX sets it; answers mean 23.
            Token::Number(_) | Token::Letter(_) | Token::Command(_) | Token::Text(_) => self.primary()?.expr()?,
            Token::Symbol('+' | '*') => {
                self.at += 1;
                return Some(Expr::Symbol("+".into()));
            }
            _ => return None,
        };
        Some(if minus { value.negated() } else { value })
    }
}

/// 2½ is two and a half: a whole number and the fraction behind it.
fn with_part(whole: &Expr, part: &Expr) -> Option<Expr> {
    let (Expr::Number { value: whole, decimal: false }, Expr::Number { value: part, .. }) = (whole, part) else {
        return None;
    };
    if !whole.is_integer() || !part.is_positive() {
        return None;
    }
    let value = if whole.is_negative() { whole - part } else { whole + part };
    Some(Expr::Number { value, decimal: false })
}

fn multiplied(left: Expr, right: Expr) -> Expr {
    match left {
        Expr::Product(mut parts) => {
            parts.push(right);
            Expr::Product(parts)
        }
        left => Expr::Product(vec![left, right]),
    }
}
