//! Values of expressions, three ways: exactly, modulo a prime, and as complex numbers of double precision.

use std::cell::Cell;
use std::hash::{Hash, Hasher};

use num_bigint::BigInt;
use num_complex::Complex64;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::expr::{Expr, Function, Product};

/// What one comparison may cost: nodes visited, series terms included.
#[derive(Debug)]
pub(crate) struct Work(Cell<u32>);

impl Work {
    pub(crate) fn new(steps: u32) -> Self {
        Self(Cell::new(steps))
    }

    /// One step, or nothing when they are used up.
    pub(crate) fn step(&self) -> Option<()> {
        self.0.set(self.0.get().checked_sub(1)?);
        Some(())
    }
}

/// Exact numbers longer than this are not computed.
const MAX_BITS: u64 = 16_384;

fn sized(value: BigRational) -> Option<BigRational> {
    (value.numer().bits() + value.denom().bits() <= MAX_BITS).then_some(value)
}

/// The real number an expression without symbols is, to double precision.
pub(crate) fn real(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Infinity => return Some(f64::INFINITY),
        Expr::Product(parts) if parts.contains(&Expr::Infinity) => {
            let sign: f64 = parts.iter().map(|part| real(part).map_or(f64::NAN, f64::signum)).product();
            return Some(sign * f64::INFINITY).filter(|value| !value.is_nan());
        }
        _ => {}
    }
    let value = complex(expr, &Point::none(), &Work::new(20_000))?.0;
    (value.im.abs() <= 1e-9 * value.re.abs().max(1.0)).then_some(value.re)
}

/// The exact value, where there is one that can be computed: +, −, ×, ÷, whole powers, exact roots, whole functions.
pub(crate) fn exact(expr: &Expr, work: &Work) -> Option<BigRational> {
    work.step()?;
    match expr {
        Expr::Number { value, .. } => Some(value.clone()),
        Expr::Percent(of) => Some(exact(of, work)? / BigRational::from_integer(100.into())),
        Expr::Sum(parts) => parts.iter().try_fold(BigRational::zero(), |sum, part| sized(sum + exact(part, work)?)),
        Expr::Product(parts) => {
            parts.iter().try_fold(BigRational::one(), |product, part| sized(product * exact(part, work)?))
        }
        Expr::Power(base, exponent) => power(exact(base, work)?, exact(exponent, work)?),
        Expr::Call(function, args) => {
            let args: Vec<BigRational> = args.iter().map(|arg| exact(arg, work)).collect::<Option<_>>()?;
            whole_function(*function, &args, work)
        }
        Expr::Series { product, variable, low, high, body } => {
            let (low, high) = (exact(low, work)?, exact(high, work)?);
            let (low, high) = (whole(&low)?.to_i64()?, whole(&high)?.to_i64()?);
            let mut total = if *product == Product::Sum { BigRational::zero() } else { BigRational::one() };
            for k in low..=high {
                let term = exact(&substituted(body, variable, &Expr::integer(k), work)?, work)?;
                total = sized(if *product == Product::Sum { total + term } else { total * term })?;
            }
            Some(total)
        }
        _ => None,
    }
}

fn whole(value: &BigRational) -> Option<&BigInt> {
    value.is_integer().then(|| value.numer())
}

fn power(base: BigRational, exponent: BigRational) -> Option<BigRational> {
    if let Some(n) = whole(&exponent) {
        let n = n.to_i32()?;
        if base.is_zero() {
            return (n > 0).then_some(base).or_else(|| (n == 0).then(BigRational::one));
        }
        if base.is_one() {
            return Some(base);
        }
        let bits = base.numer().bits().max(base.denom().bits());
        if bits.saturating_mul(u64::from(n.unsigned_abs())) > MAX_BITS {
            return None;
        }
        return Some(base.pow(n));
    }
    // An exact root, such as 8^(2/3).
    let (top, root) = (exponent.numer().to_i32()?, exponent.denom().to_u32()?);
    if base.is_negative() || root > 64 {
        return None;
    }
    let (n, d) = (base.numer().nth_root(root), base.denom().nth_root(root));
    let exact = num_traits::pow(n.clone(), root as usize) == *base.numer()
        && num_traits::pow(d.clone(), root as usize) == *base.denom();
    if !exact {
        return None;
    }
    power(BigRational::new(n, d), BigRational::from_integer(top.into()))
}

