//! Runs one node: observe -> podsync -> host; serves the kubelet API.

#![forbid(unsafe_code)]
