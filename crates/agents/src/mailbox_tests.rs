use std::task::{Context, Waker};

use proptest::prelude::*;

use super::*;
use crate::message::{Address, Draft};

const BOUND: usize = 4;

fn message(number: u32, performative: Performative) -> Arc<Message> {
    let to: Address = "a".parse().unwrap();
    Draft::new(performative, to.clone()).json(&number).from(to)
}

fn number(delivery: &Delivery) -> u32 {
    delivery.message.content.read().unwrap()
}

fn take(mailbox: &Mailbox, max: usize) -> Option<Vec<u32>> {
    let mut batch = VecDeque::new();
    let context = Context::from_waker(Waker::noop());
    match mailbox.poll_next(&context, 0, max, &mut batch) {
        Poll::Ready(Next::Batch) => Some(batch.iter().map(number).collect()),
        _ => None,
    }
}

#[test]
fn the_first_message_says_that_nobody_runs_the_agent() {
    let mailbox = Mailbox::new(BOUND, Overflow::Reject, Vec::new());
    let push = |n| mailbox.push(Delivery::new(message(n, Performative::Inform)));
    assert!(matches!(push(1), Pushed::Asleep));
    assert!(matches!(push(2), Pushed::Queued));
    assert!(!mailbox.fall_asleep());
    assert_eq!(take(&mailbox, 9).unwrap(), [1, 2]);
    assert!(mailbox.fall_asleep());
    assert!(matches!(push(3), Pushed::Asleep));
}

#[test]
fn a_full_mailbox_refuses() {
    let mailbox = Mailbox::new(2, Overflow::Reject, Vec::new());
    let push = |n| mailbox.push(Delivery::new(message(n, Performative::Inform)));
    push(1);
    push(2);
    assert!(matches!(push(3), Pushed::Full));
    // Those that are being handled count.
    assert_eq!(take(&mailbox, 9).unwrap(), [1, 2]);
    assert!(matches!(push(3), Pushed::Full));
    assert_eq!(take(&mailbox, 9), None);
    assert!(matches!(push(3), Pushed::Queued));
}

#[test]
fn a_full_mailbox_sheds_the_oldest_of_the_class_and_nothing_else() {
    let mailbox = Mailbox::new(2, Overflow::Shed, vec![Performative::Inform]);
    mailbox.push(Delivery::new(message(1, Performative::Request)));
    mailbox.push(Delivery::new(message(2, Performative::Inform)));
    let third = mailbox.push(Delivery::new(message(3, Performative::Request)));
    assert!(matches!(third, Pushed::Shed(shed) if number(&shed) == 2));
    assert!(matches!(mailbox.push(Delivery::new(message(4, Performative::Inform))), Pushed::Full));
    assert_eq!(take(&mailbox, 9).unwrap(), [1, 3]);
}

#[test]
fn a_reserved_place_is_kept_and_a_closed_mailbox_gives_none() {
    let mailbox = Mailbox::new(1, Overflow::Reject, Vec::new());
    assert_eq!(mailbox.reserve(), Ok(ALONE));
    assert_eq!(mailbox.reserve(), Err(Refusal::Full));
    assert!(mailbox.fill(Delivery::new(message(1, Performative::Inform)), ALONE));
    assert_eq!(mailbox.close().len(), 1);
    assert_eq!(mailbox.reserve(), Err(Refusal::Closed));
    mailbox.open();
    assert_eq!(mailbox.reserve(), Ok(ALONE));
    mailbox.release(ALONE);
    assert_eq!(mailbox.len(), 0);
}

#[tokio::test]
async fn a_sender_that_waits_goes_on_when_there_is_room() {
    let mailbox = Arc::new(Mailbox::new(1, Overflow::Block, Vec::new()));
    mailbox.push(Delivery::new(message(1, Performative::Inform)));
    let sender = async {
        mailbox
            .room(|| match mailbox.push(Delivery::new(message(2, Performative::Inform))) {
                Pushed::Full => None,
                pushed => Some(pushed),
            })
            .await
    };
    let taker = async {
        assert_eq!(take(&mailbox, 9).unwrap(), [1]);
        assert_eq!(take(&mailbox, 9), None);
    };
    let (pushed, ()) = tokio::join!(sender, taker);
    assert!(matches!(pushed, Pushed::Queued));
    assert_eq!(take(&mailbox, 9).unwrap(), [2]);
}

