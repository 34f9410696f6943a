//! Proof that the sandbox's walls hold: hostile guests, hostile targets, and beside each the honest one that
//! must pass.

#![cfg(test)]

mod walls {
    mod harness;

    mod broker;
    mod crossing;
    mod egress;
    mod limits;
    mod linking;
    mod probes;
    mod replay;
    mod tls;
}
