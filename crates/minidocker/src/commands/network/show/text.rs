//! The picture in characters: bridges run down as heavy lines, light cables branch off into boxes.

use super::picture::{Card, Picture, Row};

/// From one lane to the next.
const STEP: usize = 3;
/// The first lane's column.
const FIRST: usize = 2;
/// A box is not narrower, whatever the width.
const LEAST: usize = 30;
/// Nor wider: nobody reads lines of that length.
const MOST: usize = 100;

/// How a cell looks on a terminal with colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ink {
    Plain,
    Frame,
    Title,
    Bad,
    Lane(usize),
}

impl Ink {
    fn code(self) -> &'static str {
        const LANES: [&str; 6] = ["36", "33", "35", "32", "34", "31"];
        match self {
            Self::Plain => "0",
            Self::Frame => "2",
            Self::Title => "1",
            Self::Bad => "31",
            Self::Lane(lane) => LANES[lane % LANES.len()],
        }
    }
}

/// The picture in `width` columns.
pub(super) fn draw(picture: &Picture, width: usize, colours: bool) -> String {
    let plan = Plan::new(picture, width);
    let mut canvas = Canvas::default();
    plan.host(picture, &mut canvas);
    let mut hanging: Vec<usize> = (0..picture.lanes.len()).map(|lane| cables(&picture.cards, lane)).collect();
    for card in &picture.cards {
        plan.card(card, &mut hanging, &mut canvas);
    }
    canvas.text(colours)
}

/// How many cables hang on a lane.
fn cables(cards: &[Card], lane: usize) -> usize {
    cards.iter().flat_map(Card::lanes).filter(|one| *one == lane).count()
}

/// Where things are.
struct Plan {
    step: usize,
    /// The first column of boxes, and how wide they are.
    left: usize,
    wide: usize,
}

impl Plan {
    fn new(picture: &Picture, width: usize) -> Self {
        let lanes = picture.lanes.len();
        let step = if lanes * STEP > width / 3 { 1 } else { STEP };
        let labels = picture.cards.iter().flat_map(|card| &card.rows).filter_map(|row| row.cable.as_ref());
        let label = labels.map(|cable| cable.label.chars().count() + 4).max().unwrap_or(0);
        let left = if label == 0 { 0 } else { FIRST + lanes.saturating_sub(1) * step + 1 + label };
        let room = width.saturating_sub(left).clamp(LEAST, MOST);
        let natural = |card: &Card| {
            let rows = card.rows.iter().map(|row| length(&row.words) + 4);
            rows.chain([card.title.chars().count() + card.note.chars().count() + 8]).max().unwrap_or(0)
        };
        let widest = picture.cards.iter().map(natural).max().unwrap_or(0);
        let host = picture.host.iter().map(|row| length(&row.words) + 4);
        let bridges = picture.lanes.iter().map(|lane| length(&lane.row.words) + lanes * step + 8);
        let head = host.chain(bridges).max().unwrap_or(0).min(width);
        Self { step, left, wide: widest.clamp(LEAST, room).max(head.saturating_sub(left).min(room)) }
    }

    fn lane(&self, lane: usize) -> usize {
        FIRST + lane * self.step
    }

    fn host(&self, picture: &Picture, canvas: &mut Canvas) {
        let wide = self.left + self.wide;
        canvas.top(0, wide, "host", "");
        for row in &picture.host {
            for line in wrapped(row, wide - 4) {
                canvas.line();
                canvas.sides(0, wide);
                canvas.row(2, row, &line);
            }
        }
        if !picture.lanes.is_empty() {
            canvas.line();
            canvas.sides(0, wide);
        }
        for (number, lane) in picture.lanes.iter().enumerate() {
            let at = self.lane(number);
            for (n, line) in wrapped(&lane.row, wide.saturating_sub(at + 6).max(10)).iter().enumerate() {
                canvas.line();
                canvas.sides(0, wide);
                let upper = if n == 0 { number } else { number + 1 };
                (0..upper).filter(|upper| picture.lanes[*upper].used).for_each(|upper| {
                    canvas.put(self.lane(upper), "┃", Ink::Lane(upper));
                });
                if n == 0 {
                    canvas.put(at, if lane.used { "┏━" } else { "╺━" }, Ink::Lane(number));
                }
                canvas.row(at + 3, &lane.row, line);
            }
        }
        canvas.bottom(0, wide);
        for (number, _) in picture.lanes.iter().enumerate().filter(|(_, lane)| lane.used) {
            canvas.put(self.lane(number), "╂", Ink::Lane(number));
        }
    }

