//! An order in which `web.2` comes before `web.10`.

use std::cmp::Ordering;

/// Compares runs of digits by their value and everything else byte by byte.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        match (left, right) {
            ([], []) => return Ordering::Equal,
            ([], _) => return Ordering::Less,
            (_, []) => return Ordering::Greater,
            ([a, ..], [b, ..]) if a.is_ascii_digit() && b.is_ascii_digit() => {
                let (left_run, right_run) = (digits(left), digits(right));
                let order = left_run
                    .len()
                    .cmp(&right_run.len())
                    .then_with(|| left_run.cmp(right_run));
                if order.is_ne() {
                    return order;
                }
                left = after_digits(left);
                right = after_digits(right);
            }
            ([a, left_rest @ ..], [b, right_rest @ ..]) => {
                if a != b {
                    return a.cmp(b);
                }
                left = left_rest;
                right = right_rest;
            }
        }
    }
}

/// The leading digits without leading zeros.
fn digits(text: &[u8]) -> &[u8] {
    let run = &text[..text.len() - after_digits(text).len()];
    let zeros = run.iter().take_while(|byte| **byte == b'0').count();
    &run[zeros..]
}

fn after_digits(text: &[u8]) -> &[u8] {
    let run = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    &text[run..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_inside_names_count_as_numbers() {
        let mut names = ["web.10", "web.2", "app", "web.1", "web", "db10", "db9"];
        names.sort_by(|left, right| compare(left, right));
        assert_eq!(
            names,
            ["app", "db9", "db10", "web", "web.1", "web.2", "web.10"]
        );
    }
}
