//! A client at the far end of an exec or attach, whatever carries its bytes.

use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};
use tokio::sync::mpsc;

/// Messages under way in each direction before the sender waits.
pub(crate) const QUEUE_MAX: usize = 16;

/// How long a client may take to read what is left once the program has ended, before it closes
/// the connection; a connection that we close first could lose what is under way.
/// Source: kubernetes v1.36 `cri-streaming/.../remotecommand/httpstream.go`, `finishTimeout`.
pub(crate) const FINISH_MAX: Duration = Duration::from_secs(15 * 60);
/// How long a client may take to open the streams it needs.
/// Source: the same, `DefaultStreamCreationTimeout`.
pub(crate) const STREAMS_WITHIN: Duration = Duration::from_secs(30);

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Input(Bytes),
    InputEnds,
    Size { columns: u16, rows: u16 },
}

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Output(Bytes),
    Error(Bytes),
    /// How it ended; the last message.
    Ended(Bytes),
}

/// The two ends that a carrier serves.
#[derive(Debug)]
pub(crate) struct Remote {
    /// Ends when the client is gone.
    pub(crate) says: mpsc::Receiver<Said>,
    /// Fails when the client is gone.
    pub(crate) tell: mpsc::Sender<Told>,
}

/// The carrier's side of a [`Remote`].
#[derive(Debug)]
pub(crate) struct Carrier {
    pub(crate) said: mpsc::Sender<Said>,
    pub(crate) told: mpsc::Receiver<Told>,
}

/// Both sides.
pub(crate) fn pair() -> (Remote, Carrier) {
    let (said, says) = mpsc::channel(QUEUE_MAX);
    let (tell, told) = mpsc::channel(QUEUE_MAX);
    (Remote { says, tell }, Carrier { said, told })
}

/// The Status of a program that ended with this code. Source: apimachinery v1.36
/// `pkg/util/remotecommand/constants.go`, kubelet's `RunContainerError`.
pub(crate) fn ended(code: i32) -> Bytes {
    let status = if code == 0 {
        Status { status: Some("Success".to_owned()), ..Status::default() }
    } else {
        let cause = StatusCause {
            reason: Some("ExitCode".to_owned()),
            message: Some(code.to_string()),
            field: None,
        };
        Status {
            status: Some("Failure".to_owned()),
            reason: Some("NonZeroExitCode".to_owned()),
            message: Some(format!(
                "command terminated with non-zero exit code: exit status {code}"
            )),
            details: Some(StatusDetails { causes: Some(vec![cause]), ..StatusDetails::default() }),
            ..Status::default()
        }
    };
    encoded(&status)
}

/// The Status of a program that could not be run.
pub(crate) fn failed(message: &str) -> Bytes {
    encoded(&Status {
        status: Some("Failure".to_owned()),
        reason: Some("InternalError".to_owned()),
        code: Some(500),
        message: Some(format!("Internal error occurred: {message}")),
        ..Status::default()
    })
}

fn encoded(status: &Status) -> Bytes {
    // Strings and numbers: nothing can fail.
    let mut value = serde_json::to_value(status).unwrap_or_default();
    value["metadata"] = serde_json::json!({});
    if let Some(fields) = value.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    value.to_string().into()
}
