//! Paints progress on standard error: bars that move on a terminal, lines as they change elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use super::decide::Line;

const BAR_WIDTH: u64 = 50;
/// Longer lines would wrap, and the next painting would start in the wrong place.
const LINE_WIDTH: usize = 79;
/// The longest state, so that bars stand below each other.
const STATE_WIDTH: usize = 9;

/// Paints the lines of each look over those of the last.
#[derive(Debug)]
pub(crate) struct Painter {
    mode: Mode,
    /// Lines on the screen.
    painted: usize,
    /// What was said of each id, where nothing can be painted over.
    said: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Silent,
    Live,
    Plain,
}

impl Painter {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            mode: match (quiet, std::io::stderr().is_terminal()) {
                (true, _) => Mode::Silent,
                (false, true) => Mode::Live,
                (false, false) => Mode::Plain,
            },
            painted: 0,
            said: BTreeMap::new(),
        }
    }

    pub(crate) fn paint(&mut self, lines: &[Line]) {
        let text = match self.mode {
            Mode::Silent => return,
            Mode::Live => self.live(lines),
            Mode::Plain => self.plain(lines),
        };
        // Nobody need listen to talk.
        let mut err = std::io::stderr().lock();
        drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
    }

    fn live(&mut self, lines: &[Line]) -> String {
        let mut text = String::new();
        if self.painted > 0 {
            text.push_str(&format!("\x1b[{}A", self.painted));
        }
        for line in lines {
            text.push_str(&format!("\r\x1b[K{}\n", cut(&written(line))));
        }
        // Lines that are gone are wiped; the cursor ends below the last that is there.
        let gone = self.painted.saturating_sub(lines.len());
        if gone > 0 {
            text.push_str(&"\r\x1b[K\n".repeat(gone));
            text.push_str(&format!("\x1b[{gone}A"));
        }
        self.painted = lines.len();
        text
    }

    /// Only what changed, and no state of a single task that goes its way.
    fn plain(&mut self, lines: &[Line]) -> String {
        let mut text = String::new();
        for line in lines {
            if line.bar.is_some() || line.text.is_empty() {
                continue;
            }
            // A countdown is told once.
            let told = line.text.split(|next: char| next.is_ascii_digit()).next();
            let told = if line.id == "verify" {
                told.unwrap_or_default().to_owned()
            } else {
                line.text.clone()
            };
            if self.said.get(&line.id) != Some(&told) {
                text.push_str(&format!("{}: {}\n", line.id, line.text));
                self.said.insert(line.id.clone(), told);
            }
        }
        text
    }
}

fn written(line: &Line) -> String {
    match line.bar {
        None => format!("{}: {}", line.id, line.text),
        Some((reached, whole)) => {
            let filled = (BAR_WIDTH * reached / whole.max(1)).min(BAR_WIDTH);
            let width = usize::try_from(BAR_WIDTH).unwrap_or(0);
            let bar = match filled {
                0 => String::new(),
                filled => "=".repeat(usize::try_from(filled).unwrap_or(0) - 1) + ">",
            };
            format!("{}: {:STATE_WIDTH$} [{bar:width$}]", line.id, line.text)
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LINE_WIDTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, text: &str, bar: Option<(u64, u64)>) -> Line {
        Line {
            id: id.into(),
            text: text.into(),
            bar,
        }
    }

    fn painter(mode: Mode) -> Painter {
        Painter {
            mode,
            painted: 0,
            said: BTreeMap::new(),
        }
    }

    #[test]
    fn a_terminal_shows_each_task_with_a_bar_in_its_place() {
        let mut painter = painter(Mode::Live);
        let lines = [
            line("overall progress", "0 out of 1 tasks", None),
            line("1/1", "preparing", Some((6, 9))),
        ];
        let bar = format!("{}>{}", "=".repeat(32), " ".repeat(17));
        assert_eq!(
            painter.live(&lines),
            format!("\r\x1b[Koverall progress: 0 out of 1 tasks\n\r\x1b[K1/1: preparing [{bar}]\n")
        );
        assert_eq!(
            painter.live(&lines[..1]),
            "\x1b[2A\r\x1b[Koverall progress: 0 out of 1 tasks\n\r\x1b[K\n\x1b[1A"
        );
        let full = written(&line("1/1", "running", Some((9, 9))));
        assert_eq!(full, format!("1/1: running   [{}>]", "=".repeat(49)));
        assert_eq!(cut(&"x".repeat(200)).len(), LINE_WIDTH);
    }

    #[test]
    fn a_file_gets_each_change_once() {
        let mut painter = painter(Mode::Plain);
        let first = [
            line("overall progress", "0 out of 1 tasks", None),
            line("1/1", "preparing", Some((6, 9))),
            line("verify", "Waiting 5 seconds to verify", None),
        ];
        assert_eq!(
            painter.plain(&first),
            "overall progress: 0 out of 1 tasks\nverify: Waiting 5 seconds to verify\n"
        );
        let second = [
            line("overall progress", "0 out of 1 tasks", None),
            line("1/1", "no suitable node", None),
            line("verify", "Waiting 4 seconds to verify", None),
        ];
        assert_eq!(painter.plain(&second), "1/1: no suitable node\n");
        assert_eq!(
            painter.plain(&[line("verify", "Service web converged", None)]),
            "verify: Service web converged\n"
        );
    }
}
