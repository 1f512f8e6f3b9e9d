//! Tokens to a tree, by recursive descent.

use super::ast::{Arg, Binary, Expr, Fault, Form, Kind, Span, Unary, Word};
use super::lexer::{Token, tokens};

/// No expression is nested deeper than this; a chain `a + b + …` counts a level for each operator.
const MAX_DEPTH: usize = 128;

/// An expression is at most this long.
pub(crate) const MAX_SOURCE_BYTES: usize = 64 * 1024;

pub(crate) const KEYWORDS: [&str; 12] =
    ["if", "then", "else", "let", "in", "and", "or", "not", "true", "false", "missing", "fields"];

pub(crate) fn parse(source: &str) -> Result<Expr, Fault> {
    if source.len() > MAX_SOURCE_BYTES {
        let span = Span { start: 0, end: source.len() };
        return Err(Fault::error(span, format!("this expression is {} bytes long", source.len()), "at most 65536"));
    }
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0 };
    let expr = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(expr),
        Token::Symbol("=") => Err(Fault::error(parser.span(), "`=` does not compare", "write `==`")),
        other => Err(Fault::error(
            parser.span(),
            format!("{} is not expected here", other.describe()),
            "the expression is complete before it",
        )),
    }
}

struct Parser {
    tokens: Vec<(Token, Span)>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn span(&self) -> Span {
        self.tokens[self.at].1
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        // The last token is the end, which nothing consumes.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(s) if *s == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if name == word)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn want(&mut self, symbol: &'static str, why: &str) -> Result<(), Fault> {
        if self.take(symbol) {
            return Ok(());
        }
        let message = format!("expected `{symbol}` {why}, found {}", self.peek().describe());
        Err(Fault::error(self.span(), message, format!("expected `{symbol}`")))
    }

