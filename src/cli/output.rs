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

/// Says rows in columns between bars, the first row as a head in capitals.
pub fn say_barred_table(rows: &[Vec<String>]) {
    for line in barred_table(rows) {
        say(&line);
    }
}

/// Numbers stand to the right, words to the left, the head in the middle.
fn barred_table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let rule: Vec<_> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    let rule = format!("|{}|", rule.join("|"));
    let line = |index: usize, row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| match cell.parse::<u64>() {
            _ if index == 0 => format!(" {cell:^width$} "),
            Ok(_) => format!(" {cell:>width$} "),
            Err(_) => format!(" {cell:<width$} "),
        });
        format!("|{}|", cells.collect::<Vec<_>>().join("|"))
    };
    let mut lines = vec![rule.clone()];
    for (index, row) in rows.iter().enumerate() {
        lines.push(line(index, row));
        if index == 0 {
            lines.push(rule.clone());
        }
    }
    lines.push(rule);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_around_every_cell() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let lines = barred_table(&[row(["SHARD", "ROLE"]), row(["0", "MASTER"])]);
        let expected = [
            "|-------|--------|",
            "| SHARD |  ROLE  |",
            "|-------|--------|",
            "|     0 | MASTER |",
            "|-------|--------|",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = table(&[row(["ID", "ROLE", "URL"]), row(["1", "follower", ""])]);
        assert_eq!(lines, ["ID  ROLE      URL", "1   follower"]);
    }
}
