//! Figures that others have published of the same experiment, beside ours. Machines differ, so ratios are what can be
//! compared.

use crate::analysis::Analysis;
use crate::record::{Case, Kind, Published};

/// One published figure and ours of the same kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row<'a> {
    pub(crate) published: &'a Published,
    /// The metric's title and unit.
    pub(crate) title: &'a str,
    pub(crate) unit: &'a str,
    /// The published one divided by that of the base: the bare host's of the same source and size, or the container's.
    pub(crate) ratio: Option<f64>,
    /// What it was divided by, as its author names it.
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
        let base = base(case, published);
        let ratio = base.filter(|base| base.value != 0.0).map(|base| published.value / base.value);
        let ours = ours(analysis, case, published, base.map(|base| base.kind));
        let base = base.map(|base| base.environment.as_str());
        Some(Row { published, title: &metric.title, unit: &metric.unit, ratio, base, ours })
    };
    case.published.iter().filter_map(row).collect()
}

fn base<'a>(case: &'a Case, published: &Published) -> Option<&'a Published> {
    let of = |kind| {
        let same = |one: &&Published| {
            one.source == published.source && one.size == published.size && one.metric == published.metric
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
        assert!((rows[0].ratio.unwrap() - 31.34 / 15.52).abs() < 1e-12);
        assert_eq!(rows[0].ours.len(), 1);
        let (ours, median) = (&rows[0].ours[0], |name| {
            analysis.cell("cpu", "total_time", name, "2g/1cpu").unwrap().summary.median
        });
        assert_eq!((ours.environment, ours.size, ours.median), ("vm", "2g/1cpu", median("vm")));
        assert_eq!(ours.ratio, Some(median("vm") / median("container")));
    }
}
