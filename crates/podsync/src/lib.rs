//! The kubelet's mind: pure `(&Desired, &Observed, now) -> Steps`.

#![forbid(unsafe_code)]
