//! Messages: a query read with suspicion, and an answer written.

use crate::{
    wire::{self, Name},
    zone::{WireRecord, kind},
};

/// Length of a message header.
const HEADER_BYTES: usize = 12;
/// What every resolver takes over UDP.
const PLAIN_MAX_BYTES: usize = 512;
/// What we send over UDP to those that say they take it, and say that we take.
const EDNS_MAX_BYTES: u16 = 4_096;
/// Length of our OPT record.
const OPT_BYTES: usize = 11;

/// Answers' codes.
pub(crate) mod code {
    pub(crate) const OK: u8 = 0;
    pub(crate) const FORMAT: u8 = 1;
    pub(crate) const SERVER: u8 = 2;
    pub(crate) const NO_NAME: u8 = 3;
    pub(crate) const NOT_DONE: u8 = 4;
    /// In the OPT record's upper bits.
    pub(crate) const BAD_VERSION: u8 = 16;
}

/// A query with one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    /// In lower case.
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    /// The question as it came, letter case and all.
    question: Vec<u8>,
    /// The size of answers that the asker takes, where it says so.
    edns_bytes: Option<u16>,
}

/// Why a query gets no ordinary answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Nothing can be said to it: too short, or itself an answer.
    Silent,
    /// This whole message says what is wrong.
    Answer(Vec<u8>),
}

impl Query {
    /// Reads a message.
    pub(crate) fn read(message: &[u8]) -> Result<Self, Unreadable> {
        let header = message.get(..HEADER_BYTES).ok_or(Unreadable::Silent)?;
        let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (id, flags) = (number(0), number(2));
        if flags & 0x8000 != 0 {
            return Err(Unreadable::Silent);
        }
        let bare = |code| Unreadable::Answer(bare(id, flags, code));
        if flags & 0x7800 != 0 {
            return Err(bare(code::NOT_DONE));
        }
        if number(4) != 1 {
            return Err(bare(code::FORMAT));
        }
        let others = usize::from(number(6)) + usize::from(number(8));
        read_question(message, id, flags, others, usize::from(number(10)))
            .ok_or_else(|| bare(code::FORMAT))
            .and_then(|(query, version)| match version {
                0 => Ok(query),
                _ => Err(Unreadable::Answer(
                    Answer::new(&query).finish(code::BAD_VERSION, usize::MAX),
                )),
            })
    }

    /// Most bytes of an answer over UDP.
    pub(crate) fn answer_max_bytes(&self) -> usize {
        self.edns_bytes.map_or(PLAIN_MAX_BYTES, |bytes| {
            usize::from(bytes.min(EDNS_MAX_BYTES)).max(PLAIN_MAX_BYTES)
        })
    }
}

fn bare(id: u16, flags: u16, code: u8) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    // Response, with the asker's opcode and its wish for recursion.
    let flags = 0x8000 | (flags & 0x7900) | u16::from(code & 15);
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.resize(HEADER_BYTES, 0);
    bytes
}

/// The query, and the EDNS version that it speaks.
fn read_question(
    message: &[u8],
    id: u16,
    flags: u16,
    others: usize,
    additional: usize,
) -> Option<(Query, u8)> {
    let (name, after) = wire::read(message, HEADER_BYTES)?;
    let fixed = message.get(after..after + 4)?;
    let question = message.get(HEADER_BYTES..after + 4)?.to_vec();
    // A compressed question would not survive being copied.
    if question.len() != name.len() + 4 {
        return None;
    }
    let mut at = after + 4;
    let mut edns = None;
    for number in 0..others + additional {
        let (owner, after) = wire::read(message, at)?;
        let fixed = message.get(after..after + 10)?;
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        at = after + 10 + length;
        message.get(..at)?;
        let is_opt = u16::from_be_bytes([fixed[0], fixed[1]]) == kind::OPT;
        if number >= others && is_opt {
            if edns.is_some() || *owner != [0] {
                return None;
            }
            edns = Some((u16::from_be_bytes([fixed[2], fixed[3]]), fixed[5]));
        }
    }
    let query = Query {
        id,
        flags,
        name,
        kind: u16::from_be_bytes([fixed[0], fixed[1]]),
        class: u16::from_be_bytes([fixed[2], fixed[3]]),
        question,
        edns_bytes: edns.map(|(bytes, _)| bytes),
    };
    Some((query, edns.map_or(0, |(_, version)| version)))
}

