//! What `stead demo` shows: lines with their times, rows that turn while something is awaited, and
//! a closing table.
//!
//! ```text
//!   A StatefulSet of three, one pod after the other
//!     0.61s  web-0     is made
//!     0.74s  web-0     is Ready at 198.18.4.2
//!   ⠹        web-1     waits for its container
//! ```
//!
//! In a terminal what is awaited turns in rows of its own below the lines; elsewhere, or with
//! `--plain`, it is printed as lines like the rest, in the chapters that ask for it.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Milliseconds between two pictures of a row that turns.
const TURN: Duration = Duration::from_millis(80);

/// How much a chapter tells where nothing turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What happened.
    Facts,
    /// What is waited for, too.
    Waits,
}

/// A chapter that has ended, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Took {
    title: String,
    time: Duration,
}

/// The chapter that runs.
#[derive(Debug)]
struct Open {
    title: String,
    since: Instant,
    detail: Detail,
}

/// Where the demo is shown.
pub struct Screen {
    started: Instant,
    live: Option<MultiProgress>,
    out: Box<dyn Write + Send>,
    /// What each one waits for, as last shown.
    waits: BTreeMap<String, (String, Option<ProgressBar>)>,
    open: Option<Open>,
    took: Vec<Took>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Screen {
    /// Standard output: live where it is a terminal, unless `plain` is asked for.
    #[must_use]
    pub fn new(plain: bool) -> Self {
        let mut screen = Self::to(Box::new(io::stdout()));
        if !plain && io::stdout().is_terminal() {
            screen.live = Some(MultiProgress::with_draw_target(ProgressDrawTarget::stdout()));
        }
        screen
    }

    fn to(out: Box<dyn Write + Send>) -> Self {
        Self {
            started: Instant::now(),
            live: None,
            out,
            waits: BTreeMap::new(),
            open: None,
            took: Vec::new(),
        }
    }

    /// Begins a chapter, and ends the one before it. `title` heads it and, cut at its first
    /// comma, names it in the closing table.
    pub fn chapter(&mut self, title: &str, detail: Detail) {
        self.end();
        self.print("");
        self.print(title);
        self.open = Some(Open { title: title.to_owned(), since: Instant::now(), detail });
    }

    /// Says what has happened to someone, who waits for nothing any more.
    pub fn say(&mut self, who: &str, what: &str) {
        self.settle(who);
        self.print(&line(self.started.elapsed(), who, what));
    }

    /// Says what someone waits for; the same words again are not repeated.
    pub fn waits(&mut self, who: &str, what: &str) {
        if let Some((said, row)) = self.waits.get_mut(who) {
            if said == what {
                return;
            }
            what.clone_into(said);
            if let Some(row) = row {
                row.set_message(what.to_owned());
            }
        } else {
            // Rows stand in the order of their names, however often one goes and comes back.
            let place = self.waits.range(..who.to_owned()).count();
            let row = self.live.as_ref().map(|live| live.insert(place, row(who, what)));
            if let Some(row) = &row {
                row.enable_steady_tick(TURN);
            }
            self.waits.insert(who.to_owned(), (what.to_owned(), row));
        }
        let is_told = self.open.as_ref().is_some_and(|open| open.detail == Detail::Waits);
        if self.live.is_none() && is_told {
            self.print(&line(self.started.elapsed(), who, what));
        }
    }

    /// Ends the chapter that runs, and the rows that turn in it.
    pub fn end(&mut self) {
        let waiting: Vec<String> = self.waits.keys().cloned().collect();
        waiting.iter().for_each(|who| self.settle(who));
        if let Some(open) = self.open.take() {
            self.took.push(Took { title: open.title, time: open.since.elapsed() });
        }
    }

    /// Ends the last chapter and prints how long each took.
    pub fn close(&mut self) {
        self.end();
        let table = table(&self.took, self.started.elapsed());
        self.print("");
        table.lines().for_each(|line| self.print(line));
    }

    fn settle(&mut self, who: &str) {
        if let Some((_, Some(row))) = self.waits.remove(who) {
            row.finish_and_clear();
            if let Some(live) = &self.live {
                live.remove(&row);
            }
        }
    }

    /// A reader who has gone is no reason to leave a cluster behind: the demo goes on unheard.
    fn print(&mut self, line: &str) {
        let Self { live, out, .. } = self;
        let mut write = || {
            let line = format!("{line}\n");
            out.write_all(line.as_bytes()).and_then(|()| out.flush())
        };
        drop(match live {
            Some(live) => live.suspend(write),
            None => write(),
        });
    }
}

/// A row that is not drawn yet.
fn row(who: &str, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("  {spinner:.green}        {prefix:<9} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
        .with_style(style)
        .with_prefix(who.to_owned())
        .with_message(what.to_owned())
}

fn line(at: Duration, who: &str, what: &str) -> String {
    format!("  {:>6.2}s  {who:<9} {what}", at.as_secs_f64())
}

fn table(took: &[Took], total: Duration) -> String {
    let name = |took: &Took| took.title.split(',').next().unwrap_or_default().to_owned();
    let width = took.iter().map(|took| name(took).chars().count()).max().unwrap_or_default();
    let rows = took.iter().map(|took| (name(took), took.time));
    let lines = rows
        .chain([("Total".to_owned(), total)])
        .map(|(name, time)| format!("{name:<width$}  {:>6.2}s\n", time.as_secs_f64()));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use expect_test::expect;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_plain_demo_reads_like_a_report() {
        let paper = Paper::default();
        let mut screen = Screen::to(Box::new(paper.clone()));
        screen.chapter("A cluster, of its own", Detail::Waits);
        screen.waits("node", "waits for its network");
        screen.waits("node", "waits for its network");
        tokio::time::advance(Duration::from_millis(120)).await;
        screen.say("node", "is Ready");
        screen.chapter("A line of text", Detail::Facts);
        screen.waits("web-0", "is not told here");
        tokio::time::advance(Duration::from_millis(1130)).await;
        screen.say("web-0", "keeps it");
        screen.close();
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        expect![[r"

            A cluster, of its own
                0.00s  node      waits for its network
                0.12s  node      is Ready

            A line of text
                1.25s  web-0     keeps it

            A cluster         0.12s
            A line of text    1.13s
            Total             1.25s
        "]]
        .assert_eq(&text);
    }
}
