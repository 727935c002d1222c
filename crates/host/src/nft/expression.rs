//! What a rule is made of, and how the kernel wants it written.
//!
//! Numbers are those of `linux/netfilter/nf_tables.h`; the word in front of each is the one that
//! `nft --debug=netlink` prints.

use crate::netlink::Message;

/// A register of 32 bits; 8 is the first, and the verdict is 0.
pub(super) const VERDICT: u32 = 0;
pub(super) const FIRST: u32 = 8;
pub(super) const SECOND: u32 = 9;
pub(super) const THIRD: u32 = 10;

pub(super) const NETWORK: u32 = 1;
pub(super) const TRANSPORT: u32 = 2;

/// Offsets of IPv4's header.
pub(super) const SOURCE_ADDRESS: u32 = 12;
pub(super) const TARGET_ADDRESS: u32 = 16;
/// Offset of TCP's, UDP's and SCTP's headers.
pub(super) const TARGET_PORT: u32 = 2;

/// Keys of `meta load`.
pub(super) const IN_LINK: u32 = 6;
pub(super) const OUT_LINK: u32 = 7;
pub(super) const PROTOCOL: u32 = 16;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;

/// Where a packet goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Drop,
    Goto(String),
}

impl Verdict {
    /// As the content of a data attribute.
    pub(super) fn write(&self, message: Message) -> Message {
        message.nest(NFTA_DATA_VERDICT, |data| match self {
            Self::Drop => data.number(1, 0),
            Self::Goto(chain) => data.number(1, (-4i32).cast_unsigned()).text(2, chain),
        })
    }
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Payload {
        base: u32,
        offset: u32,
        length: u32,
        into: u32,
    },
    Meta {
        key: u32,
        into: u32,
    },
    /// `fib daddr type`: 2 is local.
    TargetType {
        into: u32,
    },
    /// `ct status`
    ConnectionStatus {
        into: u32,
    },
    Mask {
        register: u32,
        mask: [u8; 4],
    },
    Equal {
        register: u32,
        value: Vec<u8>,
    },
    Differs {
        register: u32,
        value: Vec<u8>,
    },
    /// In the set, or in the map whose verdict is taken.
    Lookup {
        set: String,
        from: u32,
        into: Option<u32>,
    },
    /// A map of this rule alone: number of the backend to what is put into `into`.
    Choose {
        choices: Choices,
        from: u32,
        into: u32,
    },
    /// A number below this one.
    Random {
        below: u32,
        into: u32,
    },
    Put {
        register: u32,
        value: Vec<u8>,
    },
    Verdict(Verdict),
    /// New target address and port, from these registers.
    Target {
        address: u32,
        port: u32,
    },
    Masquerade,
    /// ICMP port unreachable.
    Refuse,
    /// A TCP reset.
    Reset,
    /// Remembers the address in the register for as long as the set says.
    Remember {
        set: String,
        from: u32,
    },
}

/// What an anonymous map holds, by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choices {
    /// Address and port, as in registers: four bytes and two with two of padding.
    Targets(Vec<Vec<u8>>),
    Verdicts(Vec<Verdict>),
}

impl Expression {
    /// Appends the expression to a rule's list. `anonymous` is the number of its map in this
    /// batch, where it has one.
    pub(super) fn write(&self, message: Message, anonymous: u32) -> Message {
        message.nest(NFTA_LIST_ELEM, |element| {
            element
                .text(NFTA_EXPR_NAME, self.name())
                .nest(NFTA_EXPR_DATA, |data| self.write_fields(data, anonymous))
        })
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Payload { .. } => "payload",
            Self::Meta { .. } => "meta",
            Self::TargetType { .. } => "fib",
            Self::ConnectionStatus { .. } => "ct",
            Self::Mask { .. } => "bitwise",
            Self::Equal { .. } | Self::Differs { .. } => "cmp",
            Self::Lookup { .. } | Self::Choose { .. } => "lookup",
            Self::Random { .. } => "numgen",
            Self::Put { .. } | Self::Verdict(_) => "immediate",
            Self::Target { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Refuse | Self::Reset => "reject",
            Self::Remember { .. } => "dynset",
        }
    }

    fn write_fields(&self, data: Message, anonymous: u32) -> Message {
        let value = |message: Message, kind: u16, bytes: &[u8]| {
            message.nest(kind, |inner| inner.bytes(NFTA_DATA_VALUE, bytes))
        };
        match self {
            Self::Payload { base, offset, length, into } => {
                data.number(1, *into).number(2, *base).number(3, *offset).number(4, *length)
            }
            Self::Meta { key, into } => data.number(1, *into).number(2, *key),
            // result 3 is the type of the address, flag 2 looks at the target's.
            Self::TargetType { into } => data.number(1, *into).number(2, 3).number(3, 2),
            Self::ConnectionStatus { into } => data.number(1, *into).number(2, 2),
            Self::Mask { register, mask } => {
                let head = data.number(1, *register).number(2, *register).number(3, 4);
                value(value(head, 4, mask), 5, &[0; 4])
            }
            Self::Equal { register, value: wanted } => {
                value(data.number(1, *register).number(2, 0), 3, wanted)
            }
            Self::Differs { register, value: other } => {
                value(data.number(1, *register).number(2, 1), 3, other)
            }
            Self::Lookup { set, from, into } => {
                let head = data.text(1, set).number(2, *from);
                match into {
                    Some(into) => head.number(3, *into),
                    None => head,
                }
            }
            Self::Choose { from, into, .. } => data
                .text(1, super::batch::ANONYMOUS)
                .number(2, *from)
                .number(3, *into)
                .number(4, anonymous),
            Self::Random { below, into } => data.number(1, *into).number(2, *below).number(3, 1),
            Self::Put { register, value: bytes } => value(data.number(1, *register), 2, bytes),
            Self::Verdict(verdict) => data.number(1, VERDICT).nest(2, |inner| verdict.write(inner)),
            // type 1 is a new target, family 2 is IPv4.
            Self::Target { address, port } => {
                data.number(1, 1).number(2, 2).number(3, *address).number(5, *port)
            }
            Self::Masquerade => data,
            // type 0 is ICMP, code 3 an unreachable port.
            Self::Refuse => data.number(1, 0).bytes(2, &[3]),
            Self::Reset => data.number(1, 1),
            // operation 1 adds, or renews what is there.
            Self::Remember { set, from } => data.text(1, set).number(3, 1).number(4, *from),
        }
    }
}
