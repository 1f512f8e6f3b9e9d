//! Which commands are functions, and which are letters.

use super::expr::Function;
use super::lexer::Token;

pub(super) fn is_log(name: &str) -> bool {
    matches!(name, "log" | "ln" | "lg" | "exp")
}

pub(super) fn function(name: &str) -> Option<Function> {
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
pub(super) fn is_name(name: &str) -> bool {
    const NAMES: [&str; 46] = [
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
        "top",
    ];
    NAMES.contains(&name)
}

/// A short spelling of tokens, for names that are not read further.
pub(super) fn spelled(tokens: &[Token]) -> String {
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
