//! What can go wrong on a node: one variant per remedy.

use std::path::PathBuf;

use thiserror::Error;

/// What went wrong with a pod or container: one variant per remedy.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// No keeper and no record of it.
    #[error("pod {0} is not known here")]
    NoPod(String),
    /// No such container in that pod.
    #[error("container {0} is not known here")]
    NoContainer(String),
    /// It has exited or never started.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The image is not here any more.
    #[error("image {0} is not here")]
    NoImage(String),
    /// The container's settings cannot be carried out; upstream's CreateContainerError.
    #[error("{0}")]
    Create(String),
    /// The pod asks for what its image contradicts; upstream's CreateContainerConfigError.
    #[error("{0}")]
    Config(String),
    /// The program could not be started; upstream's RunContainerError (StartError, exit 128).
    #[error("{0}")]
    Start(String),
    /// The pod's namespaces or network could not be made; upstream's FailedCreatePodSandBox.
    #[error("{0}")]
    Sandbox(String),
    /// Nothing listens there.
    #[error("port {port}: {source}")]
    Dial {
        /// Which port.
        port: u16,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The keeper did not answer, or answered nonsense.
    #[error("keeper of pod {uid}: {what}")]
    Keeper {
        /// Whose.
        uid: String,
        /// What happened.
        what: String,
    },
    /// The kernel or the disk said no.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What went wrong with an image: one variant per remedy.
#[derive(Debug, Error)]
pub enum ImageError {
    /// Not a valid name: upstream's InvalidImageName.
    #[error("couldn't parse image name {reference:?}: {why}")]
    Name {
        /// As given.
        reference: String,
        /// What is wrong.
        why: String,
    },
    /// The registry does not have it, or will not give it.
    #[error("failed to pull and unpack image {reference:?}: {why}")]
    Refused {
        /// As given.
        reference: String,
        /// What the registry said.
        why: String,
    },
    /// The registry does not answer: upstream's RegistryUnavailable.
    #[error("failed to pull and unpack image {reference:?}: {why}")]
    Unreachable {
        /// As given.
        reference: String,
        /// What happened.
        why: String,
    },
    /// The file is no image, or a damaged one.
    #[error("{}: {why}", file.display())]
    Archive {
        /// Which file.
        file: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// It is for another processor.
    #[error("{reference}: the image is for {found}, this node is {wanted}")]
    Platform {
        /// The image.
        reference: String,
        /// Its platform.
        found: String,
        /// Ours.
        wanted: String,
    },
    /// No such image.
    #[error("image {0} is not here")]
    Absent(String),
    /// Containers use it.
    #[error("image {reference} is used by {user}")]
    InUse {
        /// The image.
        reference: String,
        /// Who uses it.
        user: String,
    },
    /// The disk said no.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}
