//! Transactions: the messages that turn what the kernel holds into what is wanted.

use std::collections::BTreeMap;

use super::{
    expression::{Choices, Expression, Verdict},
    table::{Chain, REMEMBERED_MAX, Set, SetKind, Table},
};
use crate::netlink::Message;

/// The kernel puts a number in the place of `%d`.
pub(super) const ANONYMOUS: &str = "__map%d";

/// `NFNL_SUBSYS_NFTABLES`
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;

const CREATE: i32 = libc::NLM_F_CREATE;
const APPEND: i32 = libc::NLM_F_CREATE | libc::NLM_F_APPEND;

const SET_ANONYMOUS: u32 = 1;
const SET_CONSTANT: u32 = 2;
const SET_MAP: u32 = 8;
const SET_TIMEOUT: u32 = 16;
const SET_DYNAMIC: u32 = 32;
/// `NFT_DATA_VERDICT`
const VERDICT_TYPE: u32 = 0xffff_ff00;
/// `nft`'s number for plain integers.
const TYPE_INTEGER: u32 = 4;
/// `nft`'s number for `ipv4_addr . inet_service`.
const TYPE_TARGET: u32 = (7 << 6) | 13;
/// Byte orders of an anonymous map's keys and values, for `nft list` only.
const HOST_AND_NETWORK: [u8; 12] = [0, 4, 1, 0, 0, 0, 1, 4, 2, 0, 0, 0];

/// Elements of one message, which holds at most 64 KiB of them.
const ELEMENTS_MAX_BYTES: usize = 48 << 10;

/// Replaces the table, whatever it held.
pub(super) fn whole(name: &str, wanted: &Table) -> Vec<Message> {
    let mut batch = Batch::new(name);
    // Only what exists can be deleted, and one transaction may do all three.
    batch.table(NEW_TABLE, CREATE);
    batch.table(DELETE_TABLE, 0);
    batch.table(NEW_TABLE, CREATE);
    batch.change(&Table::default(), wanted);
    batch.end()
}

/// What changed between two tables; `None` where nothing did.
pub(super) fn difference(name: &str, old: &Table, wanted: &Table) -> Option<Vec<Message>> {
    if old == wanted {
        return None;
    }
    let mut batch = Batch::new(name);
    batch.change(old, wanted);
    Some(batch.end())
}

/// Takes the table away.
pub(super) fn removal(name: &str) -> Vec<Message> {
    let mut batch = Batch::new(name);
    batch.table(NEW_TABLE, CREATE);
    batch.table(DELETE_TABLE, 0);
    batch.end()
}

struct Batch<'a> {
    table: &'a str,
    messages: Vec<Message>,
    /// Numbers anonymous maps.
    last_map: u32,
}

impl<'a> Batch<'a> {
    fn new(table: &'a str) -> Self {
        let begin = Message::new("beginning a batch", BATCH_BEGIN, 0, &header(0, SUBSYSTEM));
        Self { table, messages: vec![begin], last_map: 0 }
    }

    fn end(mut self) -> Vec<Message> {
        self.messages.push(Message::new("ending a batch", BATCH_END, 0, &header(0, SUBSYSTEM)));
        self.messages
    }

    /// What is referred to comes before what refers to it, and goes after it.
    fn change(&mut self, old: &Table, wanted: &Table) {
        let empty = Chain::default();
        for (name, set) in &wanted.sets {
            if !old.sets.contains_key(name) {
                self.new_set(name, set);
            }
        }
        for (name, chain) in &wanted.chains {
            if !old.chains.contains_key(name) {
                self.new_chain(name, chain);
            }
        }
        let no_elements = BTreeMap::new();
        for (name, set) in &old.sets {
            let kept = wanted.sets.get(name).map_or(&no_elements, |set| &set.elements);
            let gone =
                set.elements.iter().filter(|(key, verdict)| kept.get(*key) != Some(*verdict));
            self.elements(DELETE_ELEMENT, name, gone);
        }
        for (name, chain) in &old.chains {
            let wanted = wanted.chains.get(name).unwrap_or(&empty);
            if chain.rules != wanted.rules && !chain.rules.is_empty() {
                let flush = self.message(format!("flushing chain {name}"), DELETE_RULE, 0);
                self.messages.push(flush.text(2, name));
            }
        }
        for (name, chain) in &wanted.chains {
            if old.chains.get(name).unwrap_or(&empty).rules != chain.rules {
                for rule in &chain.rules {
                    self.new_rule(name, rule);
                }
            }
        }
        for (name, set) in &wanted.sets {
            let there = old.sets.get(name).map_or(&no_elements, |set| &set.elements);
            let new =
                set.elements.iter().filter(|(key, verdict)| there.get(*key) != Some(*verdict));
            self.elements(NEW_ELEMENT, name, new);
        }
        for name in old.chains.keys().filter(|name| !wanted.chains.contains_key(*name)) {
            let delete = self.message(format!("deleting chain {name}"), DELETE_CHAIN, 0);
            self.messages.push(delete.text(3, name));
        }
        for name in old.sets.keys().filter(|name| !wanted.sets.contains_key(*name)) {
            let delete = self.message(format!("deleting set {name}"), DELETE_SET, 0);
            self.messages.push(delete.text(2, name));
        }
    }

    /// A message that names the table first, as all but the table's own do.
    fn message(&self, what: String, kind: u16, flags: i32) -> Message {
        message(what, kind, flags).text(1, self.table)
    }

