//! Tells on the standard error what goes on, stage by stage.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// How often a count is shown: a terminal's line is rewritten, anything else gets one more line.
const REWRITE: Duration = Duration::from_millis(100);
const NEW_LINE: Duration = Duration::from_secs(2);

/// Tells on the standard error what goes on.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    stage: &'static str,
    began: Instant,
    shown: Instant,
    seconds: BTreeMap<&'static str, f64>,
}

impl Progress {
    /// Nothing goes on yet.
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            terminal: io::stderr().is_terminal(),
            stage: "",
            began: now,
            shown: now,
            seconds: BTreeMap::new(),
        }
    }

    /// A stage begins; its name is also its key among the seconds.
    pub fn begin(&mut self, stage: &'static str) {
        self.stage = stage;
        self.began = Instant::now();
        self.shown = self.began;
        if self.terminal {
            self.write(&format!("\r\x1b[K{stage} ..."));
        }
    }

    /// So much of it is done.
    pub fn count(&mut self, done: usize, total: usize) {
        self.update(&format!("{done} of {total}"));
    }

    /// So it stands.
    pub fn update(&mut self, state: &str) {
        let pause = if self.terminal { REWRITE } else { NEW_LINE };
        if self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        match self.terminal {
            true => self.write(&format!("\r\x1b[K{} ... {state}", self.stage)),
            false => self.write(&format!("{} ... {state}\n", self.stage)),
        }
    }

    /// The stage ended.
    pub fn end(&mut self, outcome: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.seconds
            .insert(self.stage, (seconds * 1000.0).round() / 1000.0);
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        self.write(&format!("{start}{}: {outcome} ({seconds:.1} s)\n", self.stage));
    }

    /// Something to be read that belongs to no stage.
    pub fn say(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// Wall seconds of each stage that ended.
    pub fn seconds(&self) -> BTreeMap<&'static str, f64> {
        self.seconds.clone()
    }

    fn write(&self, text: &str) {
        let mut out = io::stderr().lock();
        // A reader that went away is no reason to stop.
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            tracing::debug!("the standard error is closed");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
