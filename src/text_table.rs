//! Tables for people.

use crate::text::tidy;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};

/// Columns with what people copy: they are not broken into lines.
const COPIED: [&str; 2] = ["id", "link"];

/// "1 ask", "2 asks".
pub(crate) fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// How many characters a line of the terminal has. `None` where there is none: what reads a pipe wants whole lines.
pub(crate) fn width() -> Option<u16> {
    let stdout = std::io::stdout();
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    said.or_else(|| Some(terminal_size::terminal_size_of(stdout)?.0.0)).filter(|width| *width >= 40)
}

/// Without what could move a terminal's cursor, change its colours or reverse the text.
pub(crate) fn visible(cell: &str) -> String {
    cell.lines().map(|line| tidy(line, usize::MAX)).collect::<Vec<_>>().join("\n")
}

pub(crate) fn table<const N: usize>(
    header: &[&str; N],
    none: &str,
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return none.to_owned();
    }
    plain(header, rows)
}

/// A table without lines, as wide as its content or the terminal.
pub(crate) fn plain<const N: usize>(header: &[&str; N], rows: Vec<[String; N]>) -> String {
    self::rows(header, rows.into_iter().map(Vec::from).collect())
}

/// A table of any width: each row has as many cells as the header.
pub(crate) fn rows(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width() {
        table.set_width(width);
    }
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    for (column, name) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        if COPIED.contains(name) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}
