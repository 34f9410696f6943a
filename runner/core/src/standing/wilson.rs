//! The Wilson score interval: what a success rate may really be, judged by a sample.

use serde::{Deserialize, Serialize};

/// The 97.5th percentile of the normal distribution: two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Between what bounds a rate lies, with 95 % confidence. All from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The rate in the sample.
    pub rate: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// The interval for so many good ones among so many; `None` without a sample.
#[must_use]
pub fn interval(good: u32, sample: u32) -> Option<Interval> {
    if sample == 0 {
        return None;
    }
    let (n, rate) = (f64::from(sample), f64::from(good.min(sample)) / f64::from(sample));
    let square = Z * Z;
    let centre = rate + square / (2.0 * n);
    let spread = Z * (rate * (1.0 - rate) / n + square / (4.0 * n * n)).sqrt();
    let scale = 1.0 + square / n;
    // The rate lies within, also where rounding would put a bound on its wrong side.
    let (low, high) = ((centre - spread) / scale, (centre + spread) / scale);
    Some(Interval { rate, low: low.clamp(0.0, rate), high: high.clamp(rate, 1.0) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3; then the
    /// numbers on both sides of the thresholds for a sample of ten.
    #[test]
    fn agrees_with_published_values() {
        for (good, sample, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
            (1, 10, 0.0179, 0.4042),
            (2, 10, 0.0567, 0.5098),
            (5, 10, 0.2366, 0.7634),
            (6, 10, 0.3127, 0.8318),
        ] {
            let found = interval(good, sample).unwrap();
            assert!((found.low - low).abs() < 5.1e-5, "{good}/{sample}: {found:?}");
            assert!((found.high - high).abs() < 5.1e-5, "{good}/{sample}: {found:?}");
        }
        assert_eq!(interval(0, 0), None);
    }

    proptest! {
        #[test]
        fn holds_the_rate_and_narrows(good in 0..50_u32, more in 1..50_u32) {
            let sample = good + more;
            let small = interval(good, sample).unwrap();
            let large = interval(good * 10, sample * 10).unwrap();
            prop_assert!(small.low <= small.rate && small.rate <= small.high);
            prop_assert!(large.high - large.low < small.high - small.low);
        }
    }
}
