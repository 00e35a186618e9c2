//! What is shown of a run: one HTML file, Markdown, CSV or JSON. All four are made of the same figures.

mod csv;
mod html;
mod json;
mod markdown;
mod notes;
mod published;
mod table;

pub use csv::HEADER;
pub use html::{PALETTE, STYLE, escape};
pub(crate) use json::against as against_json;
pub(crate) use notes::differs;
pub(crate) use table::{Table, plain};

use crate::analysis::Analysis;
use crate::read::Results;

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One file that needs no other and no network.
    Html,
    /// For a terminal, and for where Markdown is rendered.
    Markdown,
    /// One row for each measurement and metric.
    Csv,
    /// The statistics of each case, metric, environment and size.
    Json,
}

impl Format {
    /// Every form, in the order of the help.
    pub const ALL: [Format; 4] = [Format::Html, Format::Markdown, Format::Csv, Format::Json];

    /// Its name, which is its file's ending too.
    pub fn name(self) -> &'static str {
        match self {
            Format::Html => "html",
            Format::Markdown => "md",
            Format::Csv => "csv",
            Format::Json => "json",
        }
    }
}

/// The report of a run. The same run gives the same bytes.
pub fn report(results: &Results, format: Format) -> String {
    match format {
        Format::Csv => csv::render(results),
        Format::Html => html::render(&Analysis::of(results)),
        Format::Markdown => markdown::render(&Analysis::of(results)),
        Format::Json => json::render(&Analysis::of(results)),
    }
}

/// Words of a command as a shell reads them.
fn shell(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// "Larger is better", for a heading.
fn better(better: crate::record::Better) -> &'static str {
    match better {
        crate::record::Better::Higher => "higher is better",
        crate::record::Better::Lower => "lower is better",
        crate::record::Better::Neither => "describes only",
    }
}

/// How the figures were come by: paragraphs of the section on the method.
fn method(analysis: &Analysis) -> Vec<String> {
    let run = &analysis.results.run;
    let mut all = vec![
        format!(
            "Every case was measured {} in each environment of each size, one measurement after another in an order drawn at \
             random (seed {}), so that what changes with time falls on all of them alike. Before it an environment was tested for \
             what it was given; the page cache of the host was dropped where a phase is called \u{201c}cold\u{201d}.",
            times(run.repeat),
            run.seed
        ),
        format!(
            "The host was watched from outside, {} times in a second; one sample costs {} of processor time, {} of one \
             processor.",
            run.sampler.rate,
            crate::quantity::words(run.sampler.seconds_per_sample, "s"),
            crate::quantity::percent(run.sampler.seconds_per_sample * run.sampler.rate)
        ),
        "Values are compared by their median; the mean and the standard deviation (n \u{2212} 1) stand beside it. Intervals \
         are 95 % bootstrap intervals by the percentile method, 4,000 draws from a fixed seed; that of a ratio draws both \
         sides independently. With n values no such interval can be wider than from the smallest to the largest, and those \
         hold the true median with a probability of 1 \u{2212} 2^(1\u{2212}n): 75 % for n = 3, 94 % for n = 5, 97 % for n = 6."
            .to_owned(),
        "Whether a difference is real is asked of the two-sided Mann-Whitney U test, exact where the values are few, and taken \
         for real where p < 0.05. Its smallest p is 0.1 for three repetitions against three, 0.029 for four, 0.008 for five: three \
         repetitions cannot show any difference."
            .to_owned(),
    ];
    let comparisons = analysis.headlines().filter(|cell| cell.against.is_some()).count();
    if comparisons > 1 {
        all.push(format!(
            "p is not corrected for the number of comparisons: of {comparisons} without any real difference {} would be expected to \
             come out below 0.05 by chance.",
            crate::quantity::ratio(0.05 * comparisons as f64)
        ));
    }
    all.push(
        "Outliers are values beyond Tukey\u{2019}s fences (1.5 interquartile ranges outside the quartiles, from five values on). \
         They are marked, and counted in every figure: no value is dropped."
            .to_owned(),
    );
    all
}

/// `once`, `twice`, `5 times`.
fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        let words = ["sh", "-c", "echo 'a b'", "", "--size=2g/1cpu"].map(str::to_owned);
        assert_eq!(shell(&words), "sh -c 'echo '\\''a b'\\''' '' --size=2g/1cpu");
    }
}