fn whole_function(function: Function, args: &[BigRational], work: &Work) -> Option<BigRational> {
    let first = args.first()?;
    Some(match function {
        Function::Abs => first.abs(),
        Function::Floor => first.floor(),
        Function::Ceil => first.ceil(),
        Function::Factorial => {
            let n = whole(first)?.to_u32().filter(|n| *n <= 1_000)?;
            let product = (2..=n).try_fold(BigInt::one(), |product, k| {
                work.step()?;
                Some(product * k)
            });
            BigRational::from_integer(product?)
        }
        Function::Binomial => {
            let (n, k) = (whole(first)?.to_u32().filter(|n| *n <= 1_000)?, whole(args.get(1)?)?.to_u32()?);
            if k > n {
                return Some(BigRational::zero());
            }
            let k = k.min(n - k);
            let product = (0..k).try_fold(BigInt::one(), |product, i| {
                work.step()?;
                Some(product * (n - i) / (i + 1))
            });
            BigRational::from_integer(product?)
        }
        Function::Mod => {
            let by = args.get(1)?;
            if by.is_zero() {
                return None;
            }
            first - by * (first / by).floor()
        }
        Function::Gcd | Function::Lcm => {
            let mut result = whole(first)?.clone();
            for arg in &args[1..] {
                let next = whole(arg)?;
                result = if function == Function::Gcd { result.gcd(next) } else { result.lcm(next) };
            }
            sized(BigRational::from_integer(result))?
        }
        Function::Max => args.iter().max()?.clone(),
        Function::Min => args.iter().min()?.clone(),
        Function::Log if args.len() == 2 => {
            // log₂ 8 is 3, exactly, where the power says so.
            let (value, base) = (first, &args[1]);
            let guess = (value.to_f64()?.ln() / base.to_f64()?.ln()).round();
            if !guess.is_finite() || guess.abs() > 1_000.0 {
                return None;
            }
            let guess = BigRational::from_integer((guess as i64).into());
            if power(base.clone(), guess.clone())? != *value {
                return None;
            }
            guess
        }
        _ => return None,
    })
}

/// An expression with another in the place of a name.
pub(crate) fn substituted(body: &Expr, name: &str, by: &Expr, work: &Work) -> Option<Expr> {
    work.step()?;
    let each = |parts: &[Expr]| parts.iter().map(|part| substituted(part, name, by, work)).collect::<Option<Vec<_>>>();
    let boxed = |part: &Expr| substituted(part, name, by, work).map(Box::new);
    Some(match body {
        Expr::Symbol(symbol) if symbol == name => by.clone(),
        Expr::Sum(parts) => Expr::Sum(each(parts)?),
        Expr::Product(parts) => Expr::Product(each(parts)?),
        Expr::Power(base, exponent) => Expr::Power(boxed(base)?, boxed(exponent)?),
        Expr::Call(function, args) => Expr::Call(*function, each(args)?),
        Expr::Percent(of) => Expr::Percent(boxed(of)?),
        other => other.clone(),
    })
}

/// 2⁶¹ − 1, a prime.
const PRIME: u64 = (1 << 61) - 1;

fn times(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64
}

fn raised(mut base: u64, mut exponent: u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times(result, base);
        }
        base = times(base, base);
        exponent >>= 1;
    }
    result
}

/// The value modulo 2⁶¹ − 1 at a random point. Rational functions alone have one, and two that differ agree at a random
/// point with a chance below their degree over 2⁶¹.
pub(crate) fn modular(expr: &Expr, seed: u64, work: &Work) -> Option<u64> {
    work.step()?;
    match expr {
        Expr::Number { value, .. } => residue(value),
        Expr::Percent(of) => Some(times(modular(of, seed, work)?, raised(100, PRIME - 2))),
        Expr::Symbol(name) => {
            let mut hasher = std::collections::hash_map::DefaultHasher::new();
            (name, seed).hash(&mut hasher);
            Some(hasher.finish() % PRIME)
        }
        Expr::Sum(parts) => parts.iter().try_fold(0, |sum, part| Some((sum + modular(part, seed, work)?) % PRIME)),
        Expr::Product(parts) => {
            parts.iter().try_fold(1, |product, part| Some(times(product, modular(part, seed, work)?)))
        }
        Expr::Power(base, exponent) => {
            let n = whole(&exact(exponent, work)?)?.to_i64()?;
            let base = modular(base, seed, work)?;
            if n >= 0 {
                return Some(raised(base, n.unsigned_abs()));
            }
            (base != 0).then(|| raised(raised(base, n.unsigned_abs()), PRIME - 2))
        }
        other => residue(&exact(other, work)?),
    }
}

fn residue(value: &BigRational) -> Option<u64> {
    let prime = BigInt::from(PRIME);
    let (n, d) = (value.numer().mod_floor(&prime).to_u64()?, value.denom().mod_floor(&prime).to_u64()?);
    (d != 0).then(|| times(n, raised(d, PRIME - 2)))
}

/// A value for each symbol.
#[derive(Debug)]
pub(crate) struct Point {
    seed: Option<u64>,
    complex: bool,
}

impl Point {
    /// No symbol has a value.
    pub(crate) fn none() -> Self {
        Self { seed: None, complex: false }
    }

    /// Symbols are real, of either sign, away from 0.
    pub(crate) fn real(seed: u64) -> Self {
        Self { seed: Some(seed), complex: false }
    }

    fn value(&self, name: &str) -> Option<Complex64> {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        (name, self.seed?).hash(&mut hasher);
        let bits = hasher.finish();
        let unit = |bits: u64| (bits & 0xFFFF_FFFF) as f64 / 4_294_967_296.0;
        let size = 0.3 + 2.4 * unit(bits);
        let sign = if bits >> 63 == 0 { 1.0 } else { -1.0 };
        let imaginary = if self.complex { unit(bits >> 32) } else { 0.0 };
        Some(Complex64::new(sign * size, imaginary))
    }
}

/// The value and the greatest size on the way to it, which says how many digits have been lost.
pub(crate) fn complex(expr: &Expr, point: &Point, work: &Work) -> Option<(Complex64, f64)> {
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
        Expr::Symbol(name) => known(point.value(name)?),
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
        Expr::Series { .. } => {
            let value = exact(expr, work)?;
            known(Complex64::new(value.to_f64()?, 0.0))
        }
    }
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
