//! Tables on a terminal: columns as wide as they need, and no wider than the screen.

use std::io::IsTerminal;

use anstyle::Style;

use crate::say;

/// A text, and how it looks.
pub(crate) type Cell = (String, Style);

/// A line of a table.
pub(crate) type Row<const N: usize> = [Cell; N];

/// A text as it is.
pub(crate) fn plain(text: impl Into<String>) -> Cell {
    (text.into(), Style::new())
}

/// Columns and lines of the terminal that the result goes to, if it does.
pub(crate) fn terminal() -> Option<(usize, usize)> {
    let size = std::io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
    size.map(|(width, height)| (width.0.into(), height.0.into()))
}

/// Rows under their heads. Where a width is given, the last column is cut to it.
pub(crate) fn lines<const N: usize>(columns: &[&str; N], rows: &[Row<N>], width: Option<usize>) -> Vec<String> {
    let head = columns.map(|title| (title.to_owned(), say::HEAD));
    let all = || std::iter::once(&head).chain(rows);
    let widths: Vec<usize> = (0..N).map(|i| all().map(|row| row[i].0.chars().count()).max().unwrap_or(0)).collect();
    let before_last: usize = widths.iter().take(N.saturating_sub(1)).map(|width| width + 2).sum();
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(before_last));
    let line = |row: &Row<N>| {
        let last = row.iter().rposition(|(text, _)| !text.is_empty()).unwrap_or(0);
        let cells = row.iter().zip(&widths).take(last + 1).enumerate().map(|(i, ((text, style), width))| {
            let padding = if i == last { 0 } else { width - text.chars().count() };
            let text = if i + 1 == N { cut(text, room) } else { text.clone() };
            format!("{}{}", say::styled(*style, text), " ".repeat(padding))
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    all().map(line).collect()
}

/// No more characters than this, the last of them saying that there were more.
fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.into();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_wide_is_cut_at_its_end() {
        let rows = [[plain("a"), plain("a long sentence")], [plain("bbb"), plain("")]];
        let shown = |width| {
            let text = lines(&["X", "WHY"], &rows, width).join("|");
            anstream::adapter::strip_str(&text).to_string()
        };
        assert_eq!(shown(None), "X    WHY|a    a long sentence|bbb");
        assert_eq!(shown(Some(12)), "X    WHY|a    a long…|bbb");
    }
}
