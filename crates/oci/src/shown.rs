//! Text from outside on its way to a terminal or into a log.

/// Text from outside as it may be shown: without control characters, in one line, not endless.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_from_outside_lose_their_teeth() {
        assert_eq!(shown("a\u{1b}[31m\r\n b\u{7}"), "a [31m b");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 301);
    }
}
