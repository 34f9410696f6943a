//! Runbooks that follow each other: each names the one that is tried when it did not fix it.

use std::collections::BTreeMap;

use super::problem::Problem;
use super::runbook::{Runbook, Undo};

/// The most runbooks of one ladder.
const MOST_RUNGS: usize = 16;

/// What is wrong with the ladders: a rung that is not there, one that leads back to itself, one that is too long.
pub(super) fn problems(runbooks: &[Runbook]) -> Vec<Problem> {
    let by_name: BTreeMap<&str, &Runbook> =
        runbooks.iter().map(|runbook| (runbook.name.as_str(), runbook)).collect();
    runbooks.iter().filter_map(|runbook| problem(runbook, &by_name)).collect()
}

fn problem(first: &Runbook, by_name: &BTreeMap<&str, &Runbook>) -> Option<Problem> {
    let (next, at) = first.next.as_ref()?;
    let error = |message: String| Some(Problem::error(&first.file, *at, message));
    if !by_name.contains_key(next.as_str()) {
        let names: Vec<&str> = by_name.keys().copied().filter(|name| *name != first.name).collect();
        let valid = if names.is_empty() { "there is no other".to_owned() } else { names.join(", ") };
        return error(format!("next names the runbook {next:?}, which is not there; valid: {valid}"));
    }
    if first.undo == Undo::WhenResolved {
        let message = "next and undo: when-resolved exclude each other: what is taken back when the alert is over ends \
                       when there is nothing left to follow";
        return error(message.to_owned());
    }
    let mut road = vec![first.name.as_str()];
    let mut at_rung = first;
    while let Some((name, _)) = &at_rung.next {
        road.push(name);
        if *name == first.name {
            return error(format!("next leads back to where it began: {}", road.join(" -> ")));
        }
        if road.len() > MOST_RUNGS {
            return error(format!(
                "more than {MOST_RUNGS} runbooks follow each other: {}",
                road.join(" -> ")
            ));
        }
        // What the other rungs name is looked at when it is their turn.
        at_rung = by_name.get(name.as_str())?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::runbook::read;

    fn check(ladders: &[(&str, &str)]) -> Vec<String> {
        let runbook = |(name, next): &(&str, &str)| {
            let next = if next.is_empty() { String::new() } else { format!("next: {next}\n") };
            let text = format!("runbook: {name}\nmatch: []\nsteps: [{{ plugin: p }}]\n{next}");
            read(&format!("{name}.yaml"), &text).unwrap().0
        };
        let runbooks: Vec<Runbook> = ladders.iter().map(runbook).collect();
        problems(&runbooks).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_ladder_ends_and_its_rungs_are_there() {
        assert!(check(&[("a", "b"), ("b", "c"), ("c", "")]).is_empty());
        assert!(check(&[("a", "c"), ("b", "c"), ("c", "")]).is_empty(), "two may lead to the same");
        let unknown = "a.yaml:4:7: next names the runbook \"z\", which is not there; valid: b";
        assert_eq!(check(&[("a", "z"), ("b", "")]), [unknown]);
        assert_eq!(check(&[("a", "a")]), ["a.yaml:4:7: next leads back to where it began: a -> a"]);
        let circle = check(&[("a", "b"), ("b", "c"), ("c", "b")]);
        assert!(circle.iter().any(|problem| problem.contains("b -> c -> b")), "{circle:?}");
        let waits =
            read("w.yaml", "runbook: w\nmatch: []\nsteps: [{ plugin: p }]\nundo: when-resolved\nnext: x\n");
        let next = read("x.yaml", "runbook: x\nmatch: []\nsteps: [{ plugin: p }]\n");
        let both = problems(&[waits.unwrap().0, next.unwrap().0]);
        assert!(both[0].message.contains("exclude each other"), "{both:?}");
        let names: Vec<String> = (0..20).map(|rung| format!("r{rung}")).collect();
        let long: Vec<(&str, &str)> = (0..20)
            .map(|rung| (names[rung].as_str(), names.get(rung + 1).map_or("", String::as_str)))
            .collect();
        assert!(check(&long)[0].contains("more than 16 runbooks"), "{:?}", check(&long));
    }
}
