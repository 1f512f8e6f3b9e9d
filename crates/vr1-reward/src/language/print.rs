//! A tree back to text, always the same way.

use super::ast::{Expr, Form, Kind, Unary};

/// The expression with one space around operators, single quotes where they will do, and no parenthesis too many.
pub(crate) fn print(expr: &Expr) -> String {
    let mut out = String::new();
    write(expr, 0, &mut out);
    out
}

/// How tightly an expression holds together; one that holds less than its place needs parentheses.
fn strength(expr: &Expr) -> u8 {
    match &expr.kind {
        Kind::If(..) | Kind::Let(..) => 0,
        Kind::Binary(operator, ..) => operator.strength(),
        Kind::Unary(Unary::Not, _) => 3,
        Kind::Unary(Unary::Negate, _) => 8,
        _ => 9,
    }
}

fn write(expr: &Expr, least: u8, out: &mut String) {
    if strength(expr) < least {
        out.push('(');
        write(expr, 0, out);
        out.push(')');
        return;
    }
    match &expr.kind {
        Kind::Number(number) => out.push_str(&number.to_string()),
        Kind::Text(text) => out.push_str(&quoted(text)),
        Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Kind::Missing => out.push_str("missing"),
        Kind::Name(name) => out.push_str(name),
        Kind::Field(of, name) => {
            write(of, 9, out);
            out.push('.');
            out.push_str(name);
        }
        Kind::Index(of, index) => {
            write(of, 9, out);
            out.push('[');
            write(index, 0, out);
            out.push(']');
        }
        Kind::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write(item, 0, out);
            }
            out.push(']');
        }
        Kind::Unary(operator, operand) => match operator {
            Unary::Negate => {
                out.push('-');
                write(operand, 8, out);
            }
            Unary::Not => {
                out.push_str("not ");
                write(operand, 3, out);
            }
        },
        Kind::Binary(operator, left, right) => {
            let own = operator.strength();
            // Operators of one strength group to the left; comparisons do not group at all.
            write(left, if own == 4 { 5 } else { own }, out);
            out.push(' ');
            out.push_str(operator.symbol());
            out.push(' ');
            write(right, own + 1, out);
        }
        Kind::If(condition, yes, no) => {
            out.push_str("if ");
            write(condition, 0, out);
            out.push_str(" then ");
            write(yes, 0, out);
            out.push_str(" else ");
            write(no, 0, out);
        }
        Kind::Let(name, value, body) => {
            out.push_str("let ");
            out.push_str(name);
            out.push_str(" = ");
            write(value, 5, out);
            out.push_str(" in ");
            write(body, 0, out);
        }
        Kind::Call(name, args) => {
            out.push_str(&name.text);
            out.push('(');
            for (at, arg) in args.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                match &arg.form {
                    Form::Plain => {}
                    Form::Named(name) => {
                        out.push_str(&name.text);
                        out.push('=');
                    }
                    Form::Each(name) => {
                        out.push_str(&name.text);
                        out.push_str(" => ");
                    }
                }
                write(&arg.value, 0, out);
            }
            out.push(')');
        }
    }
}

/// Single quotes, in which everything stands for itself; double ones for a line break or a tab.
fn quoted(text: &str) -> String {
    if text.contains(['\n', '\t']) {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
        return format!("\"{escaped}\"");
    }
    format!("'{}'", text.replace('\'', "''"))
}
