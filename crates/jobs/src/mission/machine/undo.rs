//! Undoing what was done, and going on after a failure.

use super::{Cause, CauseKind, Command, Item, Phase, RunOutcome, Status, StepState, Undo, advance::Machine};

impl Machine<'_> {
    /// Undoes the step that ended last among those that are not undone; when there is none, the mission has ended.
    pub(super) fn compensate(&mut self) {
        let current =
            self.state.steps.iter().position(|step| step.items.iter().any(|item| item.is_undoing()));
        let Some(step) = current.or_else(|| self.last_to_undo()) else { return self.finish() };
        let concurrency = self.shapes[step].concurrency.max(1);
        let mut undoing = self.state.steps[step].items.iter().filter(|item| item.is_undoing()).count();
        for item in (0..self.state.steps[step].items.len()).rev() {
            let before = self.state.steps[step].items[item];
            if undoing < concurrency && self.is_to_undo(step, before) {
                self.state.steps[step].items[item] =
                    if before == Item::Succeeded { Item::Undoing } else { Item::UndoingTried };
                undoing += 1;
                self.commands.push(Command::Undo { step, item: item as u32 });
            }
        }
    }

    fn last_to_undo(&self) -> Option<usize> {
        let to_undo =
            |step: &usize| self.state.steps[*step].items.iter().any(|item| self.is_to_undo(*step, *item));
        (0..self.shapes.len()).filter(to_undo).max_by_key(|step| self.state.steps[*step].order)
    }

    fn is_to_undo(&self, step: usize, item: Item) -> bool {
        match item {
            Item::Succeeded => self.shapes[step].undo != Undo::Never,
            Item::Failed | Item::Cancelled => self.shapes[step].undo == Undo::Tried,
            _ => false,
        }
    }

    pub(super) fn undone(&mut self, step: usize, item: u32, outcome: RunOutcome) {
        if self.state.phase != Phase::Compensating {
            return;
        }
        let Some(place) = self.step_mut(step).and_then(|step| step.items.get_mut(item as usize)) else {
            return;
        };
        *place = match (*place, outcome) {
            (Item::Undoing | Item::UndoingTried, RunOutcome::Succeeded) => Item::Undone,
            (Item::Undoing, _) => Item::UndoFailed,
            (Item::UndoingTried, _) => Item::UndoFailedTried,
            _ => return,
        };
        self.compensate();
    }

    fn finish(&mut self) {
        let is_cancelled = matches!(self.state.cause, Some(Cause { kind: CauseKind::Cancelled, .. }));
        self.state.phase = if is_cancelled { Phase::Cancelled } else { Phase::Failed };
        self.commands.push(Command::Finish);
    }

    /// Goes on from what failed. What stands is kept: steps that succeeded, were not undone, and need only such steps.
    /// Of a step that runs for each of a list the items that stand are kept, unless what it needs runs again.
    pub(super) fn retry(&mut self) {
        if !matches!(self.state.phase, Phase::Failed | Phase::Cancelled) {
            return;
        }
        let stands = self.standing();
        for (step, kept) in stands.iter().enumerate() {
            let shape = &self.shapes[step];
            let needs_stand = shape.needs.iter().all(|need| stands[*need]);
            let state = &mut self.state.steps[step];
            if *kept {
                for item in &mut state.items {
                    if *item == Item::UndoFailed {
                        *item = Item::Succeeded;
                    }
                }
            } else if needs_stand && shape.fan_out && !state.items.is_empty() {
                let kept = |item| {
                    if matches!(item, Item::Succeeded | Item::UndoFailed) {
                        Item::Succeeded
                    } else {
                        Item::Pending
                    }
                };
                let items = state.items.iter().map(|item| kept(*item)).collect();
                *state = StepState { items, order: state.order, ..StepState::default() };
            } else {
                *state = StepState::default();
            }
        }
        self.state.generation += 1;
        self.state.cause = None;
        self.state.phase = Phase::Running;
        self.schedule();
    }

    /// Which steps need not run again.
    fn standing(&self) -> Vec<bool> {
        let mut stands: Vec<bool> = (0..self.shapes.len())
            .map(|step| {
                let state = &self.state.steps[step];
                let was_undone =
                    state.items.iter().any(|item| matches!(item, Item::Undone | Item::UndoFailedTried));
                let is_left = state.items.iter().any(|item| matches!(item, Item::Pending | Item::Cancelled));
                match state.status {
                    Status::Succeeded => !was_undone,
                    Status::Skipped => true,
                    // Its failure did not matter then, and does not now.
                    Status::Failed => self.shapes[step].tolerant && !was_undone && !is_left,
                    _ => false,
                }
            })
            .collect();
        loop {
            let fallen = (0..stands.len())
                .find(|step| stands[*step] && self.shapes[*step].needs.iter().any(|need| !stands[*need]));
            match fallen {
                Some(step) => stands[step] = false,
                None => return stands,
            }
        }
    }
}
