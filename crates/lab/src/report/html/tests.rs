use super::*;
use crate::fixture;
use crate::record::Verdict;

fn page(results: &Results) -> String {
    render(&Analysis::of(results))
}

/// The tags of a page in order; panics at what is not well formed.
fn tags(html: &str) -> Vec<(String, String)> {
    const EMPTY: [&str; 6] = ["meta", "br", "line", "rect", "circle", "path"];
    let start = html.find("<style>").unwrap() + 7;
    let end = html.find("</style>").unwrap();
    let text = format!("{}{}", &html[..start], &html[end..]);
    let mut open: Vec<String> = Vec::new();
    let mut all = Vec::new();
    let mut rest = text.strip_prefix("<!doctype html>").unwrap();
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "a stray > in {:?}", &rest[..at]);
        let close = rest[at..].find('>').unwrap() + at;
        let tag = &rest[at + 1..close];
        assert!(!tag.contains('<'), "{tag}");
        rest = &rest[close + 1..];
        let name = |tag: &str| tag.split([' ', '/', '\n']).next().unwrap().to_owned();
        match tag.strip_prefix('/') {
            Some(closed) => {
                assert_eq!(open.pop().as_deref(), Some(closed), "before {:?}", &rest[..60.min(rest.len())])
            }
            None => {
                assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
                if !EMPTY.contains(&name(tag).as_str()) && !tag.ends_with('/') {
                    open.push(name(tag));
                }
                all.push((name(tag), tag.to_owned()));
            }
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
    all
}

#[test]
fn every_page_is_well_formed_with_each_id_once_and_nothing_from_outside() {
    let mut stopped = fixture::course();
    stopped.measurements.truncate(11);
    for results in [fixture::course(), fixture::repeated(1), fixture::repeated(2), fixture::empty(), stopped]
    {
        let html = page(&results);
        let tags = tags(&html);
        let attribute = |name: &str| -> Vec<String> {
            let key = format!(" {name}=\"");
            tags.iter()
                .filter_map(|(_, tag)| Some(tag.split_once(&key)?.1.split('"').next().unwrap().to_owned()))
                .collect()
        };
        let mut ids = attribute("id");
        for target in attribute("href") {
            let target = target.strip_prefix('#').expect("a link to elsewhere");
            assert!(ids.iter().any(|id| id == target) || results.measurements.is_empty(), "{target}");
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for (name, tag) in &tags {
            assert!(!["script", "link", "img", "iframe", "object"].contains(&name.as_str()), "{tag}");
            assert!(!tag.contains(" src=") && !tag.contains(" on"), "{tag}");
        }
        for outside in ["http:", "https:", "url(", "@import"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(!html.contains("NaN") && !html.contains("inf%"), "a figure that is none");
    }
}

#[test]
fn names_from_files_are_never_markup() {
    let mut results = fixture::course();
    let evil = "<script>alert(1)</script>\"'&";
    results.run.suite_text = evil.to_owned();
    results.run.suite = evil.to_owned();
    results.run.cases[0].title = evil.to_owned();
    results.run.cases[0].about = evil.to_owned();
    results.run.cases[0].group = evil.to_owned();
    results.run.cases[0].metrics[0].title = evil.to_owned();
    results.run.host.processor = evil.to_owned();
    results.run.environments[2].name = evil.to_owned();
    results.run.environments[2].facts.insert(evil.to_owned(), evil.to_owned());
    for one in results.measurements.iter_mut().filter(|one| one.slot.environment == "vm") {
        one.slot.environment = evil.to_owned();
        one.command.push(evil.to_owned());
        one.steps.iter_mut().for_each(|step| step.name = evil.to_owned());
        one.phases.iter_mut().for_each(|phase| phase.name = evil.to_owned());
    }
    results.measurements[0].problem = evil.to_owned();
    for one in &mut results.parity {
        one.environment = evil.to_owned();
        one.checks[0].verdict = Verdict::Differs;
        one.checks[0].found = evil.to_owned();
    }
    let html = page(&results);
    assert!(!html.contains("<script"));
    tags(&html);
}

#[test]
fn the_page_shows_what_was_measured() {
    let results = fixture::course();
    let html = page(&results);
    for text in [
        "All 90 measurements are there",
        "each guest instruction is translated",
        "Exact commands",
        "sysbench cpu --time=30 run",
        "System against OS virtualisation, table 2",
        "95 % interval",
        "prefers-color-scheme: dark",
        "@media print",
        "The course&#39;s measurements.",
    ] {
        assert!(html.contains(text), "{text}");
    }
    let dots = html.matches("<circle class=\"dot\"").count() + html.matches("<circle class=\"odd\"").count();
    assert_eq!(dots, 90);
    assert_eq!(html.matches("<circle class=\"odd\"").count(), {
        let analysis = Analysis::of(&results);
        analysis.headlines().map(|cell| cell.outliers().len()).sum::<usize>()
    });
    assert!(html.len() < 2_000_000);
}

#[test]
fn what_differs_stands_in_the_first_lines_and_marks_its_figures() {
    let mut results = fixture::course();
    results.parity[4].checks[0].verdict = Verdict::Differs;
    let html = page(&results);
    let note = html.find("Not comparable:").unwrap();
    assert!(note < html.find("<table").unwrap());
    assert!(html.contains("vm <span class=\"bad\">\u{2020}</span>"));
    assert!(html.contains("vm <span class=\"bad\">\u{2020} not comparable</span><small>2g/1cpu</small>"));
    assert!(!page(&fixture::course()).contains('\u{2020}'));
}

#[test]
fn one_repetition_has_no_interval_and_says_so() {
    let html = page(&fixture::repeated(1));
    assert!(html.contains("it has no interval") && html.contains("no interval: n = 1"));
    assert!(!html.contains("class=\"whisker\""));
    assert!(page(&fixture::course()).contains("class=\"whisker\""));
}

#[test]
fn an_empty_run_says_so() {
    let html = page(&fixture::empty());
    assert!(html.contains("Nothing was measured: there are no figures."));
    assert!(html.contains("0 of 90 measurements are there"));
    assert!(!html.contains("class=\"bars\""));
}

/// A run of hundreds of repetitions is shown, and its page can be sent by mail.
#[test]
fn a_large_run_makes_no_large_page() {
    let results = fixture::repeated(200);
    let html = page(&results);
    tags(&html);
    assert!(html.len() < 2_000_000, "{}", html.len());
    assert!(html.contains(" of 200 are listed") && html.contains("and 160 more"));
    let analysis = Analysis::of(&results);
    let cell = analysis.headlines().find(|cell| !cell.outliers().is_empty()).expect("an outlier");
    let odd = format!("<td class=\"n\">{:05}</td>", cell.outliers()[0].number);
    assert!(html.contains(&odd), "{odd}");
    // Few repetitions are all there.
    assert!(!page(&fixture::repeated(10)).contains("are listed"));
}
