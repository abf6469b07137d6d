//! Whether a series of counts grows: the one place that decides it.
//!
//! Counts of a program that works go up and down: connections are open while a sample is taken, a cache fills and is
//! cleared, a pool grows to its ceiling and stays there. "Never fell" is wrong both ways: it calls the pool a leak for
//! ever, and one dip hides a true leak. What tells a leak is its *low water*: what is still there when everything else has
//! gone, as one compares heaps after full collections. So a series grows if all of this is true of the samples after a
//! warm-up:
//!
//! 1. **Its low water rises throughout.** The lowest count of the middle third is above that of the first, and that of the
//!    last above that of the middle. A single step is in one of the two places only. One sample that falls out of the row is
//!    smoothed away first, by the median of three (Tukey, *Exploratory Data Analysis*, 1977), and what has just fallen back
//!    to the middle's low water does not grow.
//! 2. **It is no accident.** The low waters of noise rise in one series of six. So a series that falls at all must rise in so
//!    many pairs of its samples that noise does so less than once in 700 times: the test of Mann (1945) and Kendall (1975),
//!    which is used for the aging of software (Garg et al., ISSRE 1998). By itself it calls whatever rose once a trend
//!    (Machida et al., `WoSAR` 2013), hence the other conditions.
//! 3. **It rises again and again**, where there are enough samples to ask for it: a step for each of two first uses is none.
//! 4. **It has not come to a stand.** Since its latest maximum no more time has passed than twice the longest time between
//!    two earlier ones, and what it gained lately is not far below what it gained on average. That tells the pool at its
//!    ceiling, also with some noise on top, from a leak that comes once in ten cycles.
//!
//! What is still filling when the last sample is taken cannot be told from a leak: more samples can.

/// How many samples at the beginning are left out: much is made once, on first use.
pub(crate) fn warm_up(samples: usize) -> usize {
    if samples > 3 { samples / 4 } else { 0 }
}

/// Of so many samples on a count must have reached a new maximum three times.
const ENOUGH: usize = 12;

/// Whether a count grows, by its samples after the warm-up.
pub(crate) fn is_growing(counts: &[usize]) -> bool {
    let (Some(first), Some(last)) = (counts.first(), counts.last()) else {
        return false;
    };
    if counts.len() < 3 {
        return last > first;
    }
    let smooth = medians_of_three(counts);
    let Some(rise) = rise_of_low_water(&smooth).filter(|rise| *last > rise.middle) else {
        return false;
    };
    let rises_again = counts.len() < ENOUGH || maxima(&smooth).count() > 3;
    rises_again
        && is_no_accident(counts)
        && !is_at_a_stand(counts, &smooth)
        && keeps_its_pace(counts, &smooth, &rise)
}

/// Each but the first and the last is the median of itself and its neighbours.
fn medians_of_three(counts: &[usize]) -> Vec<usize> {
    let mut smooth = counts.to_vec();
    for (at, three) in counts.windows(3).enumerate() {
        let (low, high) = (three[0].min(three[2]), three[0].max(three[2]));
        smooth[at + 1] = three[1].clamp(low, high);
    }
    smooth
}

/// By how much the low water rose, and over how many samples.
struct Rise {
    middle: usize,
    more: usize,
    samples: usize,
}

fn low(counts: &[usize]) -> usize {
    counts.iter().copied().min().unwrap_or(0)
}

/// `None` if it does not rise from third to third.
fn rise_of_low_water(counts: &[usize]) -> Option<Rise> {
    let third = counts.len() / 3;
    let (early, rest) = counts.split_at(third);
    let (middle, late) = rest.split_at(rest.len() - third);
    let (early, middle, late) = (low(early), low(middle), low(late));
    (early < middle && middle < late).then(|| Rise {
        middle,
        more: late - early,
        samples: counts.len() - third,
    })
}

/// The test of Mann and Kendall, with the correction for ties: the rising pairs are more than the falling ones by three
/// standard deviations. What never falls has no noise that could be an accident.
fn is_no_accident(counts: &[usize]) -> bool {
    let (mut rising, mut falling) = (0_u64, 0_u64);
    for (at, one) in counts.iter().enumerate() {
        let later = &counts[at + 1..];
        rising += later.iter().filter(|other| *other > one).count() as u64;
        falling += later.iter().filter(|other| *other < one).count() as u64;
    }
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    // 18 times the variance of a group of this size.
    let variance = |n: usize| (n * (n - 1) * (2 * n + 5)) as u64;
    let ties: u64 = sorted
        .chunk_by(|one, other| one == other)
        .map(|tie| variance(tie.len()))
        .sum();
    let more = rising.saturating_sub(falling);
    falling == 0 || more > 0 && 2 * more * more >= variance(counts.len()) - ties
}

