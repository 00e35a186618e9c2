//! Tables of text whose columns line up: Markdown, and columns for a terminal.

use std::fmt::Write as _;

/// Text that is neither markup nor a terminal's orders.
pub(crate) fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '|' | '*' | '`' | '<' => safe.extend(['\\', letter]),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

/// A table whose columns line up.
pub(crate) struct Table {
    heads: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns by name; those that begin with `<` are numbers and stand on the right.
    pub(crate) fn new(heads: &[&str]) -> Self {
        let right = heads.iter().map(|head| head.starts_with('<')).collect();
        Self {
            heads: heads.iter().map(|head| plain(head.trim_start_matches('<'))).collect(),
            right,
            rows: Vec::new(),
        }
    }

    /// One more row, as long as the heads are.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).chain(self.heads.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        (0..self.heads.len()).map(width).collect()
    }

    fn line(&self, cells: &[String], between: &str) -> String {
        let padded: Vec<String> = cells
            .iter()
            .zip(self.widths())
            .zip(&self.right)
            .map(
                |((cell, width), right)| {
                    if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                },
            )
            .collect();
        padded.join(between)
    }

    /// As Markdown.
    pub(crate) fn text(&self) -> String {
        let rule: Vec<String> = self
            .widths()
            .iter()
            .zip(&self.right)
            .map(
                |(width, right)| {
                    if *right { format!("{}:", "-".repeat(width - 1)) } else { "-".repeat(*width) }
                },
            )
            .collect();
        let mut text = format!("| {} |\n| {} |\n", self.line(&self.heads, " | "), rule.join(" | "));
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", self.line(row, " | "));
        }
        text
    }

    /// For a terminal: without rules, the names in capitals.
    pub(crate) fn columns(&self) -> String {
        let heads: Vec<String> = self.heads.iter().map(|head| head.to_uppercase()).collect();
        let lines = std::iter::once(self.line(&heads, "   "))
            .chain(self.rows.iter().map(|row| self.line(row, "   ")));
        lines.map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["name", "<value"]);
        assert!(table.is_empty());
        table.row(vec!["a".to_owned(), "1.0 \u{b5}s".to_owned()]);
        table.row(vec!["long name".to_owned(), "12".to_owned()]);
        let markdown = "| name      |  value |\n| --------- | -----: |\n| a         | 1.0 \u{b5}s |\n| long name |     12 |\n";
        assert_eq!(table.text(), markdown);
        assert_eq!(table.columns(), "NAME         VALUE\na           1.0 \u{b5}s\nlong name       12\n");
    }

    #[test]
    fn text_is_neither_markup_nor_orders() {
        assert_eq!(plain("a|b *c* <d> \u{1b}[1m"), "a\\|b \\*c\\* \\<d>  [1m");
    }
}
