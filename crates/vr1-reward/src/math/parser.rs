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
use num_traits::Signed;

use super::expr::{Answer, Expr, Function, Product, Relation};
use super::lexer::{Token, tokens};

/// Nothing nested deeper is an answer.
const MAX_DEPTH: usize = 100;

pub(crate) fn parse(latex: &str) -> Option<Answer> {
    if let Some(number) = thousands(latex.trim()) {
        return Some(Answer::Expr(number));
    }
    let mut parser = Parser { tokens: tokens(latex)?, at: 0, depth: 0, bars: 0 };
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

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// How many `|…|` are open.
    bars: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is(&self, symbol: char) -> bool {
        self.peek() == Some(&Token::Symbol(symbol))
    }

    fn take(&mut self, symbol: char) -> bool {
        let found = self.is(symbol);
        self.at += usize::from(found);
        found
    }

    fn command(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Command(name)) => Some(name),
            _ => None,
        }
    }

    fn take_command(&mut self, names: &[&str]) -> bool {
        let found = self.command().is_some_and(|name| names.contains(&name));
        self.at += usize::from(found);
        found
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        let result = if self.depth > MAX_DEPTH { None } else { parse(self) };
        self.depth -= 1;
        result
    }

    /// Everything up to what closes this level: one answer, a set, or a set of tuples.
    fn elements(&mut self) -> Option<Answer> {
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

    fn comma_group(&mut self) -> Option<Vec<Answer>> {
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
            (Token::Symbol('!'), Some(Token::Symbol('='))) => (Relation::Unequal, 2),
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

    fn sum(&mut self) -> Option<Answer> {
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

    fn product(&mut self) -> Option<Answer> {
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
            } else if self.take_command(&["mod", "bmod"]) {
                let right = self.unary()?.expr()?;
                left = Expr::Call(Function::Mod, vec![left, right]);
            } else {
                return Some(Answer::Expr(left));
            }
        }
    }

    fn unary(&mut self) -> Option<Answer> {
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
    fn side_by_side(&mut self) -> Option<Answer> {
        let first = match self.factor()? {
            Answer::Expr(expr) => expr,
            other => return Some(other),
        };
        let mut parts = vec![first];
        while self.starts_factor() {
            let fraction = self.command().is_some_and(|name| name.ends_with("frac"));
            let next = self.factor()?.expr()?;
            if let (true, Expr::Number { value: whole, decimal: false }, Expr::Number { value: part, .. }) =
                (fraction && parts.len() == 1, &parts[0], &next)
                && whole.is_integer()
                && part.is_positive()
            {
                // 2½ is two and a half.
                let value = if whole.is_negative() { whole - part } else { whole + part };
                parts[0] = Expr::Number { value, decimal: false };
                continue;
            }
            parts.push(next);
        }
        Some(Answer::Expr(if parts.len() == 1 { parts.pop()? } else { Expr::Product(parts) }))
    }

    fn starts_factor(&self) -> bool {
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
            ),
            _ => false,
        }
    }

    fn factor(&mut self) -> Option<Answer> {
        let mut base = match self.primary()? {
            Answer::Expr(expr) => expr,
            other => return Some(other),
        };
        loop {
            if self.is('!') && self.tokens.get(self.at + 1) != Some(&Token::Symbol('=')) {
                self.at += 1;
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
                base = Expr::Power(Box::new(base), Box::new(exponent));
            } else {
                return Some(Answer::Expr(base));
            }
        }
    }

    /// After `^`: a degree sign or a prime, which changes nothing.
    fn degrees(&mut self) -> bool {
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
    fn script(&mut self) -> Option<Expr> {
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

    fn primary(&mut self) -> Option<Answer> {
        let token = self.peek()?.clone();
        self.at += 1;
        match token {
            Token::Number(text) => decimal(&text).map(Answer::Expr),
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

    fn text(&mut self, text: &str) -> Option<Answer> {
        let word: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')')).collect();
        if word.is_empty() {
            return None;
        }
        self.symbol(word)
    }

    /// A name with its subscript. `e` is Euler's number; `f(x)` and its kin are one name.
    fn symbol(&mut self, name: String) -> Option<Answer> {
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
    fn braces(&mut self) -> Option<Answer> {
        if self.take('}') {
            return Some(Answer::Set(Vec::new()));
        }
        let inner = self.nested(|parser| with_bars_closed(parser, Self::elements))?;
        if self.take('}') || self.take_command(&["}"]) { Some(inner) } else { None }
    }

    /// `(…)`, `[…]` and mixed ones: a group, an interval or a tuple.
    fn brackets(&mut self, open: char) -> Option<Answer> {
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
        bracketed(groups, open, close)
    }

    fn absolute(&mut self) -> Option<Answer> {
        self.bars += 1;
        let inner = self.nested(Self::sum);
        self.bars -= 1;
        let inner = inner?.expr()?;
        self.take('|').then_some(Answer::Expr(Expr::Call(Function::Abs, vec![inner])))
    }

    /// The group in braces that a command takes, or the one mark after it.
    fn argument(&mut self) -> Option<Expr> {
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

    fn named(&mut self, name: &str) -> Option<Answer> {
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
    fn radicand(&mut self) -> Option<Expr> {
        match self.peek()? {
            Token::Number(text) if !text.contains('.') && text.len() > 1 => self.argument(),
            _ => self.primary()?.expr(),
        }
    }

    fn braced_answer(&mut self) -> Option<Answer> {
        if self.take('{') { self.braces() } else { None }
    }

    fn blackboard(&mut self) -> Option<Answer> {
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

    fn power_of_function(&mut self) -> Option<Option<Expr>> {
        if !self.take('^') {
            return Some(None);
        }
        self.script().map(Some)
    }

    fn function_call(&mut self, function: Function) -> Option<Expr> {
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
    fn function_argument(&mut self) -> Option<Expr> {
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
            parts.push(self.factor()?.expr()?);
        }
        let argument = if parts.len() == 1 { parts.pop()? } else { Expr::Product(parts) };
        Some(if minus { argument.negated() } else { argument })
    }

    fn logarithm(&mut self, name: &str) -> Option<Expr> {
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

    fn series(&mut self, product: Product) -> Option<Expr> {
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

    fn matrix(&mut self) -> Option<Answer> {
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
        Some(Answer::Expr(Expr::Matrix { columns, cells: rows.into_iter().flatten().collect() }))
    }

    fn environment_name(&mut self) -> Option<String> {
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

/// Inside brackets a `|` opens again.
fn with_bars_closed<T>(parser: &mut Parser, parse: impl FnOnce(&mut Parser) -> Option<T>) -> Option<T> {
    let bars = std::mem::take(&mut parser.bars);
    let result = parse(parser);
    parser.bars = bars;
    result
}

fn is_log(name: &str) -> bool {
    matches!(name, "log" | "ln" | "lg" | "exp")
}

fn function(name: &str) -> Option<Function> {
    Some(match name {
        "sin" => Function::Sin,
        "cos" => Function::Cos,
        "tan" | "tg" => Function::Tan,
        "cot" | "ctg" => Function::Cot,
        "sec" => Function::Sec,
        "csc" | "cosec" => Function::Csc,
        "arcsin" => Function::Asin,
        "arccos" => Function::Acos,
        "arctan" => Function::Atan,
        "sinh" => Function::Sinh,
        "cosh" => Function::Cosh,
        "tanh" => Function::Tanh,
        _ => return None,
    })
}

/// Greek letters, and the signs that are written before a name.
fn is_name(name: &str) -> bool {
    const NAMES: [&str; 45] = [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "omicron",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Pi",
        "Sigma",
        "Upsilon",
        "Phi",
        "Psi",
        "Omega",
        "angle",
        "triangle",
        "ell",
        "hbar",
        "partial",
        "nabla",
        "square",
        "heartsuit",
    ];
    NAMES.contains(&name)
}

/// A short spelling of tokens, for names that are not read further.
fn spelled(tokens: &[Token]) -> String {
    let mut out = String::new();
    for token in tokens {
        match token {
            Token::Number(text) | Token::Text(text) => out.push_str(&text.to_lowercase()),
            Token::Letter(letter) => out.extend(letter.to_lowercase()),
            Token::Command(name) => out.push_str(name),
            Token::Symbol('{' | '}') => {}
            Token::Symbol(symbol) => out.push(*symbol),
            Token::Row => {}
        }
    }
    out
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

fn bracketed(mut items: Vec<Answer>, open: char, close: char) -> Option<Answer> {
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
        let (a, b) = (super::numeric::real(low), super::numeric::real(high));
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