    fn card(&self, card: &Card, hanging: &mut [usize], canvas: &mut Canvas) {
        // Lanes that go on run past the box.
        let pass = |canvas: &mut Canvas, hanging: &[usize]| {
            for (lane, _) in hanging.iter().enumerate().filter(|(_, cables)| **cables > 0) {
                canvas.put(self.lane(lane), "┃", Ink::Lane(lane));
            }
        };
        canvas.top(self.left, self.wide, &card.title, &card.note);
        pass(canvas, hanging);
        for row in &card.rows {
            for (n, line) in wrapped(row, self.wide - 4).into_iter().enumerate() {
                canvas.line();
                canvas.sides(self.left, self.wide);
                pass(canvas, hanging);
                if let Some(cable) = row.cable.as_ref().filter(|_| n == 0) {
                    hanging[cable.lane] -= 1;
                    let ends = hanging[cable.lane] == 0;
                    self.cable(cable.lane, &cable.label, ends, hanging, canvas);
                }
                canvas.row(self.left + 2, row, &line);
            }
        }
        canvas.bottom(self.left, self.wide);
        pass(canvas, hanging);
    }

    /// From the lane to the box, over the lanes in between.
    fn cable(&self, lane: usize, label: &str, ends: bool, hanging: &[usize], canvas: &mut Canvas) {
        let (from, last) = (self.lane(lane), self.lane(hanging.len() - 1));
        for column in from + 1..self.left {
            canvas.put(column, "─", Ink::Lane(lane));
        }
        canvas.put(from, if ends { "┖" } else { "┠" }, Ink::Lane(lane));
        for (other, _) in hanging.iter().enumerate().filter(|(other, cables)| *other > lane && **cables > 0) {
            canvas.put(self.lane(other), "╂", Ink::Lane(other));
        }
        canvas.put(last + 2, &format!(" {label} "), Ink::Plain);
        canvas.put(self.left, "┤", Ink::Frame);
    }
}

/// How long words are, with two spaces between them.
fn length(words: &[String]) -> usize {
    words.iter().map(|word| word.chars().count() + 2).sum::<usize>().saturating_sub(2)
}

/// The words in lines of at most `width`; those after the first are set in. One that is too long for any line is cut.
pub(super) fn wrapped(row: &Row, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in &row.words {
        let indent = if lines.len() > 1 || !lines[0].is_empty() { 2 } else { 0 };
        let word = if word.chars().count() + indent > width {
            word.chars().take(width.saturating_sub(indent + 1)).chain(['…']).collect()
        } else {
            word.clone()
        };
        let Some(line) = lines.last_mut() else { break };
        let used = line.chars().count();
        if used == 0 {
            *line += &word;
        } else if used + 2 + word.chars().count() <= width {
            *line += "  ";
            *line += &word;
        } else {
            lines.push(format!("  {word}"));
        }
    }
    lines
}

/// Lines of cells.
#[derive(Default)]
struct Canvas(Vec<Vec<(char, Ink)>>);

impl Canvas {
    fn line(&mut self) {
        self.0.push(Vec::new());
    }

    fn put(&mut self, column: usize, text: &str, ink: Ink) {
        let Some(line) = self.0.last_mut() else { return };
        let count = text.chars().count();
        if line.len() < column + count {
            line.resize(column + count, (' ', Ink::Plain));
        }
        for (cell, letter) in line[column..].iter_mut().zip(text.chars()) {
            *cell = (letter, ink);
        }
    }

    fn top(&mut self, left: usize, wide: usize, title: &str, note: &str) {
        self.line();
        self.put(left, &format!("┌{}┐", "─".repeat(wide - 2)), Ink::Frame);
        let fit = |text: &str, room: usize| match text.chars().count() {
            count if count > room => text.chars().take(room.saturating_sub(1)).chain(['…']).collect(),
            _ => text.to_owned(),
        };
        let room = wide - 6;
        let note = fit(note, room / 2);
        let title = fit(title, room - note.chars().count().min(room) - 2);
        self.put(left + 2, &format!(" {title} "), Ink::Title);
        if !note.is_empty() {
            let count = note.chars().count();
            self.put(left + wide - count - 4, &format!(" {note} "), Ink::Frame);
        }
    }

