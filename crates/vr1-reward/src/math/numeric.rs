//! Values of expressions as complex numbers of double precision.

use std::cell::Cell;
use std::hash::{Hash, Hasher};

use num_complex::Complex64;
use num_traits::{One, ToPrimitive, Zero};

use super::exact::{exact, substituted};
use super::expr::{Expr, Function, Product};

/// What one comparison may cost, from the search for the answers to the last digit: a step is about a microsecond.
#[derive(Debug)]
pub(crate) struct Work(Cell<u64>);

impl Work {
    pub(crate) fn new(steps: u64) -> Self {
        Self(Cell::new(steps))
    }

    /// One step, or nothing when they are used up.
    pub(crate) fn step(&self) -> Option<()> {
        self.steps(1)
    }

    /// Several steps; where they are not left, none is.
    pub(crate) fn steps(&self, count: u64) -> Option<()> {
        let left = self.0.get().checked_sub(count);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ())
    }
}

/// The real number an expression without symbols is, to double precision.
pub(crate) fn real(expr: &Expr, work: &Work) -> Option<f64> {
    match expr {
        Expr::Infinity => return Some(f64::INFINITY),
        Expr::Product(parts) if parts.contains(&Expr::Infinity) => {
            let sign: f64 = parts.iter().map(|part| real(part, work).map_or(f64::NAN, f64::signum)).product();
            return Some(sign * f64::INFINITY).filter(|value| !value.is_nan());
        }
        _ => {}
    }
    let value = complex(expr, Point::None, work)?.0;
    (value.im.abs() <= 1e-9 * value.re.abs().max(1.0)).then_some(value.re)
}

/// A value for each symbol.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Point {
    /// No symbol has a value.
    None,
    /// Symbols are real, of either sign, away from 0.
    Real(u64),
    /// Symbols are whole numbers from 1 to 19, as the bounds of a series must be.
    Whole(u64),
}

impl Point {
    pub(super) fn value(self, name: &str) -> Option<f64> {
        let (Self::Real(seed) | Self::Whole(seed)) = self else { return None };
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        (name, seed).hash(&mut hasher);
        let bits = hasher.finish();
        if let Self::Whole(_) = self {
            return Some((1 + bits % 19) as f64);
        }
        let unit = (bits & 0xFFFF_FFFF) as f64 / 4_294_967_296.0;
        let sign = if bits >> 63 == 0 { 1.0 } else { -1.0 };
        Some(sign * (0.3 + 2.4 * unit))
    }
}

/// The value and the greatest size on the way to it, which says how many digits have been lost.
pub(crate) fn complex(expr: &Expr, point: Point, work: &Work) -> Option<(Complex64, f64)> {
    work.step()?;
    let known = |value: Complex64| {
        let finite = value.re.is_finite() && value.im.is_finite();
        finite.then(|| (value, value.norm()))
    };
    match expr {
        Expr::Number { value, .. } => known(Complex64::new(value.to_f64()?, 0.0)),
        Expr::Pi => known(Complex64::new(std::f64::consts::PI, 0.0)),
        Expr::E => known(Complex64::new(std::f64::consts::E, 0.0)),
        Expr::ImaginaryUnit => known(Complex64::i()),
        Expr::Symbol(name) => known(Complex64::new(point.value(name)?, 0.0)),
        Expr::Infinity | Expr::Matrix { .. } => None,
        Expr::Percent(of) => complex(of, point, work).map(|(value, size)| (value / 100.0, size / 100.0)),
        Expr::Sum(parts) => {
            let (mut total, mut most) = (Complex64::zero(), 0.0_f64);
            for part in parts {
                let (value, size) = complex(part, point, work)?;
                total += value;
                most = most.max(size).max(total.norm());
            }
            known(total).map(|(value, _)| (value, most))
        }
        Expr::Product(parts) => {
            let (mut total, mut most) = (Complex64::one(), 1.0_f64);
            for part in parts {
                let (value, size) = complex(part, point, work)?;
                total *= value;
                most *= size;
            }
            known(total).map(|(value, own)| (value, most.max(own)))
        }
        Expr::Power(base, exponent) => {
            let (b, size) = complex(base, point, work)?;
            let (e, _) = complex(exponent, point, work)?;
            let value = if b.is_zero() {
                if e.re > 0.0 { Complex64::zero() } else { return None }
            } else if e.im == 0.0 && e.re.fract() == 0.0 && e.re.abs() < 1e6 {
                b.powi(e.re as i32)
            } else {
                b.powc(e)
            };
            let lost = if b.norm() > 0.0 { size / b.norm() } else { 1.0 };
            known(value).map(|(value, own)| (value, own * lost.max(1.0)))
        }
        Expr::Call(function, args) => {
            let values = args.iter().map(|arg| complex(arg, point, work)).collect::<Option<Vec<_>>>()?;
            let value = called(*function, &values.iter().map(|(value, _)| *value).collect::<Vec<_>>())?;
            let most = values.iter().map(|(_, size)| *size).fold(1.0, f64::max);
            known(value).map(|(value, own)| (value, own.max(most)))
        }
        Expr::Series { product, variable, low, high, body } => {
            if let Some(value) = exact(expr, work) {
                return known(Complex64::new(value.to_f64()?, 0.0));
            }
            let sum = *product == Product::Sum;
            let mut total = if sum { Complex64::zero() } else { Complex64::one() };
            let mut most = 1.0_f64;
            for k in whole_number(low, point, work)?..=whole_number(high, point, work)? {
                let term = substituted(body, variable, &Expr::integer(k), work)?;
                let (value, size) = complex(&term, point, work)?;
                total = if sum { total + value } else { total * value };
                most = if sum { most.max(size).max(total.norm()) } else { most * size };
            }
            known(total).map(|(value, own)| (value, most.max(own)))
        }
    }
}

