//! The screen as a drawing: a line of sums, the list, one container closer, a line of keys. Pure but for the clock.

use std::time::SystemTime;

use engine::ops::list::{Health, State, Summary};
use engine::ops::stats::{Seen, Usage};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Margin, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph, Sparkline};

use super::view::{Asking, History, View};
use crate::ages;
use crate::terminal::plain;
use crate::values::sizes::{binary, decimal};

/// Colours where they are wanted (<https://no-color.org>): few, and what they say is in words too.
fn hue(colour: Color) -> Style {
    if crate::terminal::coloured() { Style::new().fg(colour) } else { Style::new() }
}

fn quiet() -> Style {
    hue(Color::DarkGray)
}

fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let area = frame.area();
    let closer = match area.height {
        0..16 => 0,
        16..30 => 10,
        30..44 => 14,
        _ => 18,
    };
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(closer),
        Constraint::Length(1),
    ]);
    let [top, middle, below, bottom] = rows.areas(area);
    sums(frame, top, view);
    list(frame, middle, view);
    if closer > 0 {
        one(frame, below, view);
    }
    footer(frame, bottom, view);
    match &view.asking {
        Some(Asking::Help) => help(frame, area),
        Some(Asking::Sure(what, _, name)) => sure(frame, area, what, name),
        Some(Asking::Filter(_)) | None => {}
    }
}

fn sums(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let (running, paused, others) = view.counts();
    let (cpu, memory) = view.sums();
    let dot = || Span::styled("  ·  ", quiet());
    let mut words = vec![Span::styled(" minidocker ", strong()), Span::raw(" ")];
    words.push(Span::styled(format!("{running} running"), hue(Color::Green)));
    if paused > 0 {
        words.extend([dot(), Span::styled(format!("{paused} paused"), hue(Color::Yellow))]);
    }
    if others > 0 {
        words.extend([dot(), Span::styled(format!("{others} not running"), quiet())]);
    }
    words.extend([dot(), Span::raw(format!("cpu {}", percent(cpu)))]);
    words.extend([dot(), Span::raw(format!("memory {}", binary(memory)))]);
    frame.render_widget(Paragraph::new(Line::from(words)), area);
    if area.width < 100 {
        return;
    }
    let order = format!("by {} ", view.sort.name());
    frame.render_widget(Paragraph::new(order).style(quiet()).alignment(Alignment::Right), area);
}

/// Hundredths of a percent.
fn percent(hundredths: u64) -> String {
    format!("{}.{}%", hundredths / 100, hundredths % 100 / 10)
}