#[derive(Clone, Debug)]
enum Step {
    Push(bool),
    Reserve,
    Fill,
    Release,
    Take(usize),
    PutBack,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(Step::Push),
        1 => Just(Step::Reserve),
        1 => Just(Step::Fill),
        1 => Just(Step::Release),
        3 => (1..4_usize).prop_map(Step::Take),
        1 => Just(Step::PutBack),
    ]
}

#[test]
fn a_mailbox_that_is_away_takes_nothing_and_gives_up_what_is_in_memory() {
    let mailbox = Mailbox::new(4, Overflow::Reject, Vec::new());
    assert!(matches!(mailbox.push(Delivery::new(message(1, Performative::Inform))), Pushed::Asleep));
    assert_eq!(mailbox.reserve(), Ok(ALONE));
    let row = Delivery { row: Some(1), ..Delivery::new(message(2, Performative::Inform)) };
    mailbox.fill(row, ALONE);
    let left = mailbox.leave();
    assert_eq!(left.len(), 1);
    assert!(matches!(mailbox.push(Delivery::new(message(3, Performative::Inform))), Pushed::Away));
    assert_eq!(mailbox.reserve(), Err(Refusal::Away));
    assert!(!mailbox.retire());
    assert!(!mailbox.nudge());
    // It comes back with what waited for it, which comes after what is in the store.
    let (is_to_run, rest) = mailbox.settle(7, 1, 0, left);
    assert!(is_to_run && rest.is_empty());
    assert_eq!((mailbox.epoch(), mailbox.len()), (7, 2));
}

#[test]
fn what_was_told_of_a_mailbox_elsewhere_counts_for_a_while() {
    let mailbox = Mailbox::new(4, Overflow::Reject, Vec::new());
    mailbox.note_elsewhere(3);
    assert!(mailbox.inner().elsewhere.is_none(), "it is here");
    mailbox.leave();
    mailbox.note_elsewhere(3);
    let (waiting, told_at) = mailbox.inner().elsewhere.unwrap();
    assert_eq!(waiting, 3);
    // However slow the machine is.
    mailbox.inner().elsewhere = Some((3, told_at + Duration::from_hours(1)));
    assert_eq!(mailbox.len(), 3);
    mailbox.inner().elsewhere = told_at.checked_sub(TOLD_FOR).map(|at| (3, at));
    assert_eq!(mailbox.len(), 0);
    mailbox.note_elsewhere(3);
    mailbox.settle(7, 0, 0, Vec::new());
    assert!(mailbox.inner().elsewhere.is_none());
}

#[test]
fn a_mailbox_that_comes_takes_no_more_than_it_has_room_for() {
    let mailbox = Mailbox::new(3, Overflow::Reject, Vec::new());
    mailbox.leave();
    let waited = (1..=3).map(|n| Delivery::new(message(n, Performative::Inform))).collect();
    let (_, rest) = mailbox.settle(7, 1, 0, waited);
    assert_eq!(rest.iter().map(number).collect::<Vec<_>>(), [3]);
    assert_eq!(mailbox.len(), 3);
}

#[test]
fn a_mailbox_is_not_left_while_a_task_runs_the_agent() {
    let mailbox = Mailbox::new(4, Overflow::Reject, Vec::new());
    mailbox.push(Delivery::new(message(1, Performative::Inform)));
    assert!(mailbox.leave_if_asleep().is_none());
    assert_eq!(take(&mailbox, 9).unwrap(), [1]);
    assert!(mailbox.fall_asleep());
    assert_eq!(mailbox.leave_if_asleep().map(|left| left.len()), Some(0));
    assert!(mailbox.is_vacant());
}

