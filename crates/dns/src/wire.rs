//! Names as they are on the wire: labels with their lengths, a zero at the end, lower case.
//!
//! That is also the zone's key: a name's parent is the rest behind its first label.

/// Most bytes of a name.
const NAME_MAX_BYTES: usize = 255;
/// Most bytes of a label.
const LABEL_MAX_BYTES: usize = 63;
/// A name whose compression jumps more often is made to hurt.
const JUMPS_MAX: usize = 16;

/// A complete name in lower case.
pub type Name = Box<[u8]>;

/// Writes `web.default.svc.cluster.local`; `None` where it is no name: an empty label, one over 63
/// bytes, more than 255 in all. The final dot is optional.
#[must_use]
pub fn encode(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() + 2);
    if !text.is_empty() {
        for label in text.split('.') {
            if label.is_empty() || label.len() > LABEL_MAX_BYTES {
                return None;
            }
            bytes.push(u8::try_from(label.len()).ok()?);
            bytes.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
    }
    bytes.push(0);
    (bytes.len() <= NAME_MAX_BYTES).then(|| bytes.into())
}

/// The name that begins at `at`, compression undone, and where the message goes on behind it.
#[must_use]
pub fn read(message: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut name = Vec::with_capacity(64);
    let mut position = at;
    let mut end = None;
    let mut jumps = 0;
    loop {
        let length = usize::from(*message.get(position)?);
        match length {
            0 => {
                name.push(0);
                return Some((name.into(), end.unwrap_or(position + 1)));
            }
            1..=LABEL_MAX_BYTES => {
                let label = message.get(position..=position + length)?;
                name.push(label[0]);
                name.extend(label[1..].iter().map(u8::to_ascii_lowercase));
                if name.len() >= NAME_MAX_BYTES {
                    return None;
                }
                position += 1 + length;
            }
            0xc0.. => {
                let low = usize::from(*message.get(position + 1)?);
                end.get_or_insert(position + 2);
                let target = (length & 0x3f) << 8 | low;
                jumps += 1;
                // Honest compression points backwards only.
                if target >= position || jumps > JUMPS_MAX {
                    return None;
                }
                position = target;
            }
            _ => return None,
        }
    }
}

/// The name behind the first label; `None` for the root.
#[must_use]
pub fn parent(name: &[u8]) -> Option<&[u8]> {
    match usize::from(*name.first()?) {
        0 => None,
        length => name.get(1 + length..),
    }
}

/// The labels, outermost last.
pub fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let length = usize::from(*rest.first()?);
        if length == 0 {
            return None;
        }
        let label = rest.get(1..=length)?;
        rest = rest.get(1 + length..)?;
        Some(label)
    })
}

/// Whether `name` is `zone` or lies below it; if so, the part in front of the zone.
#[must_use]
pub fn below<'a>(name: &'a [u8], zone: &[u8]) -> Option<&'a [u8]> {
    let front = name.len().checked_sub(zone.len())?;
    if &name[front..] != zone {
        return None;
    }
    // The cut must fall between labels.
    let mut at = 0;
    while at < front {
        at += 1 + usize::from(name[at]);
    }
    (at == front).then(|| &name[..front])
}
