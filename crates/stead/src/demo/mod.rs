//! `stead demo`: a StatefulSet's whole life on a cluster of its own, shown and asserted.
//!
//! ```text
//!   own.rs     a cluster in a temporary folder, on free ports and addresses; its removal
//!   story.rs   what happens to the set, step by step, over HTTPS like anyone's
//!   pods.rs    what a watch of the pods told, and whether it told it in the right order
//!   ask.rs     questions to DNS and to the pods
//! ```
//!
//! It is a client like any other: of the cluster it uses the kubeconfig, the API and DNS.

mod ask;
mod own;
mod pods;
mod story;

use anyhow::{Context as _, Result, anyhow, bail};
use cli::{
    args::Demo,
    demo::{Detail, Screen},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use own::Own;

/// Lines of the server's log that are shown when the demo fails.
const LOG_LINES: usize = 8;

/// Shows it all, and removes all that it made, whatever happens.
pub(crate) async fn run(flags: &Demo) -> Result<()> {
    if let Some(missing) = host::preflight().first() {
        bail!("{missing}");
    }
    let mut signals = Signals::catch()?;
    own::sweep().await?;
    let own = Own::choose()?;
    let mut screen = Screen::new(flags.plain);
    // A cluster half made is harder to remove than a whole one: a signal waits for these.
    let told = match own.open(&mut screen).await {
        Ok(client) => tokio::select! {
            told = story::tell(client, &mut screen) => told,
            name = signals.next() => Err(anyhow!("stopped by {name}")),
        },
        Err(error) => Err(error),
    };
    let log = own.log_tail(LOG_LINES);
    screen.chapter("Everything removed", Detail::Facts);
    screen.waits("cluster", "stops its pods");
    let removed = own.remove().await;
    if removed.is_ok() {
        screen.say("cluster", "its pods, network, mounts and folder are gone");
    }
    if let Err(error) = told {
        screen.end();
        for line in log {
            eprintln!("server: {line}");
        }
        if let Err(left) = removed {
            eprintln!("stead: {left:#}: `{}` tries again", own.down());
        }
        return Err(error);
    }
    removed.with_context(|| format!("`{}` tries again", own.down()))?;
    screen.close();
    Ok(())
}

/// What ends a demo early.
struct Signals {
    interrupt: Signal,
    term: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.term.recv() => "SIGTERM",
            _ = self.hangup.recv() => "the end of its terminal",
        }
    }
}