/// Where a count is higher than ever before, the first one included.
fn maxima(counts: &[usize]) -> impl Iterator<Item = usize> {
    let mut most = None;
    counts.iter().enumerate().filter_map(move |(at, count)| {
        let is_more = most.is_none_or(|most| *count > most);
        most = most.max(Some(*count));
        is_more.then_some(at)
    })
}

/// The longest time between two maxima, and the time since the last one.
fn times_between_maxima(counts: &[usize]) -> (usize, usize) {
    let (mut longest, mut last) = (1, 0);
    for at in maxima(counts) {
        longest = longest.max(at - last);
        last = at;
    }
    (longest, counts.len() - 1 - last)
}

/// Whether the latest maximum is longer ago than the rhythm of the earlier ones allows.
fn is_at_a_stand(counts: &[usize], smooth: &[usize]) -> bool {
    let late = counts.len() / 2;
    let (longest, _) = times_between_maxima(smooth);
    let (longest_late, smooth_since) = times_between_maxima(&smooth[late..]);
    // The last sample is not smoothed: a fall there takes the one before along.
    let (_, since) = times_between_maxima(&counts[late..]);
    since.min(smooth_since) >= 2 * longest.max(longest_late)
}

/// Of a count that falls now and then: whether the low water of the latest stretch is above that of the stretch before, by
/// a third of what the average pace makes of it. The stretch is as long as that pace takes to exceed the usual fall.
fn keeps_its_pace(counts: &[usize], smooth: &[usize], rise: &Rise) -> bool {
    let steps = counts.windows(2);
    let mut falls: Vec<_> = steps
        .filter_map(|step| step[0].checked_sub(step[1]))
        .collect();
    falls.retain(|fall| *fall > 0);
    falls.sort_unstable();
    // The largest may be the one that is out of the row.
    let Some(fall) = falls.len().checked_sub(2).map(|second| falls[second]) else {
        return true;
    };
    let stretch = ((fall + 1) * rise.samples).div_ceil(rise.more);
    let stretch = stretch.clamp(2, (counts.len() / 3).max(2));
    let Some(before) = counts.len().checked_sub(2 * stretch) else {
        return true;
    };
    let (before, latest) = smooth[before..].split_at(stretch);
    let gained = low(latest).saturating_sub(low(before));
    3 * gained * rise.samples >= stretch * rise.more
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 6] = [11, 16, 21, 31, 41, 64];

    /// Whether a series is told to grow, warm-up and all.
    fn grows(series: &[usize]) -> bool {
        is_growing(&series[warm_up(series.len())..])
    }

    fn series(samples: usize, count: impl FnMut(usize) -> usize) -> Vec<usize> {
        (0..samples).map(count).collect()
    }

    /// Random numbers that are the same in each run (splitmix64).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
        }
    }

    /// How many of a thousand random series grow.
    fn of_a_thousand(
        samples: usize,
        mut make: impl FnMut(&mut Dice, usize) -> Vec<usize>,
    ) -> usize {
        let series = (0..1_000).map(|seed| make(&mut Dice(seed), samples));
        series.filter(|series| grows(series)).count()
    }

    #[test]
    fn one_a_cycle_grows_from_the_second_sample_on() {
        for samples in 2..100 {
            assert!(grows(&series(samples, |at| at)), "{samples}");
            assert!(grows(&series(samples, |at| 100 + 7 * at)), "{samples}");
        }
    }

    #[test]
    fn what_stands_still_or_shrinks_does_not_grow() {
        for samples in 0..100 {
            assert!(!grows(&series(samples, |_| 5)), "{samples}");
            assert!(!grows(&series(samples, |at| 200 - at)), "{samples}");
        }
    }

    /// Whenever that is: it fills by one a cycle, and has been full for a fifth of the cycles at least.
    #[test]
    fn a_pool_that_has_reached_its_ceiling_does_not_grow() {
        for samples in 11..200 {
            for ceiling in 1..=samples * 4 / 5 {
                let pool = series(samples, |at| at.min(ceiling));
                assert!(!grows(&pool), "{ceiling} of {samples}");
            }
        }
    }

    /// It is read while some are in use, or have just been given back.
    #[test]
    fn a_pool_at_its_ceiling_does_not_grow_while_it_is_used() {
        for samples in [31, 41, 64] {
            let found = of_a_thousand(samples, |dice, samples| {
                series(samples, |at| at.min(samples / 2) + dice.below(4))
            });
            assert!(found < 80, "{found} for {samples}");
        }
    }

    #[test]
    fn a_single_step_is_no_growth_wherever_it_is() {
        for samples in 4..100 {
            for step in 1..samples {
                let stepped = series(samples, |at| 3 + 5 * usize::from(at >= step));
                assert!(!grows(&stepped), "{step} of {samples}");
            }
        }
    }

    #[test]
    fn two_first_uses_are_no_growth() {
        for (first, second) in (1..64).flat_map(|first| (1..64).map(move |other| (first, other))) {
            let made = series(64, |at| {
                usize::from(at >= first) + usize::from(at >= second)
            });
            assert!(!grows(&made), "{first} and {second}");
        }
    }

    #[test]
    fn a_cache_that_is_cleared_does_not_grow() {
        for samples in 31..100 {
            for (period, phase) in [(3, 0), (7, 2), (10, 4), (10, 9), (12, 1)] {
                let cache = series(samples, |at| (at + phase) % period);
                assert!(!grows(&cache), "{period} of {samples}");
            }
        }
    }

    #[test]
    fn a_cache_that_is_cleared_grows_if_one_stays_each_time_round() {
        for samples in [21, 31, 41, 61, 64] {
            for phase in 0..3 {
                let cache = series(samples, |at| at + (at + phase) % 3);
                assert!(grows(&cache), "{samples}");
            }
        }
        for phase in 0..10 {
            assert!(grows(&series(64, |at| at + (at + phase) % 10)), "{phase}");
        }
    }

    /// However deep it is: what comes after it is there as before.
    #[test]
    fn a_dip_hides_no_growth() {
        for samples in [16, 21, 31, 41, 60, 61, 64] {
            for dip in 1..samples - 1 {
                let small = series(samples, |at| at - usize::from(at == dip));
                let deep = series(samples, |at| at + 100 * usize::from(at != dip));
                let whole = series(samples, |at| at * usize::from(at != dip));
                for (depth, series) in [("small", small), ("deep", deep), ("whole", whole)] {
                    assert!(grows(&series), "{depth}, at {dip} of {samples}");
                }
            }
        }
    }

    #[test]
    fn a_small_fall_at_the_end_hides_no_growth() {
        for samples in LENGTHS {
            assert!(grows(
                &series(samples, |at| at - 2 * usize::from(at + 1 == samples))
            ));
        }
    }

    #[test]
    fn what_has_fallen_to_where_it_was_does_not_grow() {
        for samples in 4..100 {
            assert!(!grows(
                &series(samples, |at| at * usize::from(at + 1 < samples))
            ));
        }
    }

    #[test]
    fn one_in_ten_cycles_grows_once_there_are_enough_samples() {
        for samples in [41, 50, 61, 64] {
            for phase in 0..10 {
                assert!(
                    grows(&series(samples, |at| (at + phase) / 10)),
                    "{samples}, {phase}"
                );
            }
        }
        assert!((0..3).all(|phase| grows(&series(11, |at| (at + phase) / 3))));
    }

    #[test]
    fn a_leak_under_noise_grows() {
        for (samples, noise, least) in [(16, 4, 850), (31, 4, 850), (64, 4, 850), (64, 11, 850)] {
            let found = of_a_thousand(samples, |dice, samples| {
                series(samples, |at| at + dice.below(noise))
            });
            assert!(found > least, "{found} for {samples}, {noise}");
        }
    }

    #[test]
    fn noise_does_not_grow() {
        for samples in LENGTHS {
            for noise in [2, 4, 20, 1_000] {
                let found = of_a_thousand(samples, |dice, samples| {
                    series(samples, |_| dice.below(noise))
                });
                assert!(found <= 3, "{found} for {samples}, {noise}");
            }
            let found = of_a_thousand(samples, |dice, samples| {
                series(samples, |_| {
                    if dice.below(10) == 0 {
                        dice.below(100)
                    } else {
                        0
                    }
                })
            });
            assert!(found <= 3, "{found} spikes for {samples}");
        }
    }

    /// Sessions that come at random and stay for two samples on average: what is counted once is counted again.
    #[test]
    fn sessions_that_come_and_go_do_not_grow() {
        for samples in LENGTHS {
            let found = of_a_thousand(samples, |dice, samples| {
                let mut alive = 20_usize;
                series(samples, |_| {
                    let left = (0..alive).filter(|_| dice.below(2) == 0).count();
                    let came = (0..20).filter(|_| dice.below(2) == 0).count();
                    alive = alive - left + came;
                    alive
                })
            });
            assert!(found < 20, "{found} for {samples}");
        }
    }
}