/// The bound of a series, which must be a whole number at the point.
fn whole_number(bound: &Expr, point: Point, work: &Work) -> Option<i64> {
    let (value, _) = complex(bound, point, work)?;
    let whole = value.re.round();
    ((value - whole).norm() < 1e-9 && whole.abs() < 1e15).then_some(whole as i64)
}

fn called(function: Function, args: &[Complex64]) -> Option<Complex64> {
    let x = *args.first()?;
    let one = Complex64::one();
    let flat = |of: fn(f64) -> f64| (x.im.abs() < 1e-12).then(|| Complex64::new(of(x.re), 0.0));
    Some(match function {
        Function::Sin => x.sin(),
        Function::Cos => x.cos(),
        Function::Tan => x.tan(),
        Function::Cot => one / x.tan(),
        Function::Sec => one / x.cos(),
        Function::Csc => one / x.sin(),
        Function::Asin => x.asin(),
        Function::Acos => x.acos(),
        Function::Atan => x.atan(),
        Function::Sinh => x.sinh(),
        Function::Cosh => x.cosh(),
        Function::Tanh => x.tanh(),
        Function::Log if x.is_zero() => return None,
        Function::Log => match args.get(1) {
            Some(base) if base.is_zero() || base.is_one() => return None,
            Some(base) => x.ln() / base.ln(),
            None => x.ln(),
        },
        Function::Abs => Complex64::new(x.norm(), 0.0),
        // A value that rounding may have moved across a step has no sure floor.
        Function::Floor | Function::Ceil => {
            if (x.re - x.re.round()).abs() < 1e-9 {
                return (x.im.abs() < 1e-12).then(|| Complex64::new(x.re.round(), 0.0));
            }
            flat(if function == Function::Floor { f64::floor } else { f64::ceil })?
        }
        Function::Max | Function::Min => {
            if args.iter().any(|arg| arg.im.abs() > 1e-12) {
                return None;
            }
            let all = args.iter().map(|arg| arg.re);
            Complex64::new(
                if function == Function::Max { all.fold(f64::MIN, f64::max) } else { all.fold(f64::MAX, f64::min) },
                0.0,
            )
        }
        Function::Mod => {
            let by = args.get(1)?;
            if x.im != 0.0 || by.im != 0.0 || by.re == 0.0 {
                return None;
            }
            Complex64::new(x.re - by.re * (x.re / by.re).floor(), 0.0)
        }
        Function::Factorial => Complex64::new(gamma_of_next(x)?, 0.0),
        Function::Binomial => {
            let k = *args.get(1)?;
            Complex64::new(gamma_of_next(x)? / (gamma_of_next(k)? * gamma_of_next(x - k)?), 0.0)
        }
        Function::Gcd | Function::Lcm => return None,
    })
}

/// Γ(x + 1) for real x, by Lanczos' series (g = 7, n = 9), good to about 15 digits.
fn gamma_of_next(x: Complex64) -> Option<f64> {
    if x.im.abs() > 1e-12 || x.re > 170.0 {
        return None;
    }
    let x = x.re;
    if x < -0.5 {
        // Γ(x+1) = π / (sin(π(x+1))·Γ(−x)), which has poles at the negative whole numbers.
        let sine = (std::f64::consts::PI * (x + 1.0)).sin();
        let mirror = gamma_of_next(Complex64::new(-x - 1.0, 0.0))?;
        return (sine.abs() > 1e-12).then(|| std::f64::consts::PI / (sine * mirror));
    }
    const C: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let sum = C.iter().enumerate().skip(1).fold(C[0], |sum, (i, c)| sum + c / (x + i as f64));
    let t = x + 7.5;
    Some((std::f64::consts::TAU).sqrt() * t.powf(x + 0.5) * (-t).exp() * sum)
}
