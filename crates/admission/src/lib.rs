//! Everything that upstream's admission plugins decide: pure `(&Request, &Lookup) -> Object | Refusal`.

#![forbid(unsafe_code)]
