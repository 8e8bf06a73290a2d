//! From one state to the next.

use super::{
    Cause, CauseKind, Command, Event, Gate, Item, Phase, RunOutcome, Shape, State, Status, StepState,
};

/// Takes an event in. What it gives is to be done, in its order, before the state is forgotten: both belong into one
/// transaction.
pub(crate) fn advance(shapes: &[Shape], state: &mut State, event: &Event) -> Vec<Command> {
    debug_assert_eq!(shapes.len(), state.steps.len(), "a state of another definition");
    let mut machine = Machine { shapes, state, commands: Vec::new() };
    match *event {
        Event::Start => machine.start(),
        Event::Evaluated { step, gate } => machine.evaluated(step, gate),
        Event::Ended { generation, step, item, undo, outcome } if generation == machine.state.generation => {
            if undo {
                machine.undone(step, item, outcome);
            } else {
                machine.ended(step, item, outcome);
            }
        }
        Event::Ended { .. } => {}
        Event::Decided { step, approved } => machine.decided(step, approved),
        Event::Concluded { succeeded } => machine.concluded(succeeded),
        Event::Cancel => machine.interrupted(CauseKind::Cancelled),
        Event::Deadline => machine.interrupted(CauseKind::Deadline),
        Event::Abort => machine.aborted(),
        Event::Retry => machine.retry(),
    }
    machine.commands
}

pub(super) struct Machine<'a> {
    pub(super) shapes: &'a [Shape],
    pub(super) state: &'a mut State,
    pub(super) commands: Vec<Command>,
}

