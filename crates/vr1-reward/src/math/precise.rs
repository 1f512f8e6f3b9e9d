//! Real values to sixty digits, for what double precision calls equal.

use std::cell::RefCell;

use astro_float_num::{BigFloat, Consts, RoundingMode, Sign};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::ToPrimitive;

use super::exact::{exact, substituted, whole};
use super::expr::{Expr, Function, Product};
use super::numeric::{Point, Work};

/// The bits of every number on the way: 77 decimal digits.
const BITS: usize = 256;
/// The bits in which two values must agree: 50 decimal digits.
const AGREED_BITS: i32 = 166;
/// Results are not rounded to the last bit: to know that one may need digits without end, as in `arcsin 1`.
const ROUNDING: RoundingMode = RoundingMode::None;
/// What a number costs, and a function of one.
const STEPS_A_NUMBER: u64 = 2;
const STEPS_A_FUNCTION: u64 = 40;

/// Whether two expressions agree to fifty digits of the greatest number on the way to them, which is `size`.
///
/// Where one has parts without a real value here, such as the factorial of 1/2, nothing speaks against it.
pub(super) fn precisely(a: &Expr, b: &Expr, point: Point, size: f64, work: &Work) -> bool {
    let Ok(constants) = Consts::new() else { return true };
    let precise = Precise { constants: RefCell::new(constants), point, work };
    let (Some(a), Some(b)) = (precise.value(a), precise.value(b)) else { return true };
    let difference = a.sub(&b, BITS, ROUNDING).abs();
    let mut limit = BigFloat::from_f64(size.max(f64::MIN_POSITIVE), BITS);
    if let Some(exponent) = limit.exponent() {
        limit.set_exponent(exponent - AGREED_BITS);
    }
    difference <= limit
}

struct Precise<'w> {
    /// π, e and ln 2, once for a comparison.
    constants: RefCell<Consts>,
    point: Point,
    work: &'w Work,
}

fn finite(value: BigFloat) -> Option<BigFloat> {
    (!value.is_nan() && !value.is_inf()).then_some(value)
}

fn integer(value: &BigInt) -> BigFloat {
    let (sign, digits) = value.to_u64_digits();
    let sign = if sign == num_bigint::Sign::Minus { Sign::Neg } else { Sign::Pos };
    // A number is 0.m · 2ᵉ, and these are at most some hundred words.
    let bits = i32::try_from(digits.len() * 64).unwrap_or(i32::MAX);
    if digits.is_empty() { BigFloat::from_i32(0, BITS) } else { BigFloat::from_words(&digits, sign, bits) }
}

fn rational(value: &BigRational) -> Option<BigFloat> {
    finite(integer(value.numer()).div(&integer(value.denom()), BITS, ROUNDING))
}

impl Precise<'_> {
    fn value(&self, expr: &Expr) -> Option<BigFloat> {
        self.work.steps(STEPS_A_NUMBER)?;
        match expr {
            Expr::Number { value, .. } => rational(value),
            Expr::Pi => finite(self.constants.borrow_mut().pi(BITS, ROUNDING)),
            Expr::E => finite(self.constants.borrow_mut().e(BITS, ROUNDING)),
            Expr::Symbol(name) => finite(BigFloat::from_f64(self.point.value(name)?, BITS)),
            Expr::ImaginaryUnit | Expr::Infinity | Expr::Matrix { .. } => None,
            Expr::Percent(of) => finite(self.value(of)?.div(&BigFloat::from_i32(100, BITS), BITS, ROUNDING)),
            Expr::Sum(parts) => parts
                .iter()
                .try_fold(BigFloat::from_i32(0, BITS), |sum, part| finite(sum.add(&self.value(part)?, BITS, ROUNDING))),
            Expr::Product(parts) => parts.iter().try_fold(BigFloat::from_i32(1, BITS), |product, part| {
                finite(product.mul(&self.value(part)?, BITS, ROUNDING))
            }),
            Expr::Power(base, exponent) => self.power(base, exponent),
            Expr::Call(function, args) => match exact(expr, self.work) {
                Some(value) => rational(&value),
                None => self.call(*function, args),
            },
            Expr::Series { product, variable, low, high, body } => {
                let sum = *product == Product::Sum;
                let first = BigFloat::from_i32(i32::from(!sum), BITS);
                (self.bound(low)?..=self.bound(high)?).try_fold(first, |total, k| {
                    let term = self.value(&substituted(body, variable, &Expr::integer(k), self.work)?)?;
                    finite(if sum { total.add(&term, BITS, ROUNDING) } else { total.mul(&term, BITS, ROUNDING) })
                })
            }
        }
    }

    /// The bound of a series, which the point makes a whole number.
    fn bound(&self, bound: &Expr) -> Option<i64> {
        let (value, _) = super::numeric::complex(bound, self.point, self.work)?;
        (value.im == 0.0 && value.re.fract() == 0.0 && value.re.abs() < 1e15).then_some(value.re as i64)
    }

    fn power(&self, base: &Expr, exponent: &Expr) -> Option<BigFloat> {
        let of = self.value(base)?;
        if let Some(n) = exact(exponent, self.work) {
            if let Some(n) = whole(&n).and_then(ToPrimitive::to_i32).filter(|n| n.abs() < 1_000_000) {
                self.work.steps(STEPS_A_NUMBER * 16)?;
                let power = of.powi(n.unsigned_abs() as usize, BITS, ROUNDING);
                return finite(if n < 0 { power.reciprocal(BITS, ROUNDING) } else { power });
            }
            if n == BigRational::new(1.into(), 2.into()) {
                return finite(of.sqrt(BITS, ROUNDING));
            }
        }
        self.work.steps(2 * STEPS_A_FUNCTION)?;
        let exponent = self.value(exponent)?;
        finite(of.pow(&exponent, BITS, ROUNDING, &mut self.constants.borrow_mut()))
    }

    fn call(&self, function: Function, args: &[Expr]) -> Option<BigFloat> {
        let x = self.value(args.first()?)?;
        let base = match (function, args.get(1)) {
            (Function::Log, Some(base)) => Some(self.value(base)?),
            _ => None,
        };
        self.work.steps(STEPS_A_FUNCTION)?;
        let constants = &mut *self.constants.borrow_mut();
        let inverse = |value: BigFloat| value.reciprocal(BITS, ROUNDING);
        finite(match function {
            Function::Sin => x.sin(BITS, ROUNDING, constants),
            Function::Cos => x.cos(BITS, ROUNDING, constants),
            Function::Tan => x.tan(BITS, ROUNDING, constants),
            Function::Cot => inverse(x.tan(BITS, ROUNDING, constants)),
            Function::Sec => inverse(x.cos(BITS, ROUNDING, constants)),
            Function::Csc => inverse(x.sin(BITS, ROUNDING, constants)),
            Function::Asin => x.asin(BITS, ROUNDING, constants),
            Function::Acos => x.acos(BITS, ROUNDING, constants),
            Function::Atan => x.atan(BITS, ROUNDING, constants),
            Function::Sinh => x.sinh(BITS, ROUNDING, constants),
            Function::Cosh => x.cosh(BITS, ROUNDING, constants),
            Function::Tanh => x.tanh(BITS, ROUNDING, constants),
            Function::Abs => x.abs(),
            Function::Log => {
                let top = x.ln(BITS, ROUNDING, constants);
                match base {
                    Some(base) => top.div(&base.ln(BITS, ROUNDING, constants), BITS, ROUNDING),
                    None => top,
                }
            }
            _ => return None,
        })
    }
}
