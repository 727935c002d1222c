//! Volumes against a claim: which would fit, and why the others do not.

use api::{
    k8s::api::core::v1::{PersistentVolume, PersistentVolumeClaim},
    quantity,
};
use controllers::volumes::fit;

use crate::{
    explanation::{Case, Cause, Finding, Reason},
    snapshot::{Part, created_at, name_of},
};

/// Volumes that are named one by one.
const SHOWN: usize = 4;

/// Why one volume will not do, the nearest miss first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Miss {
    Released(String),
    TooSmall(String),
    Modes(String),
    Taken(String),
    Labels(String),
    Other(String),
    Class(String),
}

impl Case<'_> {
    /// Whether no free volume fits this claim. `false` where volumes could not be read.
    pub(crate) fn none_fits(&self, claim: &PersistentVolumeClaim) -> bool {
        self.seen.knows(Part::Volumes) && fit::best(&self.seen.volumes, claim).is_none()
    }

    /// No volume fits, and nothing makes one.
    pub(crate) fn no_volume(&self, claim: &PersistentVolumeClaim, class: Option<&str>) -> Finding {
        if !self.seen.knows(Part::Volumes) {
            return self.unreadable(Part::Volumes);
        }
        let mut misses: Vec<(Miss, &str)> = self
            .seen
            .volumes
            .iter()
            .map(|volume| (miss(volume, claim), name_of(&volume.metadata)))
            .collect();
        misses.sort();
        let wanted = wanted(claim, class);
        let shown = misses.iter().take(SHOWN).map(|(miss, name)| format!("{name} {}", miss.text()));
        let shown = shown.collect::<Vec<_>>().join(", ");
        let rest = misses.len().saturating_sub(SHOWN);
        let rest = if rest > 0 { format!(", and {rest} more") } else { String::new() };
        let maker = match class {
            Some(class) => format!("class {class:?} makes none"),
            None => "no class is there to make one".to_owned(),
        };
        let why = match misses.is_empty() {
            true => format!("no volume fits {wanted}: there is none at all, and {maker}"),
            false => format!("no volume fits {wanted}: {shown}{rest}; and {maker}"),
        };
        let make = format!("make a PersistentVolume with {wanted}");
        let cure = match misses.first() {
            Some((Miss::Released(_), name)) => {
                let patch = r#"[{"op":"remove","path":"/spec/claimRef"}]"#;
                format!(
                    "kubectl patch pv {name} --type=json -p '{patch}' gives it free, its old data in it; or {make}"
                )
            }
            Some((Miss::TooSmall(_), _)) => {
                format!("{make}; or {}", self.with_other_claim(claim, "a smaller size"))
            }
            Some((Miss::Modes(_), _)) => {
                format!("{make}; or {}", self.with_other_claim(claim, "other accessModes"))
            }
            _ if class.is_none() => {
                format!("{make}; or {}", self.with_other_claim(claim, "a storageClassName"))
            }
            _ => make,
        };
        let cause = Cause::new(Reason::NoVolumeFits, why, cure).since(created_at(&claim.metadata));
        match class {
            Some(class) => cause.stuck().through("storageclass", class),
            None => cause.stuck(),
        }
    }

    /// The claim names its volume itself.
    pub(crate) fn named_volume(
        &self,
        claim: &PersistentVolumeClaim,
        name: &str,
    ) -> Option<Finding> {
        if !self.seen.knows(Part::Volumes) {
            return None;
        }
        let since = created_at(&claim.metadata);
        let Some(volume) = self.seen.volume(name) else {
            let why = "the volume that the claim names does not exist";
            let cure =
                format!("make pv/{name}; or {}", self.with_other_claim(claim, "no volumeName"));
            let cause = Cause::new(Reason::VolumeUnavailable, why, cure).since(since);
            return Some(cause.stuck().through("pv", name));
        };
        let taken = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        let taken = taken.filter(|reference| !fit::refers_to(reference, claim)).map(|reference| {
            let namespace = reference.namespace.as_deref().unwrap_or_default();
            format!(
                "it belongs to claim {namespace}/{}",
                reference.name.as_deref().unwrap_or_default()
            )
        });
        let why = fit::mismatch(volume, claim).or(taken)?;
        let cure = format!(
            "give the claim another volume: {}",
            self.with_other_claim(claim, "a volume that fits")
        );
        let cause = Cause::new(Reason::VolumeUnavailable, why, cure).since(since);
        Some(cause.stuck().through("pv", name))
    }
}

impl Miss {
    fn text(&self) -> &str {
        match self {
            Miss::Released(text) | Miss::TooSmall(text) | Miss::Modes(text) => text,
            Miss::Taken(text) | Miss::Labels(text) | Miss::Other(text) | Miss::Class(text) => text,
        }
    }
}

fn miss(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Miss {
    let spec = volume.spec.clone().unwrap_or_default();
    let class = fit::class(spec.storage_class_name.as_ref());
    if class != fit::claim_class(claim) {
        return Miss::Class(match class {
            "" => "has no class".to_owned(),
            class => format!("has class {class:?}"),
        });
    }
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let (has, wants) = (fit::capacity_bytes(volume), fit::request_bytes(claim));
    if let Some(reference) = &spec.claim_ref
        && !fit::refers_to(reference, claim)
    {
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        let name = reference.name.as_deref().unwrap_or_default();
        return match phase {
            Some("Released") if has >= wants => Miss::Released(format!(
                "is Released, kept for the deleted claim {namespace}/{name}"
            )),
            _ => Miss::Taken(format!("belongs to {namespace}/{name}")),
        };
    }
    if has < wants {
        let size = spec.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
        let size = size.map_or_else(|| "0".to_owned(), |size| size.0.clone());
        return Miss::TooSmall(format!("has only {size}"));
    }
    let offered = spec.access_modes.unwrap_or_default();
    let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.clone()).unwrap_or_default();
    if modes.iter().any(|mode| !offered.contains(mode)) {
        return Miss::Modes(format!("offers only {}", offered.join(",")));
    }
    if claim.spec.as_ref().is_some_and(|spec| spec.selector.is_some()) {
        return Miss::Labels(
            "lacks the labels that the claim selects, or differs otherwise".to_owned(),
        );
    }
    Miss::Other(fit::mismatch(volume, claim).unwrap_or_else(|| "differs".to_owned()))
}

/// `10Gi, ReadWriteOnce, class "fast"`
fn wanted(claim: &PersistentVolumeClaim, class: Option<&str>) -> String {
    let spec = claim.spec.clone().unwrap_or_default();
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let size = requests.and_then(|requests| requests.get("storage"));
    let size = size.map_or_else(
        || quantity::Quantity::from_bytes(fit::request_bytes(claim)).to_string(),
        |size| size.0.clone(),
    );
    let mut parts = vec![size, spec.access_modes.unwrap_or_default().join(",")];
    parts.push(match class {
        Some(class) => format!("class {class:?}"),
        None => "no class".to_owned(),
    });
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}
