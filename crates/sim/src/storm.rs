//! What is done to the cluster: a list of dues, each at its time, drawn from the seed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    house::House,
    kernel,
    person::Person,
    run::Weather,
    world::{Unit, World},
};

/// Between two blows, milliseconds.
const PAUSE_MS: (u64, u64) = (300, 9_000);
/// A clock jumps by this much at the most, milliseconds: past every lease.
const JUMP_MAX_MS: u64 = 180_000;
/// A node is cut off for this long at the most: past the grace of a node, so that its pods are
/// marked for deletion while they run.
const CUT_MAX_MS: u64 = 120_000;

/// What comes at its time.
enum Due {
    Blow,
    Start(Unit),
    Mend(String),
    SetClock(Option<String>),
    Make(usize),
}

/// The storm over one cluster.
pub(crate) struct Storm<'a> {
    world: Arc<World>,
    house: &'a mut House,
    person: &'a mut Person,
    deaths: &'a mut mpsc::UnboundedReceiver<Unit>,
    agenda: BTreeMap<(Instant, u64), Due>,
    entries: u64,
    weather: Weather,
}

impl<'a> Storm<'a> {
    pub(crate) fn new(
        house: &'a mut House,
        person: &'a mut Person,
        deaths: &'a mut mpsc::UnboundedReceiver<Unit>,
        weather: Weather,
    ) -> Self {
        let world = Arc::clone(&house.world);
        Self { world, house, person, deaths, agenda: BTreeMap::new(), entries: 0, weather }
    }

    fn after(&mut self, ms: u64, due: Due) {
        self.entries += 1;
        self.agenda.insert((Instant::now() + Duration::from_millis(ms), self.entries), due);
    }

    /// Lets it blow for so long, then puts right what it broke.
    pub(crate) async fn blow(&mut self, ms: u64) -> Result<()> {
        self.world.set_storm(self.weather == Weather::Storm);
        for number in 0..self.person.wishes.len() {
            let begin = self.world.chance.below(5_000);
            self.after(begin, Due::Make(number));
        }
        self.after(1_000, Due::Blow);
        self.until(Instant::now() + Duration::from_millis(ms)).await?;
        self.world.set_storm(false);
        self.world.clock.set_wrong(0);
        for node in self.house.node_names() {
            self.house.clock(&node).into_iter().for_each(|clock| clock.set_wrong(0));
            self.house.line(&node).into_iter().for_each(|line| line.set_whole(true));
            self.house.kernel(&node).into_iter().for_each(|one| kernel::recover(&one));
        }
        self.revive().await
    }

    async fn revive(&mut self) -> Result<()> {
        while let Ok(unit) = self.deaths.try_recv() {
            self.house.kill(&unit);
        }
        self.agenda.clear();
        self.house.start(&Unit::Server).await?;
        self.house.start(&Unit::Manager).await?;
        for node in self.house.node_names() {
            self.house.start(&Unit::Agent(node)).await?;
        }
        Ok(())
    }

    /// Nothing but what is due, and the deaths.
    async fn until(&mut self, end: Instant) -> Result<()> {
        loop {
            let next = self.agenda.first_key_value().map_or(end, |((at, _), _)| (*at).min(end));
            tokio::select! {
                biased;
                Some(unit) = self.deaths.recv() => self.bury(unit),
                () = tokio::time::sleep_until(next) => {
                    if Instant::now() >= end {
                        return Ok(());
                    }
                    if let Some((_, due)) = self.agenda.pop_first() {
                        self.come(due).await?;
                    }
                }
            }
        }
    }

    fn bury(&mut self, unit: Unit) {
        if self.house.is_running(&unit) {
            self.house.kill(&unit);
            let pause = self.world.chance.between(50, 8_000);
            self.after(pause, Due::Start(unit));
        }
    }

    async fn come(&mut self, due: Due) -> Result<()> {
        match due {
            Due::Blow => {
                let (from, to) = PAUSE_MS;
                let pause = self.world.chance.between(from, to);
                self.after(pause, Due::Blow);
                if self.weather == Weather::Person || self.world.chance.percent(50) {
                    self.meddle().await;
                } else {
                    self.strike();
                }
            }
            Due::Start(unit) => self.house.start(&unit).await?,
            Due::Mend(node) => {
                self.world.trace.say(format!("{node} is reached again"));
                self.house.line(&node).into_iter().for_each(|line| line.set_whole(true));
            }
            Due::SetClock(None) => self.world.clock.set_wrong(0),
            Due::SetClock(Some(node)) => {
                self.house.clock(&node).into_iter().for_each(|clock| clock.set_wrong(0));
            }
            Due::Make(number) => {
                let again = self.person.wishes.get(number).is_some_and(|wish| wish.again);
                match self.person.make(number).await {
                    Ok(()) if again => self.world.tally.world("person makes set again"),
                    Ok(()) => {}
                    Err(error) => {
                        self.world.trace.say(format!("a set was not made: {error}"));
                        self.after(2_000, Due::Make(number));
                    }
                }
            }
        }
        Ok(())
    }

    async fn meddle(&mut self) {
        match self.person.meddle().await {
            Ok(Some(again)) => {
                let pause = self.world.chance.between(500, 20_000);
                self.after(pause, Due::Make(again));
            }
            Ok(None) => {}
            Err(error) => self.world.trace.say(format!("the person met an error: {error}")),
        }
    }

    fn strike(&mut self) {
        let chance = &self.world.chance;
        let nodes = self.house.node_names();
        let Some(node) = chance.pick(&nodes).cloned() else { return };
        let wrong = i64::try_from(chance.between(0, 2 * JUMP_MAX_MS)).unwrap_or(0)
            - i64::try_from(JUMP_MAX_MS).unwrap_or(0);
        let kernel = self.house.kernel(&node);
        let blows = [
            "manager dies",
            "server dies",
            "agent dies",
            "node cut off",
            "node without power",
            "clock of the control plane jumps",
            "clock of a node jumps",
            "container exits",
            "container exits",
            "probe fails",
            "probe fails",
        ];
        let Some(blow) = chance.pick(&blows).copied() else { return };
        let long = chance.between(1_000, CUT_MAX_MS);
        let happened = match blow {
            "manager dies" => {
                self.bury(Unit::Manager);
                true
            }
            "server dies" => {
                self.bury(Unit::Server);
                true
            }
            "agent dies" => {
                self.bury(Unit::Agent(node.clone()));
                true
            }
            "node cut off" => {
                self.house.line(&node).into_iter().for_each(|line| line.set_whole(false));
                self.after(long, Due::Mend(node.clone()));
                true
            }
            "node without power" => {
                self.house.kill(&Unit::Agent(node.clone()));
                kernel.into_iter().for_each(|kernel| kernel.lose_power());
                self.after(long, Due::Start(Unit::Agent(node.clone())));
                true
            }
            "clock of the control plane jumps" => {
                self.world.clock.set_wrong(wrong);
                self.after(long, Due::SetClock(None));
                true
            }
            "clock of a node jumps" => {
                self.house.clock(&node).into_iter().for_each(|clock| clock.set_wrong(wrong));
                self.after(long, Due::SetClock(Some(node.clone())));
                true
            }
            "container exits" => kernel.is_some_and(|one| kernel::exit_one(&one)),
            _ => kernel.is_some_and(|one| kernel::sicken_one(&one, long)),
        };
        if happened {
            self.world.tally.world(blow);
            self.world.trace.say(format!("{blow}: {node}"));
        }
    }
}