#[test]
fn what_was_kept_in_another_epoch_is_not_put_in() {
    let mailbox = Mailbox::new(4, Overflow::Reject, Vec::new());
    assert_eq!(mailbox.reserve(), Ok(ALONE));
    mailbox.leave();
    mailbox.settle(7, 0, 0, Vec::new());
    assert!(!mailbox.fill(Delivery::new(message(1, Performative::Inform)), ALONE));
    assert_eq!(mailbox.len(), 0);
    assert_eq!(mailbox.reserve(), Ok(7));
    assert!(mailbox.fill(Delivery::new(message(2, Performative::Inform)), 7));
}

#[test]
fn what_was_under_way_in_another_epoch_takes_no_room() {
    let mailbox = Mailbox::new(2, Overflow::Reject, Vec::new());
    mailbox.push(Delivery::new(message(1, Performative::Inform)));
    assert_eq!(take(&mailbox, 9).unwrap(), [1]);
    assert_eq!(mailbox.reserve(), Ok(ALONE));
    mailbox.leave();
    mailbox.settle(7, 2, 0, Vec::new());
    assert_eq!(mailbox.len(), 2);
    // What is given back is of that epoch, too.
    mailbox.release(ALONE);
    assert_eq!((mailbox.len(), mailbox.reserve()), (2, Err(Refusal::Full)));
}

/// A mailbox that came with as much as it holds, and more in the store up to place 9.
fn with_surplus(overflow: Overflow) -> Mailbox {
    let mailbox = Mailbox::new(2, overflow, vec![Performative::Inform]);
    mailbox.leave();
    let waited = vec![Delivery::new(message(90, Performative::Inform))];
    let (is_to_run, rest) = mailbox.settle(7, 2, 9, waited);
    assert!(is_to_run);
    assert_eq!(rest.iter().map(number).collect::<Vec<_>>(), [90]);
    mailbox.begin();
    mailbox
}

fn stored(place: u32) -> Delivery {
    Delivery { row: Some(i64::from(place)), ..Delivery::new(message(place, Performative::Inform)) }
}

#[test]
fn what_waits_beyond_the_bound_comes_before_anything_else() {
    for overflow in [Overflow::Reject, Overflow::Shed, Overflow::Block] {
        let mailbox = with_surplus(overflow);
        assert_eq!(mailbox.len(), 2, "what is beyond the bound is not in the mailbox");
        // Neither before what fits is loaded, nor while there is no room.
        assert!(!mailbox.wants_surplus());
        assert_eq!(mailbox.reserve_stored(), Err(Refusal::Full));
        mailbox.load(vec![stored(1), stored(2)]);
        assert!(!mailbox.wants_surplus());
        assert_eq!(mailbox.reserve_stored(), Err(Refusal::Full));
        assert_eq!(take(&mailbox, 1).unwrap(), [1]);
        assert_eq!(take(&mailbox, 1).unwrap(), [2]);
        assert!(mailbox.wants_surplus());
        assert!(matches!(mailbox.push(Delivery::new(message(91, Performative::Inform))), Pushed::Full));
        assert_eq!(mailbox.reserve(), Err(Refusal::Full));
        assert_eq!(mailbox.reserve_stored(), Ok(7));
        assert_eq!(mailbox.reserve_stored(), Err(Refusal::Full), "the bound holds");
        mailbox.fill(stored(8), 7);
        mailbox.caught_up(8);
        assert!(mailbox.has_surplus());
        assert_eq!(take(&mailbox, 1).unwrap(), [8]);
        assert_eq!(mailbox.reserve(), Err(Refusal::Full));
        assert_eq!(mailbox.reserve_stored(), Ok(7));
        mailbox.fill(stored(9), 7);
        mailbox.caught_up(9);
        assert!(!mailbox.has_surplus());
        assert_eq!(take(&mailbox, 1).unwrap(), [9]);
        assert_eq!(mailbox.reserve(), Ok(7));
    }
}

