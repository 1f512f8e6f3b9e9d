//! Values of rational functions modulo a prime.

use std::hash::{Hash, Hasher};

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::ToPrimitive;

use super::exact::{exact, substituted, whole};
use super::expr::{Expr, Product};
use super::numeric::Work;

/// 2⁶¹ − 1, a prime.
pub(super) const PRIME: u64 = (1 << 61) - 1;

pub(super) fn times(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64
}

pub(super) fn raised(mut base: u64, mut exponent: u64) -> u64 {
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
        Expr::Series { product, variable, low, high, body } => {
            let bound = |bound: &Expr| whole(&exact(bound, work)?)?.to_i64();
            let sum = *product == Product::Sum;
            (bound(low)?..=bound(high)?).try_fold(u64::from(!sum), |total, k| {
                let term = modular(&substituted(body, variable, &Expr::integer(k), work)?, seed, work)?;
                Some(if sum { (total + term) % PRIME } else { times(total, term) })
            })
        }
        other => residue(&exact(other, work)?),
    }
}

pub(super) fn residue(value: &BigRational) -> Option<u64> {
    let prime = BigInt::from(PRIME);
    let (n, d) = (value.numer().mod_floor(&prime).to_u64()?, value.denom().mod_floor(&prime).to_u64()?);
    (d != 0).then(|| times(n, raised(d, PRIME - 2)))
}