/// A column: its heading, its width, whether it stands at the right.
type Column = (&'static str, u16, bool);

/// The columns that fit, the name's among them with what is left.
fn columns(width: u16) -> Vec<Column> {
    let mut all: Vec<Column> = vec![("NAME", 0, false), ("STATE", 11, false), ("CPU", 7, true)];
    if width >= 90 {
        all.push(("", 12, false));
    }
    all.push(("MEMORY", 10, true));
    if width >= 100 {
        all.push(("LIMIT", 10, true));
    }
    if width >= 60 {
        all.extend([("NET ↓/s", 9, true), ("NET ↑/s", 9, true)]);
    }
    if width >= 112 {
        all.push(("DISK/s", 9, true));
    }
    if width >= 70 {
        all.push(("PIDS", 5, true));
    }
    let taken: u16 = all.iter().map(|(_, width, _)| width + 1).sum();
    all[0].1 = width.saturating_sub(taken + 1).clamp(8, 40);
    if width >= 120 {
        let rest = width.saturating_sub(all.iter().map(|(_, width, _)| width + 1).sum::<u16>() + 2);
        all.push(("IMAGE", rest.min(40), false));
    }
    all
}

fn list(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(quiet());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let columns = columns(inside.width);
    let mut x = inside.x + 1;
    for (heading, width, right) in &columns {
        let cell = Rect { x, y: inside.y, width: *width, height: 1 }.intersection(inside);
        frame.render_widget(Paragraph::new(*heading).style(quiet()).alignment(side(*right)), cell);
        x += width + 1;
    }
    let shown = view.shown();
    let rows = usize::from(inside.height.saturating_sub(1));
    if shown.is_empty() {
        let why = if view.filter.is_empty() {
            "no containers: minidocker run -d …"
        } else {
            "nothing by that name"
        };
        let line = Rect { y: inside.y + 1, height: 1, ..inside }.intersection(inside);
        frame.render_widget(Paragraph::new(why).style(quiet()).alignment(Alignment::Center), line);
        return;
    }
    let place = view.place();
    // The chosen one stands in the middle of a list that is longer than the screen.
    let first = place.saturating_sub(rows / 2).min(shown.len().saturating_sub(rows));
    for (number, one) in shown.iter().enumerate().skip(first).take(rows) {
        let line = Rect { y: inside.y + 1 + (number - first) as u16, height: 1, ..inside };
        row(frame, line, &columns, one, view.history(one), number == place);
    }
    if shown.len() > rows {
        let more = format!(" {}–{} of {} ", first + 1, (first + rows).min(shown.len()), shown.len());
        let line = Rect { y: area.bottom() - 1, height: 1, ..area }.inner(Margin::new(2, 0));
        frame.render_widget(Paragraph::new(more).style(quiet()).alignment(Alignment::Right), line);
    }
}

fn side(right: bool) -> Alignment {
    if right { Alignment::Right } else { Alignment::Left }
}

fn row(
    frame: &mut Frame<'_>,
    line: Rect,
    columns: &[Column],
    one: &Seen,
    history: Option<&History>,
    chosen: bool,
) {
    let (word, style) = state(&one.summary);
    let (cpu, received, sent, disk) = history.map(History::now).unwrap_or_default();
    let usage = one.usage.as_ref();
    let or_none = |text: Option<String>| text.unwrap_or_default();
    let rate = |bytes: u64| or_none(usage.map(|_| if bytes == 0 { "·".to_owned() } else { decimal(bytes) }));
    let mut x = line.x + 1;
    for (heading, width, right) in columns {
        let cell = Rect { x, y: line.y, width: *width, height: 1 }.intersection(line);
        x += width + 1;
        let (text, style) = match *heading {
            "NAME" => (plain(&one.summary.name).into_owned(), if chosen { strong() } else { Style::new() }),
            "STATE" => (word.clone(), style),
            "CPU" => (or_none(usage.map(|_| percent(cpu))), load(cpu)),
            "MEMORY" => (or_none(usage.map(|usage| binary(usage.memory))), full(usage)),
            "LIMIT" => (or_none(usage.map(|usage| binary(usage.memory_limit))), quiet()),
            "NET ↓/s" => (rate(received), Style::new()),
            "NET ↑/s" => (rate(sent), Style::new()),
            "DISK/s" => (rate(disk), Style::new()),
            "PIDS" => (or_none(usage.map(|usage| usage.pids.to_string())), Style::new()),
            "IMAGE" => (plain(&one.summary.image).into_owned(), quiet()),
            _ => {
                if let Some(history) = history {
                    graph(frame, cell, history.cpu.iter().copied(), 10_000, hue(Color::Cyan));
                }
                continue;
            }
        };
        let style = if usage.is_none() && *heading != "STATE" && !chosen { quiet() } else { style };
        frame.render_widget(Paragraph::new(text).style(style).alignment(side(*right)), cell);
    }
    if chosen {
        let mark = Rect { width: 1, ..line };
        frame.render_widget(Paragraph::new("▌").style(hue(Color::Cyan)), mark);
        frame.buffer_mut().set_style(line, strong());
    }
}

/// The state's word and its colour; of one that runs and is looked after, its health.
fn state(summary: &Summary) -> (String, Style) {
    match (&summary.state, summary.health) {
        (State::Running(..), Some(Health::Healthy)) => ("healthy".to_owned(), hue(Color::Green)),
        (State::Running(..), Some(Health::Unhealthy)) => ("unhealthy".to_owned(), hue(Color::Red)),
        (State::Running(..), Some(Health::Starting)) => ("starting".to_owned(), hue(Color::Yellow)),
        (state, _) => alone(state),
    }
}

fn alone(state: &State) -> (String, Style) {
    match state {
        State::Running(..) => ("running".to_owned(), hue(Color::Green)),
        State::Paused(..) => ("paused".to_owned(), hue(Color::Yellow)),
        State::Restarting(..) => ("restarting".to_owned(), hue(Color::Yellow)),
        State::Created => ("created".to_owned(), quiet()),
        State::Exited(_, 0) => ("exited".to_owned(), quiet()),
        State::Exited(_, code) => (format!("exited {code}"), hue(Color::Red)),
        State::Lost => ("lost".to_owned(), hue(Color::Red)),
        State::Damaged(_) => ("damaged".to_owned(), hue(Color::Red)),
    }
}

/// Hundredths of a percent of one processor: one that is fully used is worth a look.
fn load(cpu: u64) -> Style {
    if cpu >= 9000 { hue(Color::Yellow) } else { Style::new() }
}

fn full(usage: Option<&Usage>) -> Style {
    match usage.map(Usage::memory_percent) {
        Some(percent) if percent >= 90.0 => hue(Color::Red),
        Some(percent) if percent >= 75.0 => hue(Color::Yellow),
        _ => Style::new(),
    }
}

/// The latest values at the right edge; `least` is what the height stands for where all are smaller.
fn graph(
    frame: &mut Frame<'_>,
    area: Rect,
    values: impl DoubleEndedIterator<Item = u64>,
    least: u64,
    style: Style,
) {
    let mut latest: Vec<u64> = values.rev().take(usize::from(area.width)).collect();
    latest.resize(usize::from(area.width), 0);
    latest.reverse();
    let most = latest.iter().copied().max().unwrap_or(0).max(least).max(1);
    frame.render_widget(Sparkline::default().data(latest).max(most).style(style), area);
}

/// The chosen container closer: who it is, how its use went, its processes.
fn one(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(quiet());
    let Some(chosen) = view.chosen() else { return frame.render_widget(block, area) };
    let summary = &chosen.summary;
    let now = SystemTime::now();
    let since = match &summary.state {
        State::Running(since, _) | State::Paused(since, _) => {
            format!("up {}", ages::words(ages::since(*since, now)))
        }
        State::Exited(at, _) => format!("ended {} ago", ages::words(ages::since(*at, now))),
        _ => state(summary).0,
    };
    let mut title = vec![
        Span::styled(format!(" {} ", plain(&summary.name)), strong()),
        Span::styled(format!(" {} ", summary.id.get(..12).unwrap_or_default()), quiet()),
        Span::styled(format!(" {} ", since.to_lowercase()), quiet()),
    ];
    if let Some(address) = summary.addresses.first() {
        title.push(Span::styled(format!(" {address} "), quiet()));
    }
    let block = block.title(Line::from(title));
    let inside = block.inner(area).inner(Margin::new(1, 0));
    frame.render_widget(block, area);
    let (Some(usage), Some(history)) = (&chosen.usage, view.history(chosen)) else {
        let words = format!("{}\n{}", plain(&summary.image), plain(&summary.command.join(" ")));
        return frame.render_widget(Paragraph::new(words).style(quiet()), inside);
    };
    let [graphs, gap, list] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Length(2), Constraint::Fill(1)])
            .areas(inside);
    let _ = gap;
    graphs_of(frame, graphs, usage, history);
    processes(frame, list, view);
}

