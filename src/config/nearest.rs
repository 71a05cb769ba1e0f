//! "Did you mean": the candidate that a misspelt word most likely stands for.

/// The candidate nearest to `word`, if any is near enough to be meant: a third of the letters may differ.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance_max = (word.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions, and swaps of neighbours (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_char = None;
    for (i, char_a) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, char_b) in b.iter().enumerate() {
            let substitution = last[j] + usize::from(char_a != *char_b);
            let mut cost = substitution.min(last[j + 1] + 1).min(row[j] + 1);
            let is_swap = j > 0 && previous_char == Some(*char_b) && b[j - 1] == char_a;
            if is_swap {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        previous_char = Some(char_a);
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_counted() {
        for (a, b, distance) in [
            ("", "", 0),
            ("http", "http", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("lsiten", "listen", 1),
            ("ab", "ba", 1),
            ("grüße", "grüsse", 2),
        ] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
            assert_eq!(edit_distance(b, a), distance, "{b} {a}");
        }
    }

    #[test]
    fn only_a_near_candidate_is_meant() {
        let candidates = ["http.listen", "log.level", "data-dir"];
        let near = |word| nearest(word, candidates.iter().copied());
        assert_eq!(near("http.lisen"), Some("http.listen"));
        assert_eq!(near("log-level"), Some("log.level"));
        assert_eq!(near("datadir"), Some("data-dir"));
        assert_eq!(near("storage"), None);
        assert_eq!(near("x"), None);
    }
}