    fn sides(&mut self, left: usize, wide: usize) {
        self.put(left, "│", Ink::Frame);
        self.put(left + wide - 1, "│", Ink::Frame);
    }

    fn bottom(&mut self, left: usize, wide: usize) {
        self.line();
        self.put(left, &format!("└{}┘", "─".repeat(wide - 2)), Ink::Frame);
    }

    /// A line of a row; what it is about stands out.
    fn row(&mut self, column: usize, row: &Row, line: &str) {
        self.put(column, line, if row.bad { Ink::Bad } else { Ink::Plain });
        if let Some(first) = row.words.first().filter(|first| row.named && line.starts_with(first.as_str())) {
            self.put(column, first, Ink::Title);
        }
    }

    fn text(&self, colours: bool) -> String {
        let mut text = String::new();
        for line in &self.0 {
            let mut last = Ink::Plain;
            for (letter, ink) in line {
                if colours && *ink != last && *letter != ' ' {
                    text += &format!("\x1b[0;{}m", ink.code());
                    last = *ink;
                }
                text.push(*letter);
            }
            text.truncate(text.trim_end_matches(' ').len());
            if last != Ink::Plain {
                text += "\x1b[0m";
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::survey;
    use super::*;

    #[test]
    fn two_bridges_in_eighty_columns() {
        let text = draw(&Picture::new(&survey()), 80, false);
        let expected = "\
┌─ host ───────────────────────────────────────────────────────────────────────┐
│ eth0  192.0.2.7/24  via 172.30.0.1                                           │
│ down: ifb0                                                                   │
│ table inet minidocker  8 rules in 2 chains  4 published ports                │
│ *:9000 → 172.30.0.9:90/tcp, where nobody is                                  │
│                                                                              │
│ ┏━ minidocker0  bridge  172.30.0.1/16  carries 100mbit                       │
│ ┃  ┏━ front  bridge  10.89.0.1/24  fd00::1/64                                │
└─╂──╂─────────────────────────────────────────────────────────────────────────┘
  ┃  ┃                 ┌─ web ────────────────────────────────── 0123456789ab ─┐
  ┠──╂─ md0123456789a ─┤ eth0  172.30.0.2/16  via 172.30.0.1  in 10mbit        │
  ┃  ┃                 │   share 20mbit                                        │
  ┃  ┃                 │ *:8080-8081 → 80-81/tcp                               │
  ┃  ┃                 └───────────────────────────────────────────────────────┘
  ┃  ┃                 ┌─ db ─────────────────────────────────── 0123456789ab ─┐
  ┖──╂─ md1111111111a ─┤ eth0  172.30.0.3/16  via 172.30.0.1                   │
     ┃                 │ *:5432 → 5432/tcp                                     │
     ┖─ md1111111111b ─┤ eth1  10.89.0.2/24  fd00::2/64                        │
                       └───────────────────────────────────────────────────────┘
                       ┌─ one, two ──────────────────── 2 containers share it ─┐
                       │ loopback alone                                        │
                       └───────────────────────────────────────────────────────┘
";
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn every_line_fits_and_every_box_is_closed() {
        for width in [40, 60, 80, 100, 132, 200] {
            let text = draw(&Picture::new(&survey()), width, false);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            // Lanes, labels and the narrowest box.
            assert!(widest <= width.max(FIRST + STEP + 18 + LEAST), "{width}:\n{text}");
            let count = |letter| text.matches(letter).count();
            assert_eq!((count('┌'), count('└')), (4, 4), "{text}");
            assert_eq!(count('┖'), 2, "each lane ends at its last cable:\n{text}");
        }
    }

    #[test]
    fn colours_change_no_letter() {
        let picture = Picture::new(&survey());
        let (plain, coloured) = (draw(&picture, 80, false), draw(&picture, 80, true));
        let mut bare = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            bare += before;
            rest = after.split_once('m').unwrap().1;
        }
        assert_eq!(bare + rest, plain);
    }

    #[test]
    fn long_words_are_cut_and_lines_set_in() {
        let row = |words: &[&str]| Row {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Row::default()
        };
        assert_eq!(
            wrapped(&row(&["eth0", "10.0.0.1/8", "via 10.0.0.2"]), 18),
            ["eth0  10.0.0.1/8", "  via 10.0.0.2"]
        );
        assert_eq!(wrapped(&row(&["x", "abcdefghij"]), 8), ["x", "  abcde…"]);
    }
}
