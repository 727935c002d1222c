//! Which ordinals a set wants: positions 0..replicas, counted from the start, past what is reserved.

use super::view::View;

impl View {
    /// How many pods the set wants.
    pub(super) fn replicas(&self) -> i64 {
        i64::from(self.spec().replicas.unwrap_or(1)).max(0)
    }

    /// The first ordinal that counts.
    pub(super) fn start(&self) -> i64 {
        let ordinals = self.spec().ordinals.as_ref();
        i64::from(ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0)).max(0)
    }

    /// The ordinal at this position; scale and partition count positions.
    pub(super) fn at(&self, position: i64) -> i64 {
        at(self.start(), self.reserved(), position)
    }

    /// The place of an ordinal among the wanted ones, if it is one.
    pub(super) fn position(&self, ordinal: i64) -> Option<i64> {
        let start = self.start();
        let mut position = ordinal - start;
        for (first, last) in self.reserved() {
            let first = *first.max(&start);
            if first > ordinal || *last < first {
                continue;
            }
            if ordinal <= *last {
                return None;
            }
            position -= last - first + 1;
        }
        (0..self.replicas()).contains(&position).then_some(position)
    }

    /// Every wanted ordinal, ascending.
    pub(super) fn wanted(&self) -> impl DoubleEndedIterator<Item = i64> + '_ {
        (0..self.replicas()).map(|position| self.at(position))
    }

    /// This ordinal is wanted.
    #[must_use]
    pub fn in_range(&self, ordinal: i64) -> bool {
        self.position(ordinal).is_some()
    }

    /// This ordinal is reserved by the set's policy.
    pub(super) fn is_reserved(&self, ordinal: i64) -> bool {
        self.reserved().iter().any(|(first, last)| (first..=last).contains(&&ordinal))
    }

    fn reserved(&self) -> &[(i64, i64)] {
        self.rules.as_ref().map_or(&[], |rules| &rules.reserved)
    }
}

/// The ordinal at a position; `reserved` is ascending and without overlaps.
pub(super) fn at(start: i64, reserved: &[(i64, i64)], position: i64) -> i64 {
    let mut ordinal = start + position;
    for (first, last) in reserved {
        let first = *first.max(&start);
        if *last < first {
            continue;
        }
        if first > ordinal {
            break;
        }
        ordinal += last - first + 1;
    }
    ordinal
}
