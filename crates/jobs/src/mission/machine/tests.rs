use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn shape(needs: &[usize]) -> Shape {
    Shape { needs: needs.to_vec(), concurrency: 2, ..Shape::default() }
}

/// Answers what the machine asks for, with as many runs as `counts` says, until something has to end.
struct Course {
    shapes: Vec<Shape>,
    counts: Vec<u32>,
    skips: BTreeSet<usize>,
    state: State,
    running: BTreeSet<(usize, u32, bool)>,
    asked: BTreeSet<usize>,
    /// Every run and undoing that was started, with the generation.
    started: Vec<(u32, usize, u32, bool)>,
    /// Undoings that have ended, in order.
    undone: Vec<usize>,
    cancels: usize,
    finished: usize,
}

impl Course {
    fn new(shapes: Vec<Shape>) -> Self {
        let counts = vec![1; shapes.len()];
        let state = State::new(shapes.len());
        Self {
            shapes,
            counts,
            skips: BTreeSet::new(),
            state,
            running: BTreeSet::new(),
            asked: BTreeSet::new(),
            started: Vec::new(),
            undone: Vec::new(),
            cancels: 0,
            finished: 0,
        }
    }

    fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            // What is written is what is read: a crash between any two events changes nothing.
            let written = serde_json::to_string(&self.state).unwrap();
            self.state = serde_json::from_str(&written).unwrap();
            let before = self.state.clone();
            for command in advance(&self.shapes, &mut self.state, &event) {
                match command {
                    Command::Evaluate { step } => {
                        for need in &self.shapes[step].needs {
                            assert!(self.state.steps[*need].status.has_ended(), "{step} before {need}");
                        }
                        let gate = if self.skips.contains(&step) {
                            Gate::Skip
                        } else {
                            Gate::Run(self.counts[step])
                        };
                        events.push(Event::Evaluated { step, gate });
                    }
                    Command::Run { step, item } => self.start(step, item, false),
                    Command::Undo { step, item } => self.start(step, item, true),
                    Command::Ask { step } => assert!(self.asked.insert(step)),
                    Command::Withdraw { step } => {
                        self.asked.remove(&step);
                    }
                    Command::CancelRunning => self.cancels += 1,
                    Command::Conclude => events.push(Event::Concluded { succeeded: true }),
                    Command::Finish => self.finished += 1,
                }
            }
            self.check(&before);
        }
    }

    fn start(&mut self, step: usize, item: u32, undo: bool) {
        assert!(self.running.insert((step, item, undo)), "started while it runs");
        let run = (self.state.generation, step, item, undo);
        assert!(!self.started.contains(&run), "started twice in a generation");
        self.started.push(run);
        if undo {
            assert!(self.running.iter().all(|(_, _, undo)| *undo), "undone while something runs");
            let steps: BTreeSet<usize> = self.running.iter().map(|(step, _, _)| *step).collect();
            assert_eq!(steps.len(), 1, "two steps are undone at once");
        }
    }

    fn check(&self, before: &State) {
        assert!(
            !before.phase.is_final()
                || before.phase == self.state.phase
                || self.state.generation > before.generation
        );
        let running: BTreeSet<(usize, u32, bool)> = self
            .state
            .steps
            .iter()
            .enumerate()
            .flat_map(|(step, state)| {
                (0..).zip(&state.items).filter_map(move |(item, place)| {
                    (*place == Item::Running || place.is_undoing()).then_some((
                        step,
                        item,
                        place.is_undoing(),
                    ))
                })
            })
            .collect();
        // An event that ended a run took it out of `running` before.
        assert_eq!(running, self.running);
        for (step, state) in self.state.steps.iter().enumerate() {
            let at_once =
                state.items.iter().filter(|item| **item == Item::Running || item.is_undoing()).count();
            assert!(at_once <= self.shapes[step].concurrency.max(1));
        }
    }

    fn end(&mut self, step: usize, item: u32, undo: bool, outcome: RunOutcome) {
        if self.running.remove(&(step, item, undo)) && undo {
            self.undone.push(step);
        }
        self.event(Event::Ended { generation: self.state.generation, step, item, undo, outcome });
    }

    fn succeed(&mut self, step: usize, item: u32) {
        self.end(step, item, false, RunOutcome::Succeeded);
    }

    fn fail(&mut self, step: usize, item: u32) {
        self.end(step, item, false, RunOutcome::Failed);
    }

    fn statuses(&self) -> Vec<Status> {
        self.state.steps.iter().map(|step| step.status).collect()
    }
}

