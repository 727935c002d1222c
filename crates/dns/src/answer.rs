//! The decision for one message: answer from the zone, ask someone else, or say nothing.

use crate::{
    packet::{Answer, Owner, Query, Section, Unreadable, code},
    wire::Name,
    zone::{Found, WireRecord, Zone, kind},
};

/// Seconds for which an answer may be kept: CoreDNS's default, short because pods move.
pub(crate) const TTL_S: u32 = 5;
/// An alias of an alias … within the zone is followed this far.
const ALIASES_MAX: usize = 8;
/// Most targets of an SRV answer whose addresses are sent along.
const TARGETS_MAX: usize = 64;

const CLASS_INTERNET: u16 = 1;
const CLASS_ANY: u16 = 255;

/// What to do with a message.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Send this.
    Reply(Vec<u8>),
    /// Not our name: pass the message on.
    Forward(Query),
    /// Our name is another name for a foreign one: resolve that, and send both.
    Chase(Chase),
    /// Say nothing.
    Silence,
}

/// An alias that leads out of the zone.
#[derive(Debug)]
pub(crate) struct Chase {
    pub(crate) query: Query,
    pub(crate) target: Name,
    /// The aliases on the way, in order.
    aliases: Vec<(Name, WireRecord)>,
}

impl Chase {
    /// The answer with what was found elsewhere; with nothing found, the aliases alone.
    pub(crate) fn reply(&self, found: &[(Name, WireRecord, u32)], max_bytes: usize) -> Vec<u8> {
        let mut answer = Answer::new(&self.query).authoritative();
        for (owner, record) in &self.aliases {
            answer.record(Section::Answer, Owner::Name(owner), record, TTL_S);
        }
        for (owner, record, ttl_s) in found {
            answer.record(Section::Answer, Owner::Name(owner), record, (*ttl_s).min(TTL_S));
        }
        answer.finish(code::OK, max_bytes)
    }
}

/// Decides. `over_tcp` lifts the limit of size. Total: any bytes have an outcome.
pub(crate) fn decide(zone: &Zone, message: &[u8], over_tcp: bool) -> Outcome {
    let query = match Query::read(message) {
        Ok(query) => query,
        Err(Unreadable::Silent) => return Outcome::Silence,
        Err(Unreadable::Answer(bytes)) => return Outcome::Reply(bytes),
    };
    let max_bytes = if over_tcp { usize::MAX } else { query.answer_max_bytes() };
    let fail = |code: u8| Outcome::Reply(Answer::new(&query).finish(code, max_bytes));
    if !matches!(query.class, CLASS_INTERNET | CLASS_ANY) {
        return fail(code::NOT_DONE);
    }
    let found = zone.find(&query.name, query.kind);
    if matches!(found, Found::Foreign) {
        return Outcome::Forward(query);
    }
    if !zone.is_complete {
        return fail(code::SERVER);
    }
    match found {
        Found::Alias(record) => follow(zone, query, record.clone(), max_bytes),
        found => Outcome::Reply(local(zone, &query, &found, max_bytes)),
    }
}

/// The answer where nobody else needs to be asked.
fn local(zone: &Zone, query: &Query, found: &Found<'_>, max_bytes: usize) -> Vec<u8> {
    let mut answer = Answer::new(query).authoritative();
    let (apex, authority) = zone.authority(&query.name);
    let none = Vec::new();
    let (records, code) = match found {
        Found::Records(records) => (records, code::OK),
        Found::Made(record) => {
            answer.record(Section::Answer, Owner::Question, record, TTL_S);
            return answer.finish(code::OK, max_bytes);
        }
        _ => (&none, code::NO_NAME),
    };
    let is_authority_asked =
        zone.is_apex(&query.name) && matches!(query.kind, kind::SOA | kind::ANY);
    if is_authority_asked {
        answer.record(Section::Answer, Owner::Question, &authority, TTL_S);
    }
    // Askers take the first: begin elsewhere each time, as their own ids are random.
    let turn = usize::from(query.id).checked_rem(records.len()).unwrap_or(0);
    for record in records[turn..].iter().chain(&records[..turn]) {
        answer.record(Section::Answer, Owner::Question, record, TTL_S);
    }
    if records.is_empty() && !is_authority_asked {
        answer.record(Section::Authority, Owner::Name(&apex), &authority, TTL_S);
        return answer.finish(code, max_bytes);
    }
    if query.kind == kind::SRV {
        let mut targets: Vec<&Name> = records.iter().filter_map(|it| it.target.as_ref()).collect();
        targets.sort_unstable();
        targets.dedup();
        for target in targets.into_iter().take(TARGETS_MAX) {
            for wanted in [kind::A, kind::AAAA] {
                if let Found::Records(addresses) = zone.find(target, wanted) {
                    for address in addresses {
                        answer.record(Section::Additional, Owner::Name(target), address, TTL_S);
                    }
                }
            }
        }
    }
    answer.finish(code, max_bytes)
}

/// Follows aliases through the zone, to its own records or to a foreign name.
fn follow(zone: &Zone, query: Query, first: WireRecord, max_bytes: usize) -> Outcome {
    let mut aliases = vec![(query.name.clone(), first)];
    while aliases.len() <= ALIASES_MAX {
        let target = aliases.last().and_then(|(_, alias)| alias.target.clone());
        let Some(target) = target else { break };
        match zone.find(&target, query.kind) {
            Found::Alias(next) => aliases.push((target, next.clone())),
            Found::Foreign => return Outcome::Chase(Chase { query, target, aliases }),
            Found::Records(records) => {
                let rows: Vec<(Name, WireRecord, u32)> =
                    records.iter().map(|it| (target.clone(), (*it).clone(), TTL_S)).collect();
                let chase = Chase { query, target, aliases };
                return Outcome::Reply(chase.reply(&rows, max_bytes));
            }
            Found::Made(record) => {
                let rows = [(target.clone(), record, TTL_S)];
                let chase = Chase { query, target, aliases };
                return Outcome::Reply(chase.reply(&rows, max_bytes));
            }
            Found::Absent => {
                let chase = Chase { query, target, aliases };
                return Outcome::Reply(chase.reply(&[], max_bytes));
            }
        }
    }
    Outcome::Reply(Answer::new(&query).finish(code::SERVER, max_bytes))
}