    fn table(&mut self, kind: u16, flags: i32) {
        self.messages.push(self.message(format!("table {}", self.table), kind, flags));
    }

    fn new_chain(&mut self, name: &str, chain: &Chain) {
        let mut new = self.message(format!("chain {name}"), NEW_CHAIN, CREATE).text(3, name);
        if let Some(hook) = chain.hook {
            new = new
                .nest(4, |at| at.number(1, hook.number).number(2, hook.priority.cast_unsigned()))
                .text(7, hook.kind);
        }
        self.messages.push(new);
    }

    fn new_rule(&mut self, chain: &str, rule: &[Expression]) {
        for expression in rule {
            if let Expression::Choose { choices, .. } = expression {
                self.last_map += 1;
                self.anonymous_map(chain, choices);
            }
        }
        let map = self.last_map;
        let new = self.message(format!("a rule of chain {chain}"), NEW_RULE, APPEND).text(2, chain);
        self.messages.push(new.nest(4, |list| {
            rule.iter().fold(list, |list, expression| expression.write(list, map))
        }));
    }

    fn anonymous_map(&mut self, chain: &str, choices: &Choices) {
        let what = format!("a map of chain {chain}");
        let (value_type, value_bytes, values) = match choices {
            Choices::Targets(targets) => {
                let write = |target: &Vec<u8>, message: Message| message.bytes(1, target);
                (TYPE_TARGET, 8, targets.iter().map(|it| boxed(it, write)).collect::<Vec<_>>())
            }
            Choices::Verdicts(verdicts) => {
                let write = |verdict: &Verdict, message: Message| verdict.write(message);
                (VERDICT_TYPE, 0, verdicts.iter().map(|it| boxed(it, write)).collect())
            }
        };
        let new = self
            .message(what.clone(), NEW_SET, CREATE)
            .text(2, ANONYMOUS)
            .number(3, SET_ANONYMOUS | SET_CONSTANT | SET_MAP)
            .number(4, TYPE_INTEGER)
            .number(5, 4)
            .number(6, value_type)
            .number(7, value_bytes)
            .number(10, self.last_map)
            .bytes(13, &HOST_AND_NETWORK);
        self.messages.push(new);
        let mut pending = values.into_iter().zip(0u32..).peekable();
        while pending.peek().is_some() {
            let list = self
                .message(what.clone(), NEW_ELEMENT, CREATE)
                .text(2, ANONYMOUS)
                .number(4, self.last_map);
            let filled = list.nest(3, |mut list| {
                while list.len() < ELEMENTS_MAX_BYTES {
                    let Some((value, number)) = pending.next() else { break };
                    list = list.nest(1, |element| {
                        element.nest(1, |key| key.bytes(1, &number.to_ne_bytes())).nest(2, value)
                    });
                }
                list
            });
            self.messages.push(filled);
        }
    }

    fn new_set(&mut self, name: &str, set: &Set) {
        let flags = match set.kind {
            SetKind::Plain => 0,
            SetKind::Verdicts => SET_MAP,
            SetKind::Remembering(_) => SET_TIMEOUT | SET_DYNAMIC,
        };
        self.last_map += 1;
        let mut new = self
            .message(format!("set {name}"), NEW_SET, CREATE)
            .text(2, name)
            .number(3, flags)
            .number(4, set.key_type)
            .number(5, set.key_bytes)
            .number(10, self.last_map);
        match set.kind {
            SetKind::Plain => {}
            SetKind::Verdicts => new = new.number(6, VERDICT_TYPE).number(7, 0),
            SetKind::Remembering(seconds) => {
                let timeout_ms = u64::from(seconds) * 1_000;
                new = new
                    .nest(9, |description| description.number(1, REMEMBERED_MAX))
                    .bytes(11, &timeout_ms.to_be_bytes());
            }
        }
        self.messages.push(new);
    }

    fn elements<'e>(
        &mut self,
        kind: u16,
        set: &str,
        elements: impl Iterator<Item = (&'e Vec<u8>, &'e Option<Verdict>)>,
    ) {
        let mut pending = elements.peekable();
        while pending.peek().is_some() {
            let flags = if kind == NEW_ELEMENT { CREATE } else { 0 };
            let list = self.message(format!("elements of set {set}"), kind, flags).text(2, set);
            let filled = list.nest(3, |mut list| {
                while list.len() < ELEMENTS_MAX_BYTES {
                    let Some((key, verdict)) = pending.next() else { break };
                    list = list.nest(1, |element| {
                        let element = element.nest(1, |inner| inner.bytes(1, key));
                        match verdict {
                            Some(verdict) => element.nest(2, |data| verdict.write(data)),
                            None => element,
                        }
                    });
                }
                list
            });
            self.messages.push(filled);
        }
    }
}

type Write<'a> = Box<dyn FnOnce(Message) -> Message + 'a>;

fn boxed<'a, T>(value: &'a T, write: impl FnOnce(&T, Message) -> Message + 'a) -> Write<'a> {
    Box::new(move |message| write(value, message))
}

fn message(what: String, kind: u16, flags: i32) -> Message {
    Message::new(what, (SUBSYSTEM << 8) | kind, flags, &header(libc::NFPROTO_IPV4, 0))
}

/// `struct nfgenmsg`: family, version, resource in network order.
fn header(family: i32, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [u8::try_from(family).unwrap_or(0), 0, high, low]
}
