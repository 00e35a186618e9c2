//! The picture as SVG: the host on top, its bridges as bars that turn into lanes down the middle, cards on both sides.
//! Colours follow what the reader's screen prefers.

use std::fmt::Write as _;

use lab::report::{PALETTE, escape};

use super::picture::{Card, Picture, Row};
use super::text::wrapped;

/// A card's width, and how many letters of the font fit into it.
const CARD: usize = 384;
const LETTERS: usize = 48;
/// A letter's width at 12 px, in tenths, and a line's height.
const LETTER: usize = 72;
const LINE: usize = 19;
/// Between a card and the lanes, where the cable's label stands.
const GAP: usize = 120;
/// From one lane to the next, and round everything.
const LANE: usize = 20;
const EDGE: usize = 16;
/// From one card to the next, and within one from its edge.
const SPACE: usize = 22;
const PAD: usize = 14;
/// A title's height.
const TITLE: usize = 34;

const STYLE: &str = "\
.net { background: var(--paper); }
.net text { font: 12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: var(--ink); white-space: pre; }
.net .title { font: 600 14px system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif; }
.net .soft { fill: var(--soft); font-size: 11px; }
.net .name { font-weight: 700; }
.net .bad { fill: var(--bad); }
.net .panel { fill: var(--tint); stroke: var(--line); }
.net .card { fill: var(--paper); stroke: var(--line); }
.net .lane, .net .cable { fill: none; stroke-linecap: round; }
.net .lane { stroke-width: 4; }
.net .cable { stroke-width: 2; }
.net .under { fill: none; stroke: var(--paper); stroke-width: 8; }
.net .bar { fill-opacity: .14; stroke-width: 1.5; }
";
/// `.l1 { stroke: var(--h1); fill: … }`: the report's hues but for the grey.
const HUES: usize = 7;

/// A whole file.
pub(super) fn file(picture: &Picture) -> String {
    draw(picture).replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1)
}

/// The element, for an HTML page.
pub(super) fn draw(picture: &Picture) -> String {
    let lanes = picture.lanes.len();
    let middle = GAP * 2 + lanes.saturating_sub(1) * LANE;
    let width = 2 * EDGE + 2 * CARD + middle;
    let mut drawing = Drawing { svg: String::new(), width, spine: EDGE + CARD + GAP, lanes };
    let top = drawing.host(picture);
    let bottom = drawing.cards(picture, top + SPACE);
    let height = bottom + EDGE;
    let hues: String = (1..=HUES)
        .map(|hue| format!(".net .l{hue} {{ stroke: var(--h{hue}); }} .net .b{hue} {{ fill: var(--h{hue}); stroke: var(--h{hue}); }}\n"))
        .collect();
    format!(
        "<svg class=\"net\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"Networks of this host\">\n<style>\n{PALETTE}{STYLE}{hues}</style>\n{}</svg>\n",
        drawing.svg
    )
}

struct Drawing {
    svg: String,
    width: usize,
    /// The leftmost lane.
    spine: usize,
    lanes: usize,
}