#[test]
fn a_diamond_runs_in_its_order() {
    let mut course = Course::new(vec![shape(&[]), shape(&[0]), shape(&[0]), shape(&[1, 2])]);
    course.event(Event::Start);
    assert_eq!(course.running.len(), 1);
    course.succeed(0, 0);
    assert_eq!(course.running.len(), 2);
    course.succeed(2, 0);
    course.succeed(1, 0);
    course.succeed(3, 0);
    assert_eq!((course.state.phase, course.finished), (Phase::Succeeded, 1));
}

#[test]
fn a_skipped_step_skips_what_needs_it_but_not_where_branches_meet() {
    let mut course = Course::new(vec![
        shape(&[]),
        shape(&[]),
        shape(&[0]),
        Shape { join_any: true, ..shape(&[1, 2]) },
        Shape { join_any: true, ..shape(&[2]) },
    ]);
    course.skips.insert(0);
    course.event(Event::Start);
    course.succeed(1, 0);
    course.succeed(3, 0);
    let (skipped, done) = (Status::Skipped, Status::Succeeded);
    assert_eq!(course.statuses(), [skipped, done, skipped, done, skipped]);
    assert_eq!(course.state.phase, Phase::Succeeded);
}

#[test]
fn a_fan_out_runs_so_many_at_once_and_one_of_nothing_ends_at_once() {
    let mut course =
        Course::new(vec![Shape { fan_out: true, ..shape(&[]) }, Shape { fan_out: true, ..shape(&[0]) }]);
    course.counts = vec![5, 0];
    course.event(Event::Start);
    assert_eq!(course.running.len(), 2);
    for item in [1, 0, 2, 4, 3] {
        course.succeed(0, item);
    }
    assert_eq!(course.state.phase, Phase::Succeeded);
}

#[test]
fn a_failure_lets_what_runs_end_and_then_undoes_the_last_first() {
    let undo = |needs: &[usize]| Shape { undo: Undo::Succeeded, ..shape(needs) };
    let mut course = Course::new(vec![undo(&[]), undo(&[0]), undo(&[0]), shape(&[0]), shape(&[3])]);
    course.event(Event::Start);
    course.succeed(0, 0);
    course.succeed(2, 0);
    course.fail(3, 0);
    assert_eq!((course.state.phase, course.cancels), (Phase::Stopping, 0), "the other branch may end");
    course.succeed(1, 0);
    for step in [1, 2, 0] {
        assert_eq!(course.running, BTreeSet::from([(step, 0, true)]));
        course.end(step, 0, true, RunOutcome::Succeeded);
    }
    assert_eq!((course.state.phase, course.finished), (Phase::Failed, 1));
    assert_eq!(course.statuses()[4], Status::Cancelled);
}

#[test]
fn undoing_goes_on_after_one_that_failed_and_a_retry_keeps_what_stands() {
    let undo = |needs: &[usize]| Shape { undo: Undo::Succeeded, ..shape(needs) };
    let mut course = Course::new(vec![undo(&[]), undo(&[0]), shape(&[1])]);
    course.event(Event::Start);
    course.succeed(0, 0);
    course.succeed(1, 0);
    course.fail(2, 0);
    course.end(1, 0, true, RunOutcome::Succeeded);
    course.end(0, 0, true, RunOutcome::Failed);
    assert_eq!(course.state.phase, Phase::Failed);
    course.event(Event::Retry);
    assert_eq!(course.running, BTreeSet::from([(1, 0, false)]), "what could not be undone stands");
    course.succeed(1, 0);
    course.succeed(2, 0);
    assert_eq!((course.state.phase, course.finished), (Phase::Succeeded, 2));
}