#[test]
fn a_mailbox_that_falls_behind_takes_first_what_waits_in_the_store() {
    let mailbox = Mailbox::new(2, Overflow::Reject, Vec::new());
    mailbox.leave();
    mailbox.settle(7, 0, 0, Vec::new());
    mailbox.fall_behind(6, 5);
    assert!(!mailbox.has_surplus(), "that was in another epoch");
    mailbox.fall_behind(7, 5);
    mailbox.fall_behind(7, 4);
    assert!(mailbox.wants_surplus());
    assert_eq!(mailbox.reserve(), Err(Refusal::Full));
    mailbox.caught_up(4);
    assert_eq!(mailbox.reserve(), Err(Refusal::Full));
    mailbox.caught_up(5);
    assert_eq!(mailbox.reserve(), Ok(7));
}

#[test]
fn what_waits_beyond_the_bound_stays_behind_when_the_mailbox_goes() {
    let mailbox = with_surplus(Overflow::Reject);
    mailbox.leave();
    assert!(!mailbox.has_surplus());
    mailbox.settle(8, 0, 0, Vec::new());
    assert_eq!(mailbox.reserve(), Ok(8));
}

#[tokio::test]
async fn a_sender_that_waits_goes_on_once_nothing_is_beyond_the_bound() {
    let mailbox = with_surplus(Overflow::Block);
    mailbox.load(Vec::new());
    let sender = async {
        mailbox
            .room(|| match mailbox.reserve() {
                Err(Refusal::Full) => None,
                reserved => Some(reserved),
            })
            .await
    };
    let keeper = async { mailbox.caught_up(i64::MAX) };
    assert_eq!(tokio::join!(sender, keeper).0, Ok(7));
}

proptest! {
    #[test]
    fn the_bound_holds_and_nothing_is_lost_or_reordered(
        steps in proptest::collection::vec(step(), 1..120),
        sheds: bool,
    ) {
        let overflow = if sheds { Overflow::Shed } else { Overflow::Reject };
        let mailbox = Mailbox::new(BOUND, overflow, vec![Performative::Inform]);
        let context = Context::from_waker(Waker::noop());
        let (mut next, mut reserved, mut last) = (0_u32, 0, None::<u32>);
        let (mut accepted, mut gone) = (0_usize, 0_usize);
        let mut batch = VecDeque::new();
        for step in steps {
            match step {
                Step::Push(is_inform) => {
                    next += 1;
                    let performative = if is_inform { Performative::Inform } else { Performative::Request };
                    match mailbox.push(Delivery::new(message(next, performative))) {
                        Pushed::Queued | Pushed::Asleep => accepted += 1,
                        Pushed::Shed(_) => { accepted += 1; gone += 1; }
                        Pushed::Full => {}
                        Pushed::Closed | Pushed::Away => prop_assert!(false),
                    }
                }
                Step::Reserve => reserved += usize::from(mailbox.reserve().is_ok()),
                Step::Fill if reserved > 0 => {
                    next += 1;
                    reserved -= 1;
                    accepted += 1;
                    let row = Delivery { row: Some(1), ..Delivery::new(message(next, Performative::Inform)) };
                    mailbox.fill(row, ALONE);
                }
                Step::Release if reserved > 0 => { reserved -= 1; mailbox.release(ALONE); }
                Step::Take(max) => {
                    for handled in batch.drain(..) {
                        let handled = number(&handled);
                        prop_assert!(last < Some(handled), "{:?} before {}", last, handled);
                        last = Some(handled);
                        gone += 1;
                    }
                    let _ = mailbox.poll_next(&context, 0, max, &mut batch);
                    prop_assert!(batch.len() <= max);
                }
                Step::PutBack => mailbox.put_back(&mut batch),
                Step::Fill | Step::Release => {}
            }
            prop_assert!(mailbox.len() <= BOUND);
            prop_assert_eq!(mailbox.len() - reserved, accepted - gone);
        }
    }
}
