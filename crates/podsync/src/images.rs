//! Which images go when their disk fills.
//!
//! Source: kubernetes v1.36 `pkg/kubelet/images/image_gc_manager.go`, with the defaults of
//! `imageGCHighThresholdPercent`, `imageGCLowThresholdPercent` and `imageMinimumGCAge`.

use jiff::{SignedDuration, Timestamp};

/// A disk this full, in percent, has images taken away …
const HIGH_PERCENT: u64 = 85;
/// … until it is no fuller than this.
const LOW_PERCENT: u64 = 80;
/// What was used or added less long ago stays, seconds.
const AGE_MIN_S: i64 = 120;

/// An image that no container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Its id.
    pub id: String,
    /// Unpacked size.
    pub size_bytes: u64,
    /// When it was last used, or else added.
    pub used_at: Timestamp,
    /// It came from a registry, where it can be had again. What a person imported cannot.
    pub pulled: bool,
}

/// What is to be done about a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surplus {
    /// Ids of the images that go, the longest unused first.
    pub remove: Vec<String>,
    /// What should have been freed, and what can be, where it is not enough.
    pub short: Option<(u64, u64)>,
}

/// Decides over these images on a disk of `bytes` of which `free_bytes` are free.
#[must_use]
pub fn surplus(images: &[Unused], bytes: u64, free_bytes: u64, now: Timestamp) -> Surplus {
    let free = free_bytes.min(bytes);
    let used_percent = 100
        - u64::try_from(100 * u128::from(free) / u128::from(bytes.max(1))).unwrap_or(100).min(100);
    if bytes == 0 || used_percent < HIGH_PERCENT {
        return Surplus::default();
    }
    let keep_free = u128::from(bytes) * u128::from(100 - LOW_PERCENT) / 100;
    let wanted = u64::try_from(keep_free).unwrap_or(u64::MAX).saturating_sub(free);
    let old =
        |image: &&Unused| now.duration_since(image.used_at) >= SignedDuration::from_secs(AGE_MIN_S);
    let mut candidates: Vec<&Unused> =
        images.iter().filter(|image| image.pulled).filter(old).collect();
    candidates.sort_by(|a, b| (a.used_at, &a.id).cmp(&(b.used_at, &b.id)));
    let (mut remove, mut freed) = (Vec::new(), 0_u64);
    for image in candidates {
        if freed >= wanted {
            break;
        }
        freed = freed.saturating_add(image.size_bytes);
        remove.push(image.id.clone());
    }
    Surplus { remove, short: (freed < wanted).then_some((wanted, freed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images `id size_bytes age_s`, `+` where a person imported it.
    #[track_caller]
    fn check(images: &str, free: u64, wanted: &str) {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let images: Vec<Unused> = images
            .split(';')
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let age = SignedDuration::from_secs(words[2].parse().unwrap());
                Unused {
                    id: words[0].to_owned(),
                    size_bytes: words[1].parse().unwrap(),
                    used_at: now.checked_sub(age).unwrap(),
                    pulled: words.len() < 4,
                }
            })
            .collect();
        let found = surplus(&images, 1000, free, now);
        let short = found.short.map(|(wanted, freed)| format!(" short {freed}/{wanted}"));
        assert_eq!(found.remove.join(" ") + &short.unwrap_or_default(), wanted);
    }

    #[test]
    fn the_longest_unused_go_until_a_fifth_is_free() {
        let two = "a 40 500; b 60 900; c 500 300";
        check(two, 160, "");
        check(two, 150, "b");
        check(two, 100, "b a");
        check(two, 0, "b a c");
        check("a 40 500", 100, "a short 40/100");
        check("new 500 60; a 60 500", 150, "a");
        check("mine 500 900 +; a 60 500", 150, "a");
        check("", 0, " short 0/200");
    }

    #[test]
    fn a_disk_of_unknown_size_is_left_alone() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        assert_eq!(surplus(&[], 0, 0, now), Surplus::default());
    }
}