/// An answer, being written.
#[derive(Debug)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    has_edns: bool,
    /// Records of each section, and where the sections after the question begin and end.
    counts: [u16; 3],
    ends: Vec<(usize, usize)>,
    is_authority: bool,
}

/// Which part of an answer a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

/// Whose record it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner<'a> {
    /// The name that was asked for.
    Question,
    Name(&'a [u8]),
}

impl Answer {
    pub(crate) fn new(query: &Query) -> Self {
        let mut bytes = Vec::with_capacity(PLAIN_MAX_BYTES);
        bytes.extend_from_slice(&query.id.to_be_bytes());
        // Response, recursion wanted as asked, and available.
        let flags = 0x8080 | (query.flags & 0x0100);
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&query.question);
        let has_edns = query.edns_bytes.is_some();
        Self { bytes, has_edns, counts: [0; 3], ends: Vec::new(), is_authority: false }
    }

    /// Marks it as coming from whoever has the say over the name.
    pub(crate) fn authoritative(mut self) -> Self {
        self.is_authority = true;
        self
    }

    /// Appends a record; sections in their order.
    pub(crate) fn record(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        record: &WireRecord,
        ttl_s: u32,
    ) {
        match owner {
            // A pointer to the question, which follows the header.
            Owner::Question => self.bytes.extend_from_slice(&[0xc0, 12]),
            Owner::Name(name) => self.bytes.extend_from_slice(name),
        }
        self.bytes.extend_from_slice(&record.kind.to_be_bytes());
        self.bytes.extend_from_slice(&[0, 1]);
        self.bytes.extend_from_slice(&ttl_s.to_be_bytes());
        // Data of ours never nears 64 KiB: names have at most 255 bytes.
        let length = u16::try_from(record.bytes.len()).unwrap_or(0);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&record.bytes[..usize::from(length)]);
        self.ends.push((section as usize, self.bytes.len()));
    }

    /// The message; what does not fit `max_bytes` is left out, and said to be (TC) unless it was
    /// only additional.
    pub(crate) fn finish(mut self, code: u8, max_bytes: usize) -> Vec<u8> {
        let opt = if self.has_edns { OPT_BYTES } else { 0 };
        // No message over TCP is longer than its length field can say.
        let room = max_bytes.min(usize::from(u16::MAX)).saturating_sub(opt);
        let mut is_cut = false;
        while self.bytes.len() > room {
            let Some((section, _)) = self.ends.pop() else { break };
            is_cut |= section != Section::Additional as usize;
            let end = self.ends.last().map_or_else(|| self.question_end(), |(_, end)| *end);
            self.bytes.truncate(end);
        }
        for (section, _) in &self.ends {
            self.counts[*section] += 1;
        }
        if self.has_edns {
            let [high, low] = EDNS_MAX_BYTES.to_be_bytes();
            self.bytes.extend_from_slice(&[0, 0, 41, high, low, code >> 4, 0, 0, 0, 0, 0]);
            self.counts[Section::Additional as usize] += 1;
        }
        for (at, count) in [6, 8, 10].into_iter().zip(self.counts) {
            self.bytes[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
        self.bytes[2] |= u8::from(is_cut) << 1 | u8::from(self.is_authority) << 2;
        self.bytes[3] |= code & 15;
        self.bytes
    }

    fn question_end(&self) -> usize {
        wire::read(&self.bytes, HEADER_BYTES).map_or(HEADER_BYTES, |(_, end)| end + 4)
    }
}
