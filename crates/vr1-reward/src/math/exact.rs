//! Exact values of expressions without symbols.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::expr::{Expr, Function, Product};
use super::numeric::Work;

/// Exact numbers longer than this are not computed.
const MAX_BITS: u64 = 16_384;
const BITS_SQUARED_A_STEP: u64 = 1 << 16;

/// The value, unless it is too long; a long one costs what bringing a fraction to its lowest terms does.
fn sized(value: BigRational, work: &Work) -> Option<BigRational> {
    let bits = value.numer().bits() + value.denom().bits();
    work.steps(bits * bits / BITS_SQUARED_A_STEP)?;
    (bits <= MAX_BITS).then_some(value)
}

/// The exact value, where there is one that can be computed: +, −, ×, ÷, whole powers, exact roots, whole functions.
pub(crate) fn exact(expr: &Expr, work: &Work) -> Option<BigRational> {
    work.step()?;
    match expr {
        Expr::Number { value, .. } => Some(value.clone()),
        Expr::Percent(of) => Some(exact(of, work)? / BigRational::from_integer(100.into())),
        Expr::Sum(parts) => {
            parts.iter().try_fold(BigRational::zero(), |sum, part| sized(sum + exact(part, work)?, work))
        }
        Expr::Product(parts) => {
            parts.iter().try_fold(BigRational::one(), |product, part| sized(product * exact(part, work)?, work))
        }
        Expr::Power(base, exponent) => power(exact(base, work)?, exact(exponent, work)?),
        Expr::Call(function, args) => {
            let args: Vec<BigRational> = args.iter().map(|arg| exact(arg, work)).collect::<Option<_>>()?;
            whole_function(*function, &args, work)
        }
        Expr::Series { product, variable, low, high, body } => {
            let (low, high) = (exact(low, work)?, exact(high, work)?);
            let (low, high) = (whole(&low)?.to_i64()?, whole(&high)?.to_i64()?);
            if high < low {
                return Some(if *product == Product::Sum { BigRational::zero() } else { BigRational::one() });
            }
            let term = |k: i64| exact(&substituted(body, variable, &Expr::integer(k), work)?, work);
            halves(low, high, *product, &term, work)
        }
        _ => None,
    }
}

/// The terms from `low` to `high` together, half by half, so that the numbers stay short until the end.
fn halves(
    low: i64,
    high: i64,
    product: Product,
    term: &impl Fn(i64) -> Option<BigRational>,
    work: &Work,
) -> Option<BigRational> {
    if low == high {
        return term(low);
    }
    let middle = low + (high - low) / 2;
    let (left, right) = (halves(low, middle, product, term, work)?, halves(middle + 1, high, product, term, work)?);
    sized(if product == Product::Sum { left + right } else { left * right }, work)
}

pub(super) fn whole(value: &BigRational) -> Option<&BigInt> {
    value.is_integer().then(|| value.numer())
}

pub(super) fn power(base: BigRational, exponent: BigRational) -> Option<BigRational> {
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

pub(super) fn whole_function(function: Function, args: &[BigRational], work: &Work) -> Option<BigRational> {
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
            sized(BigRational::from_integer(result), work)?
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
        Expr::Series { product, variable, low, high, body } => Expr::Series {
            product: *product,
            variable: variable.clone(),
            low: boxed(low)?,
            high: boxed(high)?,
            // A series' own name hides the one outside.
            body: if variable == name { body.clone() } else { boxed(body)? },
        },
        other => other.clone(),
    })
}
