//! Quantiles, medians, and chance that can be repeated.

use std::time::Duration;

/// Quantiles of a set of times, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Quantiles {
    /// By nearest rank; zeros of an empty set.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(rank).map_or(0.0, |time| milliseconds(*time))
        };
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

/// A time in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// The middle value; of an even number the mean of the two in the middle, 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let value = |index: usize| values.get(index).copied().unwrap_or_default();
    if values.len() % 2 == 1 {
        value(middle)
    } else {
        f64::midpoint(value(middle.saturating_sub(1)), value(middle))
    }
}

/// Repeatable choices (`SplitMix64`); not for secrets.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An index below `bound`; 0 when there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or_default()
    }

    /// Changes one byte of `bytes` within `range` to another value; the place.
    pub(crate) fn change(&mut self, bytes: &mut [u8], range: std::ops::Range<usize>) -> usize {
        let place = range.start + self.below(range.len());
        let difference = u8::try_from(1 + self.below(255)).unwrap_or(1);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= difference;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_take_the_nearest_rank() {
        let times = (1..=100).map(Duration::from_millis).collect();
        let Quantiles { p50, p90, p99, max } = Quantiles::of(times);
        assert_eq!([p50, p90, p99, max].map(|ms| ms.round()), [50.0, 90.0, 99.0, 100.0]);
        assert_eq!(Quantiles::of(Vec::new()).max.to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert!((median(vec![4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_change_is_one_byte_within_the_range() {
        let mut chance = Chance::new(7);
        for _ in 0..1_000 {
            let mut bytes = [0_u8; 16];
            let place = chance.change(&mut bytes, 4..9);
            assert!((4..9).contains(&place));
            assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 1);
        }
    }
}
