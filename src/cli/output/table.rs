//! Columns: cells divided by tabs, padded so that they stand below each other.

const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Lines of cells divided by tabs into aligned text, one line each. The last cell of a line is
/// not padded.
pub(crate) fn align(lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split('\t').collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                // A line's last cell asks for no width of its own.
                .filter(|row| row.len() > column + 1)
                .map(|row| row[column].chars().count() + PADDING)
                .max()
                .unwrap_or(0)
                .max(MIN_WIDTH)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                let missing = widths[column].saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n(' ', missing));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_at_least_ten_wide_and_three_apart() {
        let lines = ["ID\tNAME\tX", "abcdefghijkl\tweb\té", "b\t\tlast"].map(str::to_owned);
        assert_eq!(
            align(&lines),
            "ID             NAME      X\n\
             abcdefghijkl   web       é\n\
             b                        last\n"
        );
    }
}