impl Machine<'_> {
    fn start(&mut self) {
        if self.state.phase == Phase::Queued {
            self.state.phase = Phase::Running;
            self.schedule();
        }
    }

    /// Begins every step whose time has come; when all have ended, the mission concludes.
    pub(super) fn schedule(&mut self) {
        let mut skipped = true;
        // A step that is skipped may bring on others that stand before it.
        while skipped {
            skipped = false;
            for step in 0..self.shapes.len() {
                if self.state.steps[step].status == Status::Pending && self.needs_have_ended(step) {
                    skipped |= self.begin(step);
                }
            }
        }
        if self.state.phase == Phase::Running && self.state.steps.iter().all(|step| step.status.has_ended()) {
            self.state.phase = Phase::Concluding;
            self.commands.push(Command::Conclude);
        }
    }

    fn needs_have_ended(&self, step: usize) -> bool {
        self.shapes[step].needs.iter().all(|need| self.state.steps[*need].status.has_ended())
    }

    /// Whether it ended at once.
    fn begin(&mut self, step: usize) -> bool {
        let shape = &self.shapes[step];
        let mut skipped = shape.needs.iter().map(|need| self.state.steps[*need].status == Status::Skipped);
        let is_skipped = if shape.join_any {
            !shape.needs.is_empty() && skipped.all(|it| it)
        } else {
            skipped.any(|it| it)
        };
        let state = &mut self.state.steps[step];
        if is_skipped {
            state.status = Status::Skipped;
            return true;
        }
        if state.items.is_empty() {
            state.status = Status::Evaluating;
            self.commands.push(Command::Evaluate { step });
            return false;
        }
        // A retry goes on with the items that are left.
        state.status = Status::Running;
        self.start_items(step)
    }

    fn evaluated(&mut self, step: usize, gate: Gate) {
        let Some(state) = self.state.steps.get_mut(step) else { return };
        if self.state.phase != Phase::Running || state.status != Status::Evaluating {
            return;
        }
        match gate {
            Gate::Skip => {
                state.status = Status::Skipped;
                self.schedule();
            }
            Gate::Failed => self.fail_step(step),
            Gate::Run(_) if self.shapes[step].approval => {
                state.status = Status::Waiting;
                self.commands.push(Command::Ask { step });
            }
            Gate::Run(count) => {
                state.status = Status::Running;
                state.items = vec![Item::Pending; count as usize];
                self.go_on(step);
            }
        }
    }

    /// Starts as many items as may run; whether the step has ended instead.
    fn start_items(&mut self, step: usize) -> bool {
        let concurrency = self.shapes[step].concurrency.max(1);
        let state = &mut self.state.steps[step];
        let mut running = state.items.iter().filter(|item| **item == Item::Running).count();
        for (item, place) in (0..).zip(state.items.iter_mut()) {
            if running >= concurrency {
                break;
            }
            if *place == Item::Pending {
                *place = Item::Running;
                running += 1;
                self.commands.push(Command::Run { step, item });
            }
        }
        running == 0 && self.end_step(step)
    }

    /// Says how a step ended of which nothing runs; always true.
    fn end_step(&mut self, step: usize) -> bool {
        let state = &mut self.state.steps[step];
        let has = |item| state.items.contains(&item);
        state.status = if has(Item::Failed) || (self.state.phase == Phase::Running && has(Item::Cancelled)) {
            Status::Failed
        } else if has(Item::Cancelled) || has(Item::Pending) {
            Status::Cancelled
        } else {
            Status::Succeeded
        };
        self.state.ended += 1;
        state.order = self.state.ended;
        true
    }

    fn ended(&mut self, step: usize, item: u32, outcome: RunOutcome) {
        let Some(place) = self.state.steps.get_mut(step).and_then(|step| step.items.get_mut(item as usize))
        else {
            return;
        };
        if *place != Item::Running {
            return;
        }
        *place = match outcome {
            RunOutcome::Succeeded => Item::Succeeded,
            RunOutcome::Failed => Item::Failed,
            RunOutcome::Cancelled => Item::Cancelled,
        };
        let is_idle = !self.state.steps[step].items.contains(&Item::Running);
        let goes_on = outcome == RunOutcome::Succeeded || self.shapes[step].tolerant;
        match self.state.phase {
            Phase::Running if goes_on => self.go_on(step),
            Phase::Running => {
                if is_idle {
                    self.end_step(step);
                    // What failed has failed, also if a part of it was only cancelled.
                    self.state.steps[step].status = Status::Failed;
                }
                self.stop(Cause { kind: CauseKind::Failed, step: Some(step), item: Some(item) }, false);
            }
            Phase::Stopping => {
                if is_idle {
                    self.end_step(step);
                }
                self.settle();
            }
            _ => {}
        }
    }

    /// Starts what is left of a step; when nothing is, the steps after it.
    fn go_on(&mut self, step: usize) {
        if self.start_items(step) {
            self.schedule();
        }
    }

    /// The step itself failed, before anything of it ran.
    fn fail_step(&mut self, step: usize) {
        let state = &mut self.state.steps[step];
        state.status = Status::Failed;
        if self.shapes[step].tolerant {
            self.schedule();
        } else {
            self.stop(Cause { kind: CauseKind::Failed, step: Some(step), item: None }, false);
        }
    }

    fn decided(&mut self, step: usize, approved: bool) {
        let Some(state) = self.state.steps.get_mut(step) else { return };
        if self.state.phase != Phase::Running || state.status != Status::Waiting {
            return;
        }
        state.due = None;
        if !approved {
            return self.fail_step(step);
        }
        state.items = vec![Item::Succeeded];
        self.end_step(step);
        self.schedule();
    }

    fn concluded(&mut self, succeeded: bool) {
        if self.state.phase != Phase::Concluding {
            return;
        }
        if succeeded {
            self.state.phase = Phase::Succeeded;
            self.commands.push(Command::Finish);
        } else {
            self.stop(Cause { kind: CauseKind::Failed, step: None, item: None }, false);
        }
    }

    fn interrupted(&mut self, kind: CauseKind) {
        match self.state.phase {
            Phase::Queued | Phase::Running | Phase::Concluding => {
                self.stop(Cause { kind, step: None, item: None }, true);
            }
            // It ends already, only sooner.
            Phase::Stopping => self.commands.push(Command::CancelRunning),
            Phase::Compensating | Phase::Succeeded | Phase::Failed | Phase::Cancelled => {}
        }
    }

    fn aborted(&mut self) {
        if matches!(self.state.phase, Phase::Queued | Phase::Running | Phase::Concluding) {
            self.stop(Cause { kind: CauseKind::Failed, step: None, item: None }, true);
        }
    }

    /// Begins nothing more. What waits for a person waits no longer; what runs ends, or is cancelled.
    fn stop(&mut self, cause: Cause, cancel: bool) {
        self.state.phase = Phase::Stopping;
        self.state.cause = Some(cause);
        for (step, state) in self.state.steps.iter_mut().enumerate() {
            match state.status {
                Status::Pending => state.status = Status::Cancelled,
                // What is being evaluated may have been asked already, in the same turn.
                Status::Evaluating | Status::Waiting => {
                    state.status = Status::Cancelled;
                    state.due = None;
                    if self.shapes[step].approval {
                        self.commands.push(Command::Withdraw { step });
                    }
                }
                _ => {}
            }
        }
        if cancel && self.state.any_item(|item| item == Item::Running) {
            self.commands.push(Command::CancelRunning);
        }
        self.settle();
    }

    /// Once nothing runs any more, undoing begins.
    fn settle(&mut self) {
        if !self.state.any_item(|item| item == Item::Running) {
            self.state.phase = Phase::Compensating;
            self.compensate();
        }
    }

    pub(super) fn step_mut(&mut self, step: usize) -> Option<&mut StepState> {
        self.state.steps.get_mut(step)
    }
}
