//! The real program from end to end: laws of the whole, each shown on a throw-away installation.

#![cfg(test)]

mod e2e {
    mod stage;

    mod approvals;
    mod bad_input;
    mod dedup;
    mod road;
}