/// A side of the lanes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Drawing {
    /// The first bridge has the rightmost lane: no bar is in a lane's way.
    fn lane(&self, lane: usize) -> usize {
        self.spine + (self.lanes - 1 - lane) * LANE
    }

    fn hue(lane: usize) -> usize {
        lane % HUES + 1
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.svg.write_fmt(element);
        self.svg.push('\n');
    }

    /// The host's panel; where it ends.
    fn host(&mut self, picture: &Picture) -> usize {
        let letters = (self.width - 2 * EDGE - 2 * PAD) * 10 / LETTER;
        let lines: Vec<(&Row, String)> = picture
            .host
            .iter()
            .flat_map(|row| wrapped(row, letters).into_iter().map(move |line| (row, line)))
            .collect();
        let bars: Vec<Vec<String>> =
            picture.lanes.iter().enumerate().map(|(number, lane)| self.bar(number, &lane.row)).collect();
        let tall = |bar: &Vec<String>| bar.len() * LINE + 7;
        let height = TITLE + lines.len() * LINE + bars.iter().map(|bar| tall(bar) + 7).sum::<usize>() + PAD;
        let (x, wide) = (EDGE, self.width - 2 * EDGE);
        self.add(format_args!(
            "<rect class=\"panel\" x=\"{x}\" y=\"{EDGE}\" width=\"{wide}\" height=\"{height}\" rx=\"10\"/>"
        ));
        self.add(format_args!("<text class=\"title\" x=\"{}\" y=\"{}\">host</text>", x + PAD, EDGE + 23));
        let mut y = EDGE + TITLE;
        for (row, line) in lines {
            y += LINE;
            self.row(x + PAD, y - 6, row, &line);
        }
        y += 8;
        for (number, (lane, bar)) in picture.lanes.iter().zip(&bars).enumerate() {
            let (hue, left, right) = (Self::hue(number), x + PAD, self.lane(number));
            let middle = y + (LINE + 7) / 2;
            self.add(format_args!(
                "<rect class=\"bar b{hue}\" x=\"{left}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
                right - left - 10,
                tall(bar)
            ));
            for (n, line) in bar.iter().enumerate() {
                self.row(left + 10, middle + 4 + n * LINE, &lane.row, line);
            }
            let end = last_cable(picture, number, EDGE + height + SPACE);
            if let Some(end) = end {
                self.add(format_args!(
                    "<path class=\"lane l{hue}\" d=\"M{} {middle} H{} Q{right} {middle} {right} {} V{end}\"/>",
                    right - 10,
                    right - 8,
                    middle + 8
                ));
            }
            y += tall(bar) + 7;
        }
        EDGE + height
    }

    /// The lines of a bridge's bar.
    fn bar(&self, lane: usize, row: &Row) -> Vec<String> {
        let room = (self.lane(lane)).saturating_sub(EDGE + PAD + 30);
        wrapped(row, room * 10 / LETTER)
    }

    fn row(&mut self, x: usize, y: usize, row: &Row, line: &str) {
        let class = if row.bad { " class=\"bad\"" } else { "" };
        let text = match row.words.first().filter(|first| row.named && line.starts_with(first.as_str())) {
            Some(first) => {
                format!("<tspan class=\"name\">{}</tspan>{}", escape(first), escape(&line[first.len()..]))
            }
            None => escape(line).into_owned(),
        };
        self.add(format_args!("<text{class} x=\"{x}\" y=\"{y}\" xml:space=\"preserve\">{text}</text>"));
    }

    /// The cards; where the longer side ends.
    fn cards(&mut self, picture: &Picture, top: usize) -> usize {
        let mut bottom = top;
        for (card, side, y) in places(&picture.cards, top) {
            let height = height(card);
            let x = if side == Side::Left { EDGE } else { self.width - EDGE - CARD };
            self.add(format_args!(
                "<rect class=\"card\" x=\"{x}\" y=\"{y}\" width=\"{CARD}\" height=\"{height}\" rx=\"8\"/>"
            ));
            let title: String = card.title.chars().take(LETTERS - 18).collect();
            self.add(format_args!(
                "<text class=\"title\" x=\"{}\" y=\"{}\">{}</text>",
                x + PAD,
                y + 22,
                escape(&title)
            ));
            self.add(format_args!(
                "<text class=\"soft\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                x + CARD - PAD,
                y + 22,
                escape(&card.note)
            ));
            for (row, line, at) in lines(card) {
                self.row(x + PAD, y + at, row, &line);
                if let Some(cable) = row
                    .cable
                    .as_ref()
                    .filter(|_| row.words.first().is_some_and(|first| line.starts_with(first.as_str())))
                {
                    self.cable(cable.lane, &cable.label, side, y + at - 4);
                }
            }
            bottom = bottom.max(y + height);
        }
        bottom
    }

    fn cable(&mut self, lane: usize, label: &str, side: Side, y: usize) {
        let (from, hue) = (self.lane(lane), Self::hue(lane));
        let (to, text) = match side {
            Side::Left => (EDGE + CARD, self.spine - GAP / 2),
            Side::Right => (self.width - EDGE - CARD, self.width - EDGE - CARD - GAP / 2),
        };
        let (start, end) = if side == Side::Left { (from - 9, to) } else { (from + 9, to) };
        self.add(format_args!("<path class=\"under\" d=\"M{start} {y} H{end}\"/>"));
        self.add(format_args!("<path class=\"cable l{hue}\" d=\"M{from} {y} H{to}\"/>"));
        for (x, radius) in [(from, 5), (to, 4)] {
            self.add(format_args!("<circle class=\"b{hue}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>"));
        }
        self.add(format_args!(
            "<text class=\"soft\" x=\"{text}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            y - 6,
            escape(label)
        ));
    }
}

/// The lines of a card, and how far below its top each is.
fn lines(card: &Card) -> Vec<(&Row, String, usize)> {
    let all = card.rows.iter().flat_map(|row| wrapped(row, LETTERS).into_iter().map(move |line| (row, line)));
    all.enumerate().map(|(n, (row, line))| (row, line, TITLE + (n + 1) * LINE - 4)).collect()
}

fn height(card: &Card) -> usize {
    TITLE + lines(card).len() * LINE + PAD - 2
}

/// Each card on the side that is shorter so far.
fn places(cards: &[Card], top: usize) -> Vec<(&Card, Side, usize)> {
    let (mut left, mut right) = (top, top);
    let place = |card| {
        let (side, bottom) = if left <= right { (Side::Left, &mut left) } else { (Side::Right, &mut right) };
        let y = *bottom;
        *bottom += height(card) + SPACE;
        (card, side, y)
    };
    cards.iter().map(place).collect()
}

/// Where a lane's last cable branches off.
fn last_cable(picture: &Picture, lane: usize, top: usize) -> Option<usize> {
    let of = |(card, _, y): (&Card, Side, usize)| {
        let hangs = |row: &Row| row.cable.as_ref().is_some_and(|cable| cable.lane == lane);
        let first =
            |row: &Row, line: &str| row.words.first().is_some_and(|first| line.starts_with(first.as_str()));
        let all = lines(card).into_iter().filter(|(row, line, _)| hangs(row) && first(row, line));
        all.map(|(_, _, at)| y + at - 4).max()
    };
    places(&picture.cards, top).into_iter().filter_map(of).max()
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::survey;
    use super::*;

    #[test]
    fn every_cable_ends_at_its_card_and_nothing_overlaps() {
        let picture = Picture::new(&survey());
        let svg = file(&picture);
        assert_eq!(svg.matches("class=\"cable").count(), 3);
        assert_eq!(svg.matches("class=\"card\"").count(), 3);
        assert_eq!(svg.matches("class=\"lane").count(), 2);
        assert!(svg.contains("*:8080-8081 → 80-81/tcp") && svg.contains(">md0123456789a<"));
        let places = places(&picture.cards, 0);
        for (card, side, y) in &places {
            let next = places
                .iter()
                .filter(|(_, other, below)| other == side && below > y)
                .map(|(_, _, y)| *y)
                .min();
            assert!(next.is_none_or(|next| y + height(card) < next));
        }
    }

    #[test]
    fn names_are_no_markup() {
        let mut survey = survey();
        survey.namespaces[1].containers.clear();
        survey.namespaces[1].other = Some((7, "<script>".to_owned()));
        let svg = file(&Picture::new(&survey));
        assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script"));
    }
}
