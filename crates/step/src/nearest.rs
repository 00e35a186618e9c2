//! "Did you mean": the known word that is closest to what was typed.

/// The nearest of `known`, if it is near enough: a third of the letters may differ. Capital letters are no difference.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // What is longer than any word is no misspelling of one.
    if typed.len() > 64 {
        return None;
    }
    let distances = known.into_iter().map(|word| (distance(typed, word), word));
    let (distance, word) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1.max(word.chars().count() / 3) && distance < typed.chars().count()).then_some(word)
}

/// How many letters have to be put in, taken out, changed or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for (i, letter) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in to.iter().enumerate() {
            let changed = rows[i][j] + usize::from(!letter.eq_ignore_ascii_case(other));
            let mut best = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && letter.eq_ignore_ascii_case(&to[j - 1]) && from[i - 1] == *other {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_near_and_leaves_the_far() {
        let known = ["run", "ps", "kill", "rm", "info", "version"];
        for (typed, wanted) in [
            ("rnu", "run"),
            ("runn", "run"),
            ("verison", "version"),
            ("kil", "kill"),
            ("inof", "info"),
            ("PS", "ps"),
        ] {
            assert_eq!(nearest(typed, known), Some(wanted), "{typed}");
        }
        for (typed, wanted) in [
            ("FORM", Some("FROM")),
            ("COPPY", Some("COPY")),
            ("XYZZY", None),
            ("", None),
            ("RNU", Some("RUN")),
        ] {
            assert_eq!(nearest(typed, ["FROM", "COPY", "RUN", "ENV"]), wanted, "{typed}");
        }
        let long = "run".repeat(1 << 20);
        for typed in ["", "x", "frobnicate", "images", &long] {
            assert_eq!(nearest(typed, known), None);
        }
    }
}
