//! Whether two sets of values differ for more than chance: the Mann-Whitney U test (1947), two-sided.
//!
//! It compares ranks, so no shape of the distribution is assumed and an outlier counts for its place only. What it
//! cannot do is find a difference in too few values: the smallest p that n and m values can give is
//! 2 / C(n + m, n), which is 0.1 for three against three and 0.008 for five against five.

/// Up to so many ways to share out the ranks they are all gone through, ties and all.
const ENUMERATED: f64 = 200_000.0;

/// Up to so many pairs the distribution without ties is counted.
const COUNTED: usize = 2_500;

/// What the test says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// How often a value of the first set is above one of the second; a tie is half.
    pub u: f64,
    /// How probable a difference as large as this one, or larger, is where there is none.
    pub p: f64,
    /// How p was come by.
    pub way: Way,
}

/// How p was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By all ways to share out the ranks.
    Exact,
    /// By the normal distribution, corrected for ties and continuity; for large sets.
    Normal,
}

/// Tests `left` against `right`; `None` where a side is empty.
pub fn mann_whitney(left: &[f64], right: &[f64]) -> Option<Test> {
    let (n, m) = (left.len(), right.len());
    if n == 0 || m == 0 {
        return None;
    }
    let (ranks, ties) = ranks(left, right);
    let least = (n * (n + 1)) as f64 / 2.0;
    let u = ranks[..n].iter().sum::<f64>() - least;
    let (p, way) = if ties == 0.0 && n * m <= COUNTED {
        (counted(u.max((n * m) as f64 - u), n, m), Way::Exact)
    } else if ways(n, m) <= ENUMERATED {
        (enumerated(&ranks, n, (u - (n * m) as f64 / 2.0).abs()), Way::Exact)
    } else {
        (normal(u, n, m, ties), Way::Normal)
    };
    Some(Test { u, p: p.min(1.0), way })
}

/// The smallest p that sets of these sizes can give: 1 where one is empty.
pub fn smallest_p(n: usize, m: usize) -> f64 {
    (2.0 / ways(n, m)).min(1.0)
}

/// How many ways there are to share out the ranks: C(n + m, n).
fn ways(n: usize, m: usize) -> f64 {
    (1..=n.min(m)).map(|step| (n.max(m) + step) as f64 / step as f64).product()
}

/// The ranks of all values, those of `left` first, ties with their mean rank; and the sum of t³ - t over all ties.
fn ranks(left: &[f64], right: &[f64]) -> (Vec<f64>, f64) {
    let all: Vec<f64> = left.iter().chain(right).copied().collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|&a, &b| all[a].total_cmp(&all[b]));
    let mut ranks = vec![0.0; all.len()];
    let mut ties = 0.0;
    let mut from = 0;
    while from < order.len() {
        let equal = order[from..].iter().take_while(|&&place| all[place] == all[order[from]]).count();
        let rank = from as f64 + (equal + 1) as f64 / 2.0;
        order[from..from + equal].iter().for_each(|&place| ranks[place] = rank);
        let t = equal as f64;
        ties += t * t * t - t;
        from += equal;
    }
    (ranks, ties)
}

/// Twice the share of ways whose U is at least `u`, counted by the recurrence of Mann and Whitney.
fn counted(u: f64, n: usize, m: usize) -> f64 {
    // counts[i][s]: ways to have U = s with i values of the first set and those of the second so far.
    let mut counts = vec![vec![0.0f64; n * m + 1]; n + 1];
    counts[0][0] = 1.0;
    for row in counts.iter_mut().skip(1) {
        row[0] = 1.0;
    }
    for second in 1..=m {
        for first in 1..=n {
            // With the largest value of the first set above all `second` of the second, or with one of those on top.
            let (before, rest) = counts.split_at_mut(first);
            let (fewer, row) = (&before[first - 1], &mut rest[0]);
            for sum in (second..=n * m).rev() {
                row[sum] += fewer[sum - second];
            }
        }
    }
    let total: f64 = counts[n].iter().sum();
    let beyond: f64 = counts[n][(u.ceil() as usize).min(n * m)..].iter().sum();
    2.0 * beyond / total
}

/// The share of all ways to choose `n` of the ranks whose U is as far from the middle as `distance`, or farther.
fn enumerated(ranks: &[f64], n: usize, distance: f64) -> f64 {
    let m = ranks.len() - n;
    let middle = (n * (n + 1)) as f64 / 2.0 + (n * m) as f64 / 2.0;
    let mut chosen: Vec<usize> = (0..n).collect();
    let (mut beyond, mut total) = (0.0, 0.0);
    loop {
        let sum: f64 = chosen.iter().map(|&place| ranks[place]).sum();
        total += 1.0;
        // Ranks are halves of whole numbers: what is not the same differs by more than this.
        if (sum - middle).abs() >= distance - 1e-9 {
            beyond += 1.0;
        }
        let Some(step) = (0..n).rev().find(|&step| chosen[step] < m + step) else {
            return beyond / total;
        };
        let from = chosen[step];
        for (place, choice) in chosen[step..].iter_mut().enumerate() {
            *choice = from + 1 + place;
        }
    }
}

