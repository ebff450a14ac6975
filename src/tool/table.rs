//! A table on standard output, laid out as Kafka's tools do: a blank line, a head line, columns to the left, each as
//! wide as its widest value and at least as its minimum.

use super::print::say;

pub(super) struct Table {
    columns: Vec<(&'static str, usize)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// `columns`: heading and least width; a width of 0 ends the line without padding.
    pub(super) fn new(columns: &[(&'static str, usize)]) -> Table {
        Table {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a value for each column.
    pub(super) fn row(&mut self, row: Vec<String>) {
        assert_eq!(
            row.len(),
            self.columns.len(),
            "a row has a value for each column"
        );
        self.rows.push(row);
    }

    pub(super) fn drop_column(&mut self, heading: &str) {
        let Some(at) = self.columns.iter().position(|(name, _)| *name == heading) else {
            return;
        };
        self.columns.remove(at);
        for row in &mut self.rows {
            row.remove(at);
        }
    }

    pub(super) fn print(&self) {
        for line in self.lines() {
            say!("{line}");
        }
    }

    fn lines(&self) -> Vec<String> {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, (_, least))| match least {
                0 => 0,
                least => self
                    .rows
                    .iter()
                    .map(|row| row[at].chars().count())
                    .max()
                    .unwrap_or(0)
                    .max(*least),
            })
            .collect();
        let line = |values: &mut dyn Iterator<Item = &str>| {
            let padded = values
                .zip(&widths)
                .map(|(value, width)| format!("{value:<width$}"));
            let line = padded.collect::<Vec<_>>().join(" ");
            // A line whose last column has a width ends in a space, as Kafka's formats do.
            if widths.last() == Some(&0) {
                line
            } else {
                line + " "
            }
        };
        let mut lines = vec![
            String::new(),
            line(&mut self.columns.iter().map(|(name, _)| *name)),
        ];
        lines.extend(
            self.rows
                .iter()
                .map(|row| line(&mut row.iter().map(String::as_str))),
        );
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_value() {
        let mut table = Table::new(&[("A", 3), ("B", 2), ("C", 0)]);
        table.row(["1", "long value", "x"].map(str::to_owned).to_vec());
        assert_eq!(table.lines(), ["", "A   B          C", "1   long value x"]);
        table.drop_column("B");
        assert_eq!(table.lines(), ["", "A   C", "1   x"]);
        table.drop_column("C");
        assert_eq!(table.lines(), ["", "A   ", "1   "]);
    }
}
