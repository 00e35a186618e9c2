//! Text into HTML, and values into the coordinates of a drawing.

use std::borrow::Cow;

/// `text` as content or as the value of an attribute: names come from files that anybody writes.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) && !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // HTML has no way to write them.
            letter if is_control(letter) => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    Cow::Owned(safe)
}

fn is_control(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\t')
}

/// A coordinate in percent, with two digits and none of them in vain.
pub(super) fn place(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}%")
}

/// Round values from 0 to `most`, about `count` of them.
pub(super) fn ticks(most: f64, count: usize) -> Vec<f64> {
    if most <= 0.0 || !most.is_finite() {
        return vec![0.0];
    }
    let rough = most / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|one| one * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(power);
    (0..=count * 3).map(|number| number as f64 * step).take_while(|tick| *tick <= most * 1.000_001).collect()
}

/// How text at `share` of a width is anchored, so that it stays within.
pub(super) fn anchor(share: f64) -> &'static str {
    match share {
        share if share < 0.03 => "start",
        share if share > 0.92 => "end",
        _ => "middle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_for_markup() {
        assert_eq!(
            escape("<script>\"x\" & 'y'</script>"),
            "&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;"
        );
        assert_eq!(escape("2g/1cpu"), "2g/1cpu");
        assert_eq!(escape("a\u{1b}[31m\nb"), "a\u{fffd}[31m\nb");
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(430.0, 4), [0.0, 200.0, 400.0]);
        assert_eq!(ticks(1.0, 4), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(ticks(0.0, 4), [0.0]);
        assert_eq!([place(0.5), place(1.0 / 3.0), place(0.0)], ["50%", "33.33%", "0%"]);
    }
}