fn normal(u: f64, n: usize, m: usize, ties: f64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let all = n + m;
    let variance = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = ((u - n * m / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    erfc(z / std::f64::consts::SQRT_2)
}

/// The complementary error function of `x` >= 0: by its Taylor series near 0, by its continued fraction farther out
/// (DLMF 7.6.2 and 7.9.1).
fn erfc(x: f64) -> f64 {
    let gauss = (-x * x).exp();
    if x < 2.0 {
        let (mut term, mut sum) = (x, x);
        for step in 1..100 {
            term *= 2.0 * x * x / f64::from(2 * step + 1);
            sum += term;
        }
        return 1.0 - std::f64::consts::FRAC_2_SQRT_PI * gauss * sum;
    }
    let fraction = (1..100).rev().fold(x, |below, step| x + f64::from(step) / 2.0 / below);
    gauss / fraction * std::f64::consts::FRAC_2_SQRT_PI / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(left: &[f64], right: &[f64], u: f64, p: f64, way: Way) {
        let test = mann_whitney(left, right).unwrap();
        assert_eq!((test.u, test.way), (u, way));
        assert!((test.p - p).abs() < 1e-7, "{} is not {p}", test.p);
        let other = mann_whitney(right, left).unwrap();
        assert_eq!(other.u, (left.len() * right.len()) as f64 - u);
        assert!((other.p - p).abs() < 1e-7, "{} is not {p}", other.p);
    }

    // The figures are those of scipy.stats.mannwhitneyu.

    #[test]
    fn exact_without_ties() {
        check(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 0.0, 0.1, Way::Exact);
        check(&[1.1, 2.2, 3.3, 4.4, 9.9], &[5.5, 6.6, 7.7, 8.8, 10.1], 4.0, 0.09523809523809523, Way::Exact);
        // The example of scipy's manual: age at which diabetes was found, of men and women.
        check(
            &[19.0, 22.0, 16.0, 29.0, 24.0],
            &[20.0, 11.0, 17.0, 12.0],
            17.0,
            0.1111111111111111,
            Way::Exact,
        );
        let left = [7.0, 14.0, 21.0, 28.0, 4.0, 11.0, 18.0, 25.0, 1.0, 8.0, 15.0, 22.0];
        let right = [11.5, 22.5, 4.5, 15.5, 26.5, 8.5, 19.5, 1.5, 12.5, 23.5, 5.5, 16.5, 27.5, 9.5];
        check(&left, &right, 81.0, 0.8994752373753585, Way::Exact);
    }

    #[test]
    fn exact_with_ties_by_all_permutations() {
        // 318 of the 6435 ways are as far out.
        let left = [1.0, 2.0, 2.0, 3.0, 5.0, 5.0, 7.0];
        let right = [2.0, 4.0, 5.0, 6.0, 8.0, 9.0, 9.0, 9.0];
        check(&left, &right, 11.0, 318.0 / 6435.0, Way::Exact);
        check(&[1.0; 4], &[1.0; 4], 8.0, 1.0, Way::Exact);
    }

    #[test]
    fn normal_for_many_with_ties() {
        let left: Vec<f64> = (0..40).map(|i| f64::from(i % 9)).collect();
        let right: Vec<f64> = (0..45).map(|i| f64::from(i % 11) + 1.0).collect();
        check(&left, &right, 562.5, 0.002_883_558_531_223_703, Way::Normal);
        check(&[1.0; 60], &[1.0; 60], 1800.0, 1.0, Way::Normal);
    }

    #[test]
    fn the_tail_of_the_normal_distribution() {
        // scipy.special.erfc.
        for (x, value) in [
            (0.0, 1.0),
            (0.5, 0.4795001221869535),
            (1.99, 0.004888586800383002),
            (2.0, 0.004677734981047266),
            (5.0, 1.5374597944280347e-12),
        ] {
            assert!((erfc(x) / value - 1.0).abs() < 1e-9, "{x}: {}", erfc(x));
        }
    }

    #[test]
    fn few_values_cannot_show_a_difference() {
        assert!((smallest_p(3, 3) - 0.1).abs() < 1e-12);
        assert!((smallest_p(5, 5) - 2.0 / 252.0).abs() < 1e-12);
        assert_eq!((smallest_p(1, 1), smallest_p(0, 5)), (1.0, 1.0));
        assert_eq!(mann_whitney(&[], &[1.0]), None);
        assert_eq!(mann_whitney(&[1.0], &[2.0]).unwrap().p, 1.0);
    }
}
