//! What a program prints for the person who started it: facts on standard output, progress on standard error. On a
//! terminal progress is a bar; in a pipe it is a few lines. Logs are elsewhere.

use std::{
    io::{IsTerminal as _, Write},
    sync::{Arc, Mutex, PoisonError},
};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use thinking::shown::one_line;

/// Anything smaller is done before progress is worth a line.
const QUICK_BYTES: u64 = 8 << 20;

/// Where a node or a download prints for people. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    facts: Arc<Mutex<dyn Write + Send>>,
    notes: Arc<Mutex<dyn Write + Send>>,
    bars: bool,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("bars", &self.bars).finish_non_exhaustive()
    }
}

impl Console {
    /// Prints to standard output and standard error.
    pub fn stdio() -> Console {
        Console {
            facts: Arc::new(Mutex::new(std::io::stdout())),
            notes: Arc::new(Mutex::new(std::io::stderr())),
            bars: std::io::stderr().is_terminal(),
        }
    }

    /// Prints nothing; for a node inside another program.
    pub fn silent() -> Console {
        Console::new(std::io::sink(), std::io::sink())
    }

    /// Prints facts and notes to these, and progress as lines among the notes.
    pub fn new(facts: impl Write + Send + 'static, notes: impl Write + Send + 'static) -> Console {
        Console {
            facts: Arc::new(Mutex::new(facts)),
            notes: Arc::new(Mutex::new(notes)),
            bars: false,
        }
    }

    /// Prints one line that a script may read.
    pub fn fact(&self, line: &str) {
        write_line(&self.facts, line);
    }

    /// Prints one line for a person.
    pub fn note(&self, line: &str) {
        write_line(&self.notes, line);
    }

    /// Starts to show the progress of something, until the result is dropped.
    pub fn progress(&self, what: &str, total_bytes: u64) -> ConsoleProgress {
        let bar = self.bars.then(|| {
            let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            let bar = ProgressBar::new(total_bytes).with_message(one_line(what));
            match ProgressStyle::with_template(template) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        ConsoleProgress {
            console: self.clone(),
            what: what.to_owned(),
            total_bytes,
            bar,
            said: None,
        }
    }
}

/// Writes a line in displayable form, since names in it come from files and from the hub. A line that cannot be written
/// (a closed pipe) does not stop the node.
fn write_line(out: &Mutex<dyn Write + Send>, line: &str) {
    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = writeln!(out, "{}", one_line(line)).and_then(|()| out.flush());
}

/// The progress of something.
#[derive(Debug)]
pub struct ConsoleProgress {
    console: Console,
    what: String,
    total_bytes: u64,
    bar: Option<ProgressBar>,
    /// The last quarter that was reported in a line.
    said: Option<u64>,
}

impl ConsoleProgress {
    /// Shows this position. A pipe gets a line at every quarter, but only the last one for something small.
    pub fn set(&mut self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            return;
        }
        let total = self.total_bytes;
        let quarter = (position.min(total) * 4).checked_div(total).unwrap_or(4);
        let quick = total < QUICK_BYTES && quarter < 4;
        if !quick && self.said.is_none_or(|said| quarter > said) {
            self.said = Some(quarter);
            self.console.note(&format!("{}: {} % of {}", self.what, quarter * 25, bytes(total)));
        }
    }

    /// Shows that everything is done.
    pub fn done(&mut self) {
        self.set(self.total_bytes);
    }
}

impl Drop for ConsoleProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Returns a number of bytes as people write it: `417.3 MiB`.
pub fn bytes(count: u64) -> String {
    ByteSize(count).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_gets_a_few_lines() {
        let notes = Buffer::default();
        let console = Console::new(std::io::sink(), notes.clone());
        let mut progress = console.progress("model.gguf", 1 << 30);
        for position in (0..1 << 30).step_by(1 << 16) {
            progress.set(position);
        }
        progress.done();
        let text = String::from_utf8(notes.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 5, "{text}");
        assert_eq!(text.lines().last(), Some("model.gguf: 100 % of 1.0 GiB"));
        let lines = || String::from_utf8(notes.0.lock().unwrap().clone()).unwrap();
        let before = lines().lines().count();
        let mut progress = console.progress("config.json", 1000);
        (0..=1000).for_each(|position| progress.set(position));
        assert_eq!(
            lines().lines().skip(before).collect::<Vec<_>>(),
            ["config.json: 100 % of 1000 B"]
        );
        console.progress("empty", 0).set(0);
    }

    #[test]
    fn names_from_elsewhere_steer_no_terminal() {
        let (facts, notes) = (Buffer::default(), Buffer::default());
        let console = Console::new(facts.clone(), notes.clone());
        console.fact("model a\x1b[31m\nb: \u{202e}");
        console.note("model c\x1b[31m\nd");
        console.progress("e\x07.gguf", 1).done();
        let text = |buffer: &Buffer| String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text(&facts), "model a\u{fffd}[31m b: \u{fffd}\n");
        assert_eq!(text(&notes), "model c\u{fffd}[31m d\ne\u{fffd}.gguf: 100 % of 1 B\n");
        let on_terminal = Console { bars: true, ..console };
        let bar = on_terminal.progress("e\x07.gguf", 1).bar.take().unwrap();
        assert_eq!(bar.message(), "e\u{fffd}.gguf");
    }

    #[test]
    fn bytes_are_written_as_people_write_them() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 40), "5.0 TiB");
    }
}