#[test]
fn a_retry_runs_only_the_items_that_failed() {
    let mut course = Course::new(vec![Shape { fan_out: true, concurrency: 4, ..shape(&[]) }, shape(&[0])]);
    course.counts = vec![4, 1];
    course.event(Event::Start);
    for item in [0, 1, 3] {
        course.succeed(0, item);
    }
    course.fail(0, 2);
    assert_eq!(course.state.phase, Phase::Failed);
    course.event(Event::Retry);
    assert_eq!(course.running, BTreeSet::from([(0, 2, false)]));
}

#[test]
fn an_approval_waits_and_a_rejection_fails() {
    let mut course = Course::new(vec![Shape { approval: true, ..shape(&[]) }, shape(&[0])]);
    course.event(Event::Start);
    assert_eq!(course.asked, BTreeSet::from([0]));
    let mut rejected = Course::new(course.shapes.clone());
    rejected.event(Event::Start);
    course.event(Event::Decided { step: 0, approved: true });
    course.event(Event::Decided { step: 0, approved: false });
    course.succeed(1, 0);
    assert_eq!(course.state.phase, Phase::Succeeded);
    rejected.event(Event::Decided { step: 0, approved: false });
    assert_eq!(rejected.state.phase, Phase::Failed);
}

#[test]
fn a_cancellation_reaches_what_runs_and_what_waits() {
    let mut course =
        Course::new(vec![Shape { undo: Undo::Tried, ..shape(&[]) }, Shape { approval: true, ..shape(&[]) }]);
    course.event(Event::Start);
    course.event(Event::Cancel);
    assert_eq!((course.cancels, course.asked.len()), (1, 0));
    course.end(0, 0, false, RunOutcome::Cancelled);
    assert_eq!(course.running, BTreeSet::from([(0, 0, true)]), "it was tried, and is undone");
    course.end(0, 0, true, RunOutcome::Succeeded);
    assert_eq!(course.state.phase, Phase::Cancelled);
}

#[test]
fn a_mission_that_never_began_can_be_cancelled() {
    let mut course = Course::new(vec![shape(&[])]);
    course.event(Event::Cancel);
    assert_eq!((course.state.phase, course.finished), (Phase::Cancelled, 1));
    course.event(Event::Start);
    assert_eq!(course.state.phase, Phase::Cancelled);
}

#[derive(Clone, Debug)]
enum Move {
    End { pick: usize, outcome: u8 },
    Decide { pick: usize, approved: bool },
    Stale { step: usize, item: u32, undo: bool, behind: bool },
    Cancel,
    Deadline,
    Retry,
}

fn shapes() -> impl Strategy<Value = (Vec<Shape>, Vec<u32>, BTreeSet<usize>)> {
    let step = (any::<u16>(), any::<bool>(), 0_u8..10, 1_usize..4, 0_u8..4, 0_u8..3, 0_u32..5, 0_u8..8);
    prop::collection::vec(step, 1..9).prop_map(|steps| {
        let mut counts = Vec::new();
        let mut skips = BTreeSet::new();
        let shapes = steps
            .iter()
            .enumerate()
            .map(|(index, (needs, join_any, kind, concurrency, tolerant, undo, count, skip))| {
                let fan_out = *kind >= 6;
                counts.push(if fan_out { *count } else { 1 });
                if *skip == 0 {
                    skips.insert(index);
                }
                Shape {
                    needs: (0..index).filter(|need| needs & (1 << need) != 0).collect(),
                    join_any: *join_any,
                    approval: *kind == 0,
                    fan_out,
                    concurrency: *concurrency,
                    tolerant: *tolerant == 0,
                    undo: [Undo::Never, Undo::Succeeded, Undo::Tried][*undo as usize],
                }
            })
            .collect();
        (shapes, counts, skips)
    })
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        20 => (any::<usize>(), 0_u8..12).prop_map(|(pick, outcome)| Move::End { pick, outcome }),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(pick, approved)| Move::Decide { pick, approved }),
        4 => (0_usize..9, 0_u32..5, any::<bool>(), any::<bool>())
            .prop_map(|(step, item, undo, behind)| Move::Stale { step, item, undo, behind }),
        1 => Just(Move::Cancel),
        1 => Just(Move::Deadline),
        1 => Just(Move::Retry),
    ];
    prop::collection::vec(one, 0..60)
}

