//! What the program says on its standard streams: lines, tables, JSON.

use std::io::{self, Write};

use serde::Serialize;

/// Says a line on standard output. A reader that went away is no error.
pub fn say(line: &str) {
    drop(writeln!(io::stdout().lock(), "{line}"));
}

/// Says a line on standard error.
pub fn complain(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Says a value as JSON.
///
/// # Errors
/// If the value does not encode.
pub fn say_json<T: Serialize>(value: &T) -> serde_json::Result<()> {
    say(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Says rows in columns; the first row is the head.
pub fn say_table(rows: &[Vec<String>]) {
    for line in table(rows) {
        say(&line);
    }
}

fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = table(&[row(["ID", "ROLE", "URL"]), row(["1", "follower", ""])]);
        assert_eq!(lines, ["ID  ROLE      URL", "1   follower"]);
    }
}
