//! The real program from end to end: laws of the whole, each shown on a throw-away installation.

#![cfg(test)]

mod e2e {
    mod stage;

    mod approvals;
    mod backtest;
    mod bad_input;
    mod breakers;
    mod commands;
    mod crash;
    mod dedup;
    mod disk;
    mod drills;
    mod epochs;
    mod gate;
    mod groups;
    mod halts;
    mod identity;
    mod kill_switch;
    mod ladder;
    mod life;
    mod limits;
    mod probe_breakers;
    mod quorum;
    mod races;
    mod real_alerts;
    mod record;
    mod refusals;
    mod repeated;
    mod replays;
    mod road;
    mod routes;
    mod schedules;
    mod service;
    mod silences;
    mod standing;
    mod steps;
    mod storms;
    mod tamper;
    mod traps;
    mod undo;
    mod undo_faults;
    mod unplanned;
    mod views;
    mod windows;
}