impl Course {
    fn play(&mut self, step: &Move) {
        match step {
            Move::End { pick, outcome } => {
                if let Some((step, item, undo)) =
                    self.running.iter().nth(pick % self.running.len().max(1)).copied()
                {
                    let outcome = match outcome {
                        0 => RunOutcome::Failed,
                        1 => RunOutcome::Cancelled,
                        _ => RunOutcome::Succeeded,
                    };
                    self.end(step, item, undo, outcome);
                }
            }
            Move::Decide { pick, approved } => {
                if let Some(step) = self.asked.iter().nth(pick % self.asked.len().max(1)).copied() {
                    self.asked.remove(&step);
                    self.event(Event::Decided { step, approved: *approved });
                }
            }
            Move::Stale { step, item, undo, behind } => {
                let generation = self.state.generation.wrapping_sub(u32::from(*behind));
                if *behind || !self.running.contains(&(*step, *item, *undo)) {
                    let before = self.state.clone();
                    let outcome = RunOutcome::Failed;
                    self.event(Event::Ended { generation, step: *step, item: *item, undo: *undo, outcome });
                    assert_eq!(self.state, before, "an event that is not due changed something");
                }
            }
            Move::Cancel => self.event(Event::Cancel),
            Move::Deadline => self.event(Event::Deadline),
            Move::Retry => self.event(Event::Retry),
        }
    }

    fn play_to_the_end(&mut self) {
        let mut steps = 0;
        while !self.state.phase.is_final() {
            let stuck = self.running.is_empty() && self.asked.is_empty();
            assert!(!stuck, "nothing runs and nothing is asked in {:?}", self.state);
            self.play(&Move::Decide { pick: 0, approved: true });
            self.play(&Move::End { pick: 0, outcome: 2 });
            steps += 1;
            assert!(steps < 1_000, "it does not end");
        }
    }

    fn check_end(&self) {
        assert!(self.running.is_empty() && self.asked.is_empty());
        for (step, state) in self.state.steps.iter().enumerate() {
            assert!(state.status.has_ended(), "step {step} has not ended");
            let is_left =
                |item: &Item| matches!(item, Item::Succeeded) && self.shapes[step].undo != Undo::Never;
            if self.state.phase != Phase::Succeeded {
                assert!(!state.items.iter().any(is_left), "step {step} was not undone");
            }
        }
        if self.state.phase == Phase::Succeeded {
            let generation = self.state.generation;
            assert!(!self.started.iter().any(|(of, _, _, undo)| *undo && *of == generation));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Every check of `Course` is made after every event, and the state is read back from what was written before it.
    #[test]
    fn every_course_of_every_graph_ends_and_keeps_the_rules((shapes, counts, skips) in shapes(), moves in moves()) {
        let mut course = Course::new(shapes);
        course.counts = counts;
        course.skips = skips;
        course.event(Event::Start);
        for step in &moves {
            course.play(step);
        }
        course.play_to_the_end();
        course.check_end();
        let finals = course.state.generation as usize + 1;
        prop_assert_eq!(course.finished, finals, "it ends once in a generation");
    }

    #[test]
    fn steps_are_undone_in_the_reverse_of_the_order_in_which_they_ended((shapes, counts, skips) in shapes(), moves in moves()) {
        let mut course = Course::new(shapes);
        course.counts = counts;
        course.skips = skips;
        course.event(Event::Start);
        for step in moves.iter().filter(|step| !matches!(step, Move::Retry)) {
            course.play(step);
        }
        course.event(Event::Cancel);
        course.play_to_the_end();
        let order: BTreeMap<usize, u32> =
            course.state.steps.iter().enumerate().map(|(step, state)| (step, state.order)).collect();
        let orders: Vec<u32> = course.undone.iter().map(|step| order[step]).collect();
        prop_assert!(orders.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", orders);
    }
}
