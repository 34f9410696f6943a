//! One acting run a target: the others wait for their turn, in order, and there is a bound on how many.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Longest queue at one target.
pub const MAX_WAITING: usize = 100;

/// Who acts where.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<String, VecDeque<oneshot::Sender<Turn>>>>>);

/// The right to act on a target, given back when it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    target: String,
}

/// What a run gets that wants to act on a target.
#[derive(Debug)]
pub enum Place {
    /// It may go on.
    Now(Option<Turn>),
    /// It gets its turn later.
    Later(oneshot::Receiver<Turn>),
    /// Too many wait already.
    Full,
}

impl Turns {
    /// Asks for a turn. Without a target there is nothing to wait for.
    #[must_use]
    pub fn ask(&self, target: Option<&str>) -> Place {
        let Some(target) = target else { return Place::Now(None) };
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match targets.get_mut(target) {
            None => {
                targets.insert(target.to_owned(), VecDeque::new());
                Place::Now(Some(Turn { turns: self.clone(), target: target.to_owned() }))
            }
            Some(waiting) if waiting.len() >= MAX_WAITING => Place::Full,
            Some(waiting) => {
                let (sender, receiver) = oneshot::channel();
                waiting.push_back(sender);
                Place::Later(receiver)
            }
        }
    }

    fn pass_on(&self, target: &str) {
        let mut next = None;
        {
            let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(waiting) = targets.get_mut(target) {
                next = waiting.pop_front();
                if next.is_none() {
                    targets.remove(target);
                }
            }
        }
        // Outside the lock: a turn that nobody takes is dropped, which passes it on again.
        if let Some(sender) = next {
            drop(sender.send(Turn { turns: self.clone(), target: target.to_owned() }));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.clone().pass_on(&self.target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_acts_and_the_next_follows_in_order() {
        let turns = Turns::default();
        let Place::Now(first) = turns.ask(Some("t")) else { panic!("free") };
        let Place::Later(mut second) = turns.ask(Some("t")) else { panic!("taken") };
        let Place::Later(gone) = turns.ask(Some("t")) else { panic!("taken") };
        let Place::Later(mut fourth) = turns.ask(Some("t")) else { panic!("taken") };
        assert!(matches!(turns.ask(Some("other")), Place::Now(Some(_))));
        assert!(second.try_recv().is_err());
        drop(gone);
        drop(first);
        let turn = second.try_recv().unwrap();
        assert!(fourth.try_recv().is_err());
        drop(turn);
        drop(fourth.try_recv().unwrap());
        assert!(matches!(turns.ask(Some("t")), Place::Now(Some(_))));
    }

    #[test]
    fn the_queue_is_bounded() {
        let turns = Turns::default();
        let _first = turns.ask(Some("t"));
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| turns.ask(Some("t"))).collect();
        assert!(matches!(turns.ask(Some("t")), Place::Full));
        drop(waiting);
    }
}
