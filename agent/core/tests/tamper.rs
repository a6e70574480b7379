//! Whatever is changed on the way is refused, and nothing panics.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use common::{DEPLOY, Fleet, NOW, RELEASE, ROOT, assign, order, plan, refused, release, sign, sign_body};
use dunlin_core::{
    Code, Refusal,
    trust::{self, Accepted, Verified},
    wire::{Document, Envelope, Kind, Plan, Release, Root},
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// A board that trusts `flock`, and one document of each kind that it takes.
struct Board {
    root: Verified<Root>,
    release: Release,
    good: [(Kind, Vec<u8>); 3],
}

impl Board {
    fn new() -> Self {
        let fleet = Fleet::new();
        let release = release("hello", 3);
        let next = fleet.clone().with(|root| root.version = 2).sign_root();
        let plan = fleet.sign_plan(&plan(1, vec![assign(&release)]));
        let good = [(Kind::Root, next), (Kind::Plan, plan), (Kind::Release, fleet.sign_release(&release))];
        Self { root: fleet.trusted(), release, good }
    }

    fn take(&self, kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        match kind {
            Kind::Root => trust::next_root(&self.root, bytes).map(|root| root.to_bytes()),
            Kind::Release => {
                let order = order(&self.release);
                trust::verify_release(&self.root, &self.release.app, &order, bytes).map(|release| release.to_bytes())
            }
            Kind::Plan => match trust::accept_plan(&self.root, None, bytes, NOW)? {
                Accepted::New(plan) => Ok(plan.to_bytes()),
                Accepted::Same => unreachable!("there is no last plan"),
            },
        }
    }
}

#[test]
fn the_untouched_documents_are_taken_as_they_are() {
    let board = Board::new();
    for (kind, bytes) in &board.good {
        assert_eq!(board.take(*kind, bytes).unwrap(), *bytes);
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let board = Board::new();
    for (kind, good) in &board.good {
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(board.take(*kind, &bytes).is_err(), "bit {bit} of the {kind}");
        }
    }
}

#[test]
fn any_truncation_is_refused() {
    let board = Board::new();
    for (kind, good) in &board.good {
        for length in 0..good.len() {
            assert_eq!(refused(board.take(*kind, &good[..length])), Code::Malformed, "{length} of the {kind}");
        }
    }
}

#[test]
fn any_appended_byte_is_refused() {
    let board = Board::new();
    for (kind, good) in &board.good {
        for byte in 0..=u8::MAX {
            let bytes = [&good[..], &[byte]].concat();
            assert_eq!(refused(board.take(*kind, &bytes)), Code::Malformed, "{byte} after the {kind}");
        }
    }
}

/// A number has one spelling: 0x81 0x00 also reads as 1.
#[test]
fn a_longer_spelling_of_a_number_is_refused() {
    let board = Board::new();
    for (kind, good) in &board.good {
        let at = good.len() - 97;
        assert_eq!(good[at], 1, "the count of signatures");
        let bytes = [&good[..at], &[0x81, 0], &good[at + 1..]].concat();
        assert_eq!(refused(board.take(*kind, &bytes)), Code::Malformed, "{kind}");
    }
}

/// The same inside the body, signed by who may sign: a digest names one spelling of one document.
#[test]
fn a_body_in_another_spelling_is_refused_though_it_is_signed() {
    let board = Board::new();
    let plan = Envelope::unsigned(&plan(1, vec![])).body;
    assert_eq!(plan[6], 1, "its sequence");
    let longer = [&plan[..6], &[0x81, 0], &plan[7..]].concat();
    let followed = [&plan[..], &[0]].concat();
    for body in [longer, followed] {
        let bytes = sign_body(Kind::Plan, body, &[DEPLOY]).encode();
        assert_eq!(refused(board.take(Kind::Plan, &bytes)), Code::Malformed);
    }
}

#[test]
fn swapped_signatures_are_refused() {
    let board = Board::new();
    let envelopes: Vec<Envelope> =
        board.good.iter().map(|(kind, bytes)| Envelope::decode(bytes, *kind).unwrap()).collect();
    for (at, (kind, _)) in board.good.iter().enumerate() {
        for other in (0..3).filter(|other| *other != at) {
            // The whole signature: by a key that has no say in this.
            let mut swapped = envelopes[at].clone();
            swapped.signatures = envelopes[other].signatures.clone();
            assert_eq!(refused(board.take(*kind, &swapped.encode())), Code::Unsigned);
            // Its numbers alone: under the name of a key that has.
            swapped.signatures[0].key = envelopes[at].signatures[0].key;
            assert_eq!(refused(board.take(*kind, &swapped.encode())), Code::BadSignature);
        }
        let mut halves = envelopes[at].clone();
        let signature = &mut halves.signatures[0];
        std::mem::swap(&mut signature.r, &mut signature.s);
        assert_eq!(refused(board.take(*kind, &halves.encode())), Code::BadSignature);
    }
}

#[test]
fn another_signed_document_of_the_kind_does_not_lend_its_signature() {
    let board = Board::new();
    let mut one = sign(&plan(1, vec![assign(&board.release)]), &[DEPLOY]);
    one.signatures = sign(&plan(2, vec![]), &[DEPLOY]).signatures;
    assert_eq!(refused(board.take(Kind::Plan, &one.encode())), Code::BadSignature);
}

/// One key holds every role here, so that nothing but the kind can make the difference.
#[test]
fn a_document_signed_as_one_kind_is_not_taken_as_another() {
    let mut fleet = Fleet::new().with(|root| root.deploy = root.root.clone());
    fleet.root.release[0].role = fleet.root.root.clone();
    let board = Board { root: fleet.trusted(), ..Board::new() };
    let documents = [
        Envelope::unsigned(&fleet.clone().with(|root| root.version = 2).root),
        Envelope::unsigned(&plan(1, vec![])),
        Envelope::unsigned(&board.release),
    ];
    for document in &documents {
        let signed = sign_body(document.kind, document.body.clone(), &[ROOT]);
        assert!(board.take(document.kind, &signed.encode()).is_ok());
        for kind in [Kind::Root, Kind::Release, Kind::Plan].into_iter().filter(|kind| *kind != document.kind) {
            assert_eq!(refused(board.take(kind, &signed.encode())), Code::WrongKind);
            // With the kind rewritten, the domain does not fit, whatever the body would parse as.
            let relabelled = Envelope { kind: document.kind, ..sign_body(kind, document.body.clone(), &[ROOT]) };
            assert_eq!(refused(board.take(document.kind, &relabelled.encode())), Code::BadSignature);
        }
    }
}

#[test]
fn a_count_that_the_bytes_do_not_hold_is_refused_and_not_believed() {
    let board = Board::new();
    for count in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0xff; 9], &[0x80; 10]] {
        let body = [&[2][..], count].concat();
        assert_eq!(refused(board.take(Kind::Plan, &body)), Code::Malformed);
        let signatures = [&[2, 0][..], count].concat();
        assert_eq!(refused(board.take(Kind::Plan, &signatures)), Code::Malformed);
    }
}