fn graphs_of(frame: &mut Frame<'_>, area: Rect, usage: &Usage, history: &History) {
    let (cpu, received, sent, disk) = history.now();
    let memory = format!("{} of {}", binary(usage.memory), binary(usage.memory_limit));
    let rate = |bytes: u64| format!("{}/s", decimal(bytes));
    let mut all: Vec<(&str, String, Vec<u64>, u64, Color)> = vec![
        ("cpu", percent(cpu), history.cpu.iter().copied().collect(), 10_000, Color::Cyan),
        ("memory", memory, history.memory.iter().copied().collect(), usage.memory_limit, Color::Magenta),
        ("net ↓", rate(received), history.received.iter().copied().collect(), 1000, Color::Green),
        ("net ↑", rate(sent), history.sent.iter().copied().collect(), 1000, Color::Blue),
    ];
    if area.height >= 10 {
        all.push(("disk", rate(disk), history.disk.iter().copied().collect(), 1000, Color::Yellow));
    }
    // What would be a flat line of a large limit is told by its own scale.
    let peak = history.memory.iter().copied().max().unwrap_or(0);
    if peak < usage.memory_limit / 8 {
        all[1].3 = peak * 2;
    }
    let rows = Layout::vertical(all.iter().map(|_| Constraint::Fill(1))).split(area);
    for ((name, value, values, least, colour), row) in all.into_iter().zip(rows.iter()) {
        let [words, graphed] =
            Layout::horizontal([Constraint::Length(area.width.min(20)), Constraint::Fill(1)]).areas(*row);
        let text = vec![Line::styled(name, quiet()), Line::raw(value.clone())];
        let text = if row.height > 1 {
            text
        } else {
            vec![Line::from(vec![Span::styled(format!("{name:7}"), quiet()), Span::raw(value)])]
        };
        frame.render_widget(Paragraph::new(text), words);
        // A line of nothing between two graphs, where there is room.
        let height = if row.height > 2 { row.height - 1 } else { row.height };
        graph(frame, Rect { height, ..graphed }, values.into_iter(), least, hue(colour));
    }
}