    fn want_word(&mut self, word: &'static str, why: &str) -> Result<(), Fault> {
        if self.is_word(word) {
            self.advance();
            return Ok(());
        }
        let message = format!("expected `{word}` {why}, found {}", self.peek().describe());
        Err(Fault::error(self.span(), message, format!("expected `{word}`")))
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            return Ok(());
        }
        let message = format!("this expression is nested deeper than {MAX_DEPTH} levels");
        Err(Fault::error(self.span(), message, "too deep here").help("cut it into terms: one may use those before it"))
    }

    fn expression(&mut self) -> Result<Expr, Fault> {
        self.deeper()?;
        let depth = self.depth;
        let start = self.span();
        let expr = if self.is_word("if") {
            self.advance();
            let condition = self.expression()?;
            self.want_word("then", "after the condition of `if`")?;
            let yes = self.expression()?;
            self.want_word("else", "after the first branch of `if`, which always has two")?;
            let no = self.expression()?;
            let span = start.to(no.span);
            Expr { kind: Kind::If(Box::new(condition), Box::new(yes), Box::new(no)), span }
        } else if self.is_word("let") {
            self.advance();
            let name = self.new_name("after `let`")?.text;
            self.want("=", "after the name")?;
            // The value stops before `in`, which would otherwise be read as the membership test.
            let value = self.binary(5)?;
            self.want_word("in", "after the value of `let`")?;
            let body = self.expression()?;
            let span = start.to(body.span);
            Expr { kind: Kind::Let(name, Box::new(value), Box::new(body)), span }
        } else {
            self.binary(1)?
        };
        self.depth = depth - 1;
        Ok(expr)
    }

    fn new_name(&mut self, after: &str) -> Result<Word, Fault> {
        let span = self.span();
        match self.advance() {
            Token::Name(name) if !KEYWORDS.contains(&name.as_str()) => Ok(Word { text: name, span }),
            Token::Name(name) => {
                Err(Fault::error(span, format!("`{name}` is a word of the language"), "choose another name"))
            }
            other => {
                let message = format!("expected a name {after}, found {}", other.describe());
                Err(Fault::error(span, message, "expected a name"))
            }
        }
    }

    fn operator(&self) -> Option<Binary> {
        Some(match self.peek() {
            Token::Name(name) => match name.as_str() {
                "or" => Binary::Or,
                "and" => Binary::And,
                "in" => Binary::In,
                _ => return None,
            },
            Token::Symbol(symbol) => match *symbol {
                "==" => Binary::Equal,
                "!=" => Binary::Unequal,
                "<" => Binary::Less,
                "<=" => Binary::LessEqual,
                ">" => Binary::Greater,
                ">=" => Binary::GreaterEqual,
                "??" => Binary::Coalesce,
                "+" => Binary::Add,
                "-" => Binary::Subtract,
                "*" => Binary::Multiply,
                "/" => Binary::Divide,
                "%" => Binary::Remainder,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Operators at least as strong as `least`, left to right.
    fn binary(&mut self, least: u8) -> Result<Expr, Fault> {
        self.deeper()?;
        let depth = self.depth;
        let mut left = self.unary()?;
        while let Some(operator) = self.operator().filter(|operator| operator.strength() >= least) {
            self.deeper()?;
            self.advance();
            let right = self.binary(operator.strength() + 1)?;
            if operator.strength() == 4 && self.operator().is_some_and(|next| next.strength() == 4) {
                let fault = Fault::error(self.span(), "comparisons do not chain", "a second comparison");
                return Err(fault.help(format!("write `a {} b and b … c`", operator.symbol())));
            }
            let span = left.span.to(right.span);
            left = Expr { kind: Kind::Binary(operator, Box::new(left), Box::new(right)), span };
        }
        self.depth = depth - 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, Fault> {
        let start = self.span();
        if self.is_word("not") {
            self.advance();
            // `not a == b` is `not (a == b)`.
            let operand = self.binary(3)?;
            let span = start.to(operand.span);
            return Ok(Expr { kind: Kind::Unary(Unary::Not, Box::new(operand)), span });
        }
        if self.take("-") {
            self.deeper()?;
            let operand = self.unary()?;
            self.depth -= 1;
            let span = start.to(operand.span);
            return Ok(Expr { kind: Kind::Unary(Unary::Negate, Box::new(operand)), span });
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Result<Expr, Fault> {
        let depth = self.depth;
        let mut expr = self.primary()?;
        loop {
            self.deeper()?;
            if self.take(".") {
                let end = self.span();
                let name = match self.advance() {
                    Token::Name(name) => name,
                    other => {
                        let message = format!("expected a field's name after `.`, found {}", other.describe());
                        return Err(Fault::error(end, message, "expected a name"));
                    }
                };
                let span = expr.span.to(end);
                expr = Expr { kind: Kind::Field(Box::new(expr), name), span };
            } else if self.take("[") {
                let index = self.expression()?;
                let end = self.span();
                self.want("]", "after the index")?;
                let span = expr.span.to(end);
                expr = Expr { kind: Kind::Index(Box::new(expr), Box::new(index)), span };
            } else {
                self.depth = depth;
                return Ok(expr);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Fault> {
        let span = self.span();
        match self.advance() {
            Token::Number(number) => Ok(Expr { kind: Kind::Number(number), span }),
            Token::Text(text) => Ok(Expr { kind: Kind::Text(text), span }),
            Token::Symbol("(") => {
                let inner = self.expression()?;
                self.want(")", "to close the parenthesis")?;
                Ok(inner)
            }
            Token::Symbol("[") => {
                let mut items = Vec::new();
                while !self.is("]") {
                    items.push(self.expression()?);
                    if !self.take(",") {
                        break;
                    }
                }
                let end = self.span();
                self.want("]", "to close the list")?;
                Ok(Expr { kind: Kind::List(items), span: span.to(end) })
            }
            Token::Name(name) => match name.as_str() {
                "true" => Ok(Expr { kind: Kind::Bool(true), span }),
                "false" => Ok(Expr { kind: Kind::Bool(false), span }),
                "missing" => Ok(Expr { kind: Kind::Missing, span }),
                "if" | "let" => {
                    let message = format!("`{name}` needs parentheses around it here");
                    Err(Fault::error(span, message, format!("write `({name} …)`")))
                }
                "then" | "else" | "in" | "and" | "or" | "not" => {
                    Err(Fault::error(span, format!("expected a value, found `{name}`"), "expected a value"))
                }
                _ if self.is("(") => {
                    self.advance();
                    let (args, end) = self.arguments(&name)?;
                    Ok(Expr { kind: Kind::Call(Word { text: name, span }, args), span: span.to(end) })
                }
                _ => Ok(Expr { kind: Kind::Name(name), span }),
            },
            other => {
                let message = format!("expected a value, found {}", other.describe());
                Err(Fault::error(span, message, "expected a value"))
            }
        }
    }

    fn arguments(&mut self, function: &str) -> Result<(Vec<Arg>, Span), Fault> {
        let mut args = Vec::new();
        while !self.is(")") {
            let next = self.tokens.get(self.at + 1).map(|(token, _)| token);
            let form = match (self.peek().clone(), next) {
                (Token::Name(_), Some(Token::Symbol("="))) => {
                    let name = self.new_name("of an argument")?;
                    self.advance();
                    Form::Named(name)
                }
                (Token::Name(_), Some(Token::Symbol("=>"))) => {
                    let name = self.new_name("before `=>`")?;
                    self.advance();
                    Form::Each(name)
                }
                _ => Form::Plain,
            };
            args.push(Arg { form, value: self.expression()? });
            if !self.take(",") {
                break;
            }
        }
        let end = self.span();
        self.want(")", &format!("to close the arguments of `{function}`"))?;
        Ok((args, end))
    }
}