fn whatever_is_taken_is_canonical<D: Document>(board: &Board, kind: Kind, body: Vec<u8>, seed: u8) {
    let bytes = sign_body(kind, body, &[seed]).encode();
    if board.take(kind, &bytes).is_ok() {
        let document: D = Envelope::decode(&bytes, kind).unwrap().body().unwrap();
        assert_eq!(sign(&document, &[seed]).encode(), bytes);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let board = Board::new();
        for kind in [Kind::Root, Kind::Release, Kind::Plan] {
            prop_assert!(board.take(kind, &bytes).is_err());
        }
        prop_assert!(trust::first_root(&bytes).is_err());
        prop_assert!(trust::stored_plan(&board.root, &bytes).is_err());
    }

    /// A thief of a key signs what he likes: it is taken or refused, but never misread.
    #[test]
    fn arbitrary_bodies_never_panic_though_they_are_signed(body in vec(any::<u8>(), 0..200)) {
        let board = Board::new();
        whatever_is_taken_is_canonical::<Root>(&board, Kind::Root, body.clone(), ROOT);
        whatever_is_taken_is_canonical::<Plan>(&board, Kind::Plan, body.clone(), DEPLOY);
        whatever_is_taken_is_canonical::<Release>(&board, Kind::Release, body, RELEASE);
    }

    #[test]
    fn edited_bodies_never_panic_though_they_are_signed(
        which in 0usize..3,
        edits in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let board = Board::new();
        let (kind, bytes) = &board.good[which];
        let mut body = Envelope::decode(bytes, *kind).unwrap().body;
        for (at, byte) in edits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        match kind {
            Kind::Root => whatever_is_taken_is_canonical::<Root>(&board, *kind, body, ROOT),
            Kind::Plan => whatever_is_taken_is_canonical::<Plan>(&board, *kind, body, DEPLOY),
            Kind::Release => whatever_is_taken_is_canonical::<Release>(&board, *kind, body, RELEASE),
        }
    }

    /// Several changes at once: bytes replaced, a piece cut out, a piece put in.
    #[test]
    fn any_edit_is_refused(
        which in 0usize..3,
        edits in vec((any::<Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of((any::<Index>(), 1usize..40)),
        put in vec(any::<u8>(), 0..40),
        at in any::<Index>(),
    ) {
        let board = Board::new();
        let (kind, good) = &board.good[which];
        let mut bytes = good.clone();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some((from, length)) = cut {
            let from = from.index(bytes.len());
            bytes.drain(from..bytes.len().min(from + length));
        }
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, put);
        prop_assume!(bytes != *good);
        prop_assert!(board.take(*kind, &bytes).is_err());
    }
}