fn processes(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let all = view.processes();
    let heading = format!("{:>8} {:>6} {:>9}  PROCESS", "PID", "CPU", "MEMORY");
    let mut lines = vec![Line::styled(heading, quiet())];
    let room = usize::from(area.height.saturating_sub(1));
    let shown = if all.len() > room { room.saturating_sub(1) } else { all.len() };
    for (process, share) in all.iter().take(shown) {
        let numbers = format!("{:>8} {:>5.1}% {:>9}  ", process.pid, share, binary(process.memory));
        lines.push(Line::from(vec![Span::raw(numbers), Span::raw(plain(&process.command).into_owned())]));
    }
    if shown < all.len() {
        lines.push(Line::styled(format!("{:>8} more", all.len() - shown), quiet()));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Keys, or what there is to tell.
fn footer(frame: &mut Frame<'_>, area: Rect, view: &View) {
    if let Some(Asking::Filter(_)) = view.asking {
        let words =
            vec![Span::styled(" filter: ", hue(Color::Cyan)), Span::raw(view.filter.clone()), Span::raw("▏")];
        return frame.render_widget(Paragraph::new(Line::from(words)), area);
    }
    if let Some(note) = &view.note {
        return frame.render_widget(Paragraph::new(format!(" {note}")).style(hue(Color::Yellow)), area);
    }
    let keys = [
        ("↑↓", "choose"),
        ("enter", "shell"),
        ("l", "log"),
        ("s", "stop"),
        ("p", "pause"),
        ("r", "restart"),
        ("K", "kill"),
        ("/", "filter"),
        ("o", "sort"),
        ("?", "help"),
        ("q", "quit"),
    ];
    let mut words = vec![Span::raw(" ")];
    // On a narrow screen without what can be guessed.
    let narrow = area.width < 100;
    for (key, what) in keys.into_iter().filter(|(_, what)| !narrow || !matches!(*what, "choose" | "sort")) {
        words.extend([Span::styled(key, strong()), Span::styled(format!(" {what} "), quiet())]);
    }
    if !view.filter.is_empty() {
        words.push(Span::styled(format!("  only {} (esc: all)", view.filter), hue(Color::Cyan)));
    }
    frame.render_widget(Paragraph::new(Line::from(words)), area);
}

/// A place in the middle, as large as asked for where the screen is.
fn popup(frame: &mut Frame<'_>, area: Rect, width: u16, height: u16, title: &'static str) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let block =
        Block::bordered().border_type(BorderType::Rounded).border_style(hue(Color::Cyan)).title(title);
    let inside = block.inner(place).inner(Margin::new(1, 0));
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    inside
}

fn sure(frame: &mut Frame<'_>, area: Rect, what: &str, name: &str) {
    let words = format!("{what} {}?", plain(name));
    let width = words.chars().count().max(24) as u16 + 6;
    let inside = popup(frame, area, width, 5, "");
    let lines = vec![
        Line::styled(words, strong()),
        Line::raw(""),
        Line::from(vec![Span::styled("y", strong()), Span::styled(" yes   any other key: no", quiet())]),
    ];
    frame.render_widget(Paragraph::new(lines), inside);
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let keys = [
        ("↑ ↓  j k", "choose; page up and down, home, end"),
        ("enter  e", "a shell in the container"),
        ("l", "its log; ctrl-c comes back"),
        ("s  r  K", "stop, restart, kill it"),
        ("S", "start it"),
        ("p", "pause it, and let it run on"),
        ("/", "show those with this in name or image; esc: all"),
        ("a", "hide those that do not run"),
        ("o", "sort by newest, name, cpu, memory, network"),
        ("q", "leave; containers go on"),
    ];
    let inside = popup(frame, area, 68, keys.len() as u16 + 4, " keys ");
    let mut lines = vec![Line::raw("")];
    lines.extend(keys.iter().map(|(key, what)| {
        Line::from(vec![Span::styled(format!("{key:>9}   "), strong()), Span::raw(*what)])
    }));
    frame.render_widget(Paragraph::new(lines), inside);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::view::tests::view;
    use super::*;

    fn drawn(view: &mut View, columns: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y| (0..columns).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..rows).map(line).collect()
    }

    #[test]
    fn everything_is_there_at_the_smallest_usual_size() {
        let mut view = view();
        view.choose(2);
        let lines = drawn(&mut view, 80, 24);
        assert!(lines[0].contains("2 running") && lines[0].contains("cpu 50.0%"), "{}", lines[0]);
        let row = lines.iter().find(|line| line.contains("▌a ")).expect("the chosen one");
        for word in ["running", "50.0%", "1MiB", "500kB"] {
            assert!(row.contains(word), "{word} in {row}");
        }
        assert!(lines.iter().any(|line| line.contains("exited 3")));
        assert!(lines.iter().any(|line| line.contains("PID") && line.contains("PROCESS")));
        assert!(lines[23].contains("q quit"), "{}", lines[23]);
    }

    #[test]
    fn no_size_is_too_small_or_too_large() {
        for (columns, rows) in [(1, 1), (3, 2), (20, 5), (40, 12), (79, 17), (200, 60), (500, 4)] {
            let mut view = view();
            drawn(&mut view, columns, rows);
            view.asking = Some(Asking::Help);
            drawn(&mut view, columns, rows);
            view.asking = Some(Asking::Sure("stop", "a".into(), "a".repeat(300)));
            drawn(&mut view, columns, rows);
            drawn(&mut View::default(), columns, rows);
        }
    }
}
