//! Numbers, names, and what stands in brackets.

use super::expr::{Answer, Expr, Function};
use super::lexer::Token;
use super::names::spelled;
use super::numeric::{Work, real};
use super::parser::{Parser, decimal};

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Option<Answer> {
        let token = self.peek()?.clone();
        self.at += 1;
        match token {
            Token::Number(text) => {
                // Long ones take as long to read as their square.
                self.work.steps((text.len() as u64).pow(2) / 10_000)?;
                decimal(&text).map(Answer::Expr)
            }
            Token::Letter(letter) => self.symbol(letter.to_string()),
            Token::Text(text) => self.text(&text),
            Token::Symbol('{') => self.braces(),
            Token::Symbol(open @ ('(' | '[')) => self.brackets(open),
            Token::Symbol(']') => self.brackets(']'),
            Token::Symbol('|') => self.absolute(),
            Token::Symbol('%') => Some(Answer::Expr(Expr::Percent(Box::new(Expr::integer(1))))),
            Token::Command(name) => self.nested(|parser| parser.named(&name)),
            _ => None,
        }
    }

    pub(super) fn text(&mut self, text: &str) -> Option<Answer> {
        let word: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')')).collect();
        if word.is_empty() {
            return None;
        }
        self.symbol(word)
    }

    /// A name with its subscript. `e` is Euler's number; `f(x)` and its kin are one name.
    pub(super) fn symbol(&mut self, name: String) -> Option<Answer> {
        let mut full = name.to_lowercase();
        if self.is('_') && !matches!(self.tokens.get(self.at + 1), None | Some(Token::Symbol('_'))) {
            self.at += 1;
            let start = self.at;
            self.script()?;
            full.push('_');
            full.push_str(&spelled(&self.tokens[start..self.at]));
        } else {
            match name.as_str() {
                "e" => return Some(Answer::Expr(Expr::E)),
                "I" => return Some(Answer::Expr(Expr::ImaginaryUnit)),
                _ => {}
            }
        }
        if matches!(full.as_str(), "f" | "g" | "h") && self.is('(') {
            let start = self.at;
            self.primary()?;
            full.push_str(&spelled(&self.tokens[start..self.at]));
        }
        Some(Answer::Expr(Expr::Symbol(full)))
    }

    /// `{…}`: a group of one, or a set that lost its backslashes.
    pub(super) fn braces(&mut self) -> Option<Answer> {
        if self.take('}') {
            return Some(Answer::Set(Vec::new()));
        }
        let mut inner = self.nested(|parser| with_bars_closed(parser, Self::elements))?;
        if self.take_command(&["choose"]) {
            let below = self.nested(|parser| with_bars_closed(parser, Self::elements))?.expr()?;
            inner = Answer::Expr(Expr::Call(Function::Binomial, vec![inner.expr()?, below]));
        } else if self.take_command(&["over"]) {
            let below = self.nested(|parser| with_bars_closed(parser, Self::elements))?.expr()?;
            inner = Answer::Expr(inner.expr()?.over(below));
        }
        if self.take('}') || self.take_command(&["}"]) { Some(inner) } else { None }
    }

    /// `(…)`, `[…]` and mixed ones: a group, an interval or a tuple.
    pub(super) fn brackets(&mut self, open: char) -> Option<Answer> {
        let groups = self.nested(|parser| {
            with_bars_closed(parser, |parser| {
                let mut items = parser.comma_group()?;
                while parser.take(';') {
                    items.extend(parser.comma_group()?);
                }
                Some(items)
            })
        })?;
        let close = match self.peek()? {
            Token::Symbol(c @ (')' | ']' | '[')) => *c,
            _ => return None,
        };
        self.at += 1;
        bracketed(groups, open, close, self.work)
    }

    pub(super) fn absolute(&mut self) -> Option<Answer> {
        self.bars += 1;
        let inner = self.nested(Self::sum);
        self.bars -= 1;
        let inner = inner?.expr()?;
        self.take('|').then_some(Answer::Expr(Expr::Call(Function::Abs, vec![inner])))
    }

    /// The group in braces that a command takes, or the one mark after it.
    pub(super) fn argument(&mut self) -> Option<Expr> {
        if self.is('{') {
            return self.primary()?.expr();
        }
        // `\frac12` is one half: a number gives its first digit alone.
        if let Some(Token::Number(text)) = self.peek() {
            let mut digits = text.chars();
            let first = digits.next()?;
            let rest: String = digits.collect();
            if rest.is_empty() {
                self.at += 1;
            } else {
                self.tokens[self.at] = Token::Number(rest.trim_start_matches('.').to_owned());
            }
            return decimal(&first.to_string());
        }
        self.primary()?.expr()
    }
}

/// Inside brackets a `|` opens again.
pub(super) fn with_bars_closed<'w, T>(
    parser: &mut Parser<'w>,
    parse: impl FnOnce(&mut Parser<'w>) -> Option<T>,
) -> Option<T> {
    let bars = std::mem::take(&mut parser.bars);
    let result = parse(parser);
    parser.bars = bars;
    result
}

pub(super) fn bracketed(mut items: Vec<Answer>, open: char, close: char, work: &Work) -> Option<Answer> {
    if items.len() == 1 {
        let only = items.pop()?;
        let matched = matches!((open, close), ('(', ')') | ('[', ']'));
        return matched.then_some(only);
    }
    if items.len() == 2
        && let (Answer::Expr(low), Answer::Expr(high)) = (&items[0], &items[1])
    {
        let low_open = matches!(open, '(' | ']');
        let high_open = matches!(close, ')' | '[');
        // An interval that would be empty is a pair.
        let (a, b) = (real(low, work), real(high, work));
        let backwards = match (a, b) {
            (Some(a), Some(b)) => (low_open && high_open && b <= a) || b < a,
            _ => false,
        };
        if !backwards {
            return Some(Answer::Interval { low: low.clone(), high: high.clone(), low_open, high_open });
        }
    }
    Some(Answer::Tuple(items))
}
