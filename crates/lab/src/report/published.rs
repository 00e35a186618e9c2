//! Figures that others have published of the same experiment, beside ours. Machines differ, so ratios are what can be
//! compared.

use crate::analysis::Analysis;
use crate::quantity::{ratio as number, words};
use crate::record::{Case, Kind, Published};

/// One published figure and ours of the same kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row<'a> {
    pub(crate) published: &'a Published,
    /// The metric's title and unit.
    pub(crate) title: &'a str,
    pub(crate) unit: &'a str,
    /// The published one divided by that of the base: the bare host's of the same source and size, or the container's; its
    /// lower and its upper end, which are the same for one number.
    pub(crate) ratio: Option<(f64, f64)>,
    /// What it was divided by, as its author names it, or by its kind where only the ratio was published.
    pub(crate) base: Option<&'a str>,
    pub(crate) ours: Vec<Ours<'a>>,
}

/// Ours: environment, size, median, and the ratio to our environment of the same kind as the published base.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ours<'a> {
    pub(crate) environment: &'a str,
    pub(crate) size: &'a str,
    pub(crate) median: f64,
    pub(crate) ratio: Option<f64>,
}

/// What has been published of a case, in the suite's order.
pub(crate) fn rows<'a>(analysis: &Analysis<'a>, case: &'a Case) -> Vec<Row<'a>> {
    let row = |published: &'a Published| {
        let metric = case.metrics.iter().find(|metric| metric.name == published.metric)?;
        if let Some(told) = published.ratio {
            let ours = ours(analysis, case, published, Some(told.to));
            let (ratio, base) = (Some((told.low, told.high)), Some(told.to.words()));
            return Some(Row { published, title: &metric.title, unit: &metric.unit, ratio, base, ours });
        }
        let base = base(case, published);
        let divided = |base: &Published| Some(published.value? / base.value.filter(|value| *value != 0.0)?);
        let ratio = base.and_then(divided).map(|ratio| (ratio, ratio));
        let ours = ours(analysis, case, published, base.map(|base| base.kind));
        let base = base.map(|base| base.environment.as_str());
        Some(Row { published, title: &metric.title, unit: &metric.unit, ratio, base, ours })
    };
    case.published.iter().filter_map(row).collect()
}

impl Row<'_> {
    /// The published figure with its unit; a dash where only a ratio was published.
    pub(crate) fn theirs(&self) -> String {
        self.published.value.map_or("\u{2013}".to_owned(), |value| words(value, self.unit))
    }

    /// `4.00`, `0.330 to 0.500`, or a dash.
    pub(crate) fn ratio(&self) -> String {
        match self.ratio {
            None => "\u{2013}".to_owned(),
            Some((low, high)) if low == high => number(low),
            Some((low, high)) => format!("{} to {}", number(low), number(high)),
        }
    }
}

fn base<'a>(case: &'a Case, published: &Published) -> Option<&'a Published> {
    let of = |kind| {
        let same = |one: &&Published| {
            let same = one.source == published.source && one.size == published.size;
            same && one.metric == published.metric && one.value.is_some()
        };
        case.published.iter().filter(same).find(|one| one.kind == kind)
    };
    of(Kind::Native).or_else(|| of(Kind::Container)).filter(|base| *base != published)
}

fn ours<'a>(
    analysis: &Analysis<'a>,
    case: &Case,
    published: &Published,
    base: Option<Kind>,
) -> Vec<Ours<'a>> {
    let of = |kind| {
        let fits = move |cell: &&crate::analysis::Cell<'a>| {
            cell.case.name == case.name
                && cell.metric.name == published.metric
                && cell.environment.kind == kind
        };
        analysis.cells.iter().filter(fits)
    };
    let all: Vec<Ours> = of(published.kind)
        .map(|cell| {
            let base = base.and_then(|kind| of(kind).find(|base| base.size.name == cell.size.name));
            Ours {
                environment: &cell.environment.name,
                size: &cell.size.name,
                median: cell.summary.median,
                ratio: base
                    .map(|base| cell.summary.median / base.summary.median)
                    .filter(|ratio| ratio.is_finite()),
            }
        })
        .collect();
    let same: Vec<Ours> =
        all.iter().filter(|one| numbers(one.size) == numbers(&published.size)).cloned().collect();
    if same.is_empty() { all } else { same }
}

/// The numbers in a size's name: "2 GB, 1 CPU" and `2g/1cpu` are the same size.
fn numbers(size: &str) -> Vec<&str> {
    size.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn stands_beside_ours_of_the_same_kind_and_size() {
        let results = fixture::course();
        let analysis = Analysis::of(&results);
        let rows = rows(&analysis, &results.run.cases[0]);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].base, rows[1].base), (Some("Docker"), None));
        let (low, high) = rows[0].ratio.unwrap();
        assert!((low - 31.34 / 15.52).abs() < 1e-12 && low == high);
        assert_eq!(rows[0].ours.len(), 1);
        let (ours, median) = (&rows[0].ours[0], |name| {
            analysis.cell("cpu", "total_time", name, "2g/1cpu").unwrap().summary.median
        });
        assert_eq!((ours.environment, ours.size, ours.median), ("vm", "2g/1cpu", median("vm")));
        assert_eq!(ours.ratio, Some(median("vm") / median("container")));
    }

    #[test]
    fn a_ratio_stands_beside_ours_to_the_same_kind() {
        let results = fixture::course();
        let analysis = Analysis::of(&results);
        let rows = rows(&analysis, &results.run.cases[1]);
        assert_eq!(
            rows.iter().map(Row::ratio).collect::<Vec<_>>(),
            [number(4.0), format!("{} to {}", number(0.33), number(0.5))]
        );
        assert_eq!((rows[0].theirs(), rows[0].base), ("\u{2013}".to_owned(), Some("the bare host")));
        // No size was published: each of ours stands beside it.
        let sizes: Vec<&str> = rows[0].ours.iter().map(|ours| ours.size).collect();
        assert_eq!(sizes, ["2g/1cpu", "2g/2cpu"]);
        let median = |name| analysis.cell("fileio", "latency_avg", name, "2g/2cpu").unwrap().summary.median;
        assert_eq!(rows[0].ours[1].ratio, Some(median("container") / median("native")));
    }
}
