//! Images: names, what they hold, and where they come from.
//!
//! ```text
//!   registry ── pull ──┐                      index.json       names -> image (config digest)
//!   archive ── import ─┼──▶ unpack ──▶ store  blobs/sha256/    configs and manifests
//!   one binary ────────┘                      layers/          a folder per uncompressed layer
//! ```
//!
//! A layer is unpacked once, under the digest of its uncompressed stream, and shared by all images
//! that have it. Packed layers are not kept. The index is written last, after all it names is on
//! the disk, so that nothing half-imported is ever seen; what a crash leaves is swept at the next
//! opening.

mod archive;
mod binary;
mod config;
mod credentials;
mod folder;
mod index;
mod layers;
mod name;
mod pull;
mod refusal;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod unpack;

use std::{fmt, io, path::Path};

pub use config::{Config, node_architecture, signal_number};
pub use name::Name;
pub use store::{Stored, Unused};

use crate::runtime::ImageError;

/// The images of one data folder. Cheap to clone; safe to use from many tasks.
#[derive(Debug, Clone)]
pub struct Images {
    store: std::sync::Arc<store::Store>,
}

/// What can be wrong below the level that knows which file or reference is meant.
#[derive(Debug)]
enum Fault {
    /// The bytes are not what they should be.
    Bad(String),
    /// For another machine: `os/architecture`.
    Platform(String),
    /// The disk said no.
    System { what: String, source: io::Error },
}

impl Fault {
    fn system(what: impl fmt::Display, source: io::Error) -> Self {
        Self::System { what: what.to_string(), source }
    }

    /// As the error of an archive file.
    fn of_file(self, file: &Path) -> ImageError {
        match self {
            Self::Bad(why) => ImageError::Archive { file: file.to_owned(), why },
            other => other.of_reference(&file.display().to_string()),
        }
    }

    /// As the error of a pulled reference.
    fn of_reference(self, reference: &str) -> ImageError {
        let reference = reference.to_owned();
        match self {
            Self::Bad(why) => ImageError::Refused { reference, why },
            Self::Platform(found) => ImageError::Platform {
                reference,
                found,
                wanted: format!("linux/{}", node_architecture()),
            },
            Self::System { what, source } => ImageError::System { what, source },
        }
    }
}
