//! A small world by chance: a fleet that moves on, a broker full of mischief, power that fails. A board
//! never runs what is not verified, never goes back, and is where it should be when all is quiet again.
//!
//! `DUNLIN_SEED` has one world again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod board;
mod broker;
#[path = "../common/mod.rs"]
mod common;
mod disk;

use std::collections::BTreeMap;

use board::{Around, Board};
use broker::Broker;
use common::{
    Fleet, assign, floor, name, order, plan, release,
    seeded::{Chance, seeds},
};
use disk::{Disk, PowerCut};
use dunlin_core::{
    Moment,
    wire::{AppName, Digest, Module, Release, Timestamp, Topic},
};

const SEEDS: u64 = 200;
const APPS: [&str; 2] = ["hello", "clock"];
/// Milliseconds of mischief, and of quiet after it.
const MISCHIEF_MS: u64 = 120_000;
const QUIET_MS: u64 = 300_000;

struct World {
    chance: Chance,
    now: Moment,
    fleet: Fleet,
    broker: Broker,
    board: Board,
    /// Every module that an operator ever released, by its release.
    released: BTreeMap<Digest, Vec<u8>>,
    current: BTreeMap<AppName, Release>,
    sequence: u64,
    /// The furthest that the board has been: root, plan.
    furthest: (u64, u64),
}

#[test]
fn a_board_comes_to_what_it_should_whatever_happens_on_the_way() {
    seeds(SEEDS, |chance| {
        let mut world = World::new(chance);
        while world.now < Moment(MISCHIEF_MS) {
            world.happen();
        }
        world.quiet();
    });
}

impl World {
    fn new(mut chance: Chance) -> Self {
        let fleet = Fleet::new();
        let (mut disk, mut broker) = (Disk::default(), Broker::default());
        (disk.cuts, broker.mischief) = (chance.of(0..8), chance.of(0..40));
        let board = Board::start(fleet.trusted(), disk);
        let (released, current) = (BTreeMap::new(), BTreeMap::new());
        let (now, sequence, furthest) = (Moment(0), 0, (1, 0));
        Self { chance, now, fleet, broker, board, released, current, sequence, furthest }
    }

    /// One thing by chance.
    fn happen(&mut self) {
        match self.chance.of(0..100) {
            0..8 => self.deploy(),
            8..11 => self.rotate(),
            11..16 if self.board.is_connected() => {
                self.broker.disconnect();
                self.board.disconnect();
            }
            16..18 => self.board.crash(self.now),
            18 => self.cut(),
            19..40 if !self.board.is_connected() => self.connect(),
            _ => {}
        }
        let step = self.chance.of(1..3_000);
        self.pass(step);
    }

    /// The operator releases another version of an app and orders it.
    fn deploy(&mut self) {
        let app = *self.chance.one::<&str>(&APPS);
        let counter = self.current.get(&name(app)).map_or(1, |last| last.counter + 1);
        let mut next = release(app, counter);
        let module: Vec<u8> = (0..self.chance.of(1..8_000)).map(|at| (at / 9 + counter) as u8).collect();
        next.module = Module::describe(&module, 1_024);
        for (index, chunk) in (0..).zip(module.chunks(1_024)) {
            self.publish(Topic::Blob(next.module.sha256, index), chunk.to_vec());
        }
        let envelope = self.fleet.sign_release(&next);
        self.publish(Topic::Release(order(&next).digest), envelope);
        self.released.insert(order(&next).digest, module);
        self.current.insert(name(app), next);
        self.order();
    }

    fn order(&mut self) {
        self.sequence += 1;
        let assignments = self.current.values().map(assign).collect();
        let mut next = plan(self.sequence, assignments);
        next.not_after = Timestamp(common::NOW.0 + 1_000);
        let envelope = self.fleet.sign_plan(&next);
        self.publish(Topic::Plan, envelope);
    }

    /// The next root, with a floor that some releases are below.
    fn rotate(&mut self) {
        let Some(last) = self.current.values().next() else { return };
        self.fleet.root.version += 1;
        self.fleet.root.floors = vec![floor(last.app.as_str(), last.counter)];
        let (version, envelope) = (self.fleet.root.version, self.fleet.sign_root());
        self.publish(Topic::Root(version), envelope);
    }

    fn publish(&mut self, topic: Topic, bytes: Vec<u8>) {
        self.broker.publish(topic, bytes, self.now, &mut self.chance);
    }

    fn connect(&mut self) {
        let mut around = Around { broker: &mut self.broker, chance: &mut self.chance, now: self.now };
        self.board.connect(&mut around);
    }

    /// The power is gone and comes back.
    fn cut(&mut self) {
        self.broker.disconnect();
        let mut disk = std::mem::take(&mut self.board.disk);
        disk.after_cut(&mut self.chance);
        // The root that it was given by hand is the first one, for ever.
        self.board = Board::start(Fleet::new().trusted(), disk);
        self.look();
    }

    /// So many milliseconds pass; what is due happens in its order.
    fn pass(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds;
        loop {
            if let Err(PowerCut) = self.settle() {
                self.cut();
                continue;
            }
            self.look();
            let due = self.broker.next_at().into_iter().chain(self.board.poll_timeout()).min();
            match due.filter(|at| *at <= until) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
        }
        self.now = until;
    }

    fn settle(&mut self) -> Result<(), PowerCut> {
        while let Some((topic, bytes)) = self.broker.arrived(self.now) {
            let mut around = Around { broker: &mut self.broker, chance: &mut self.chance, now: self.now };
            self.board.handle(&topic, &bytes, &mut around)?;
            self.board.settle(&mut around)?;
        }
        let mut around = Around { broker: &mut self.broker, chance: &mut self.chance, now: self.now };
        self.board.settle(&mut around)
    }

    /// What must always be so when a board has done what there is to do.
    fn look(&mut self) {
        for app in self.board.apps.values() {
            let floor = self.board.roots.current().floor(&app.release.app);
            assert!(app.release.counter >= floor, "{} runs below its floor", app.release.app);
        }
        for (release, bytes) in self.board.started.drain(..) {
            let module = self.released.get(&release.digest()).expect("only what was released runs");
            assert!(*module == bytes, "{} runs other bytes than were released", release.app);
        }
        let at = (self.board.roots.current().version, self.board.plan.as_ref().map_or(0, |plan| plan.sequence));
        assert!(at.0 >= self.furthest.0 && at.1 >= self.furthest.1, "{at:?} after {:?}", self.furthest);
        self.furthest = at;
    }

    /// No mischief any more: the board comes to the last plan by itself, once it is connected anew.
    fn quiet(&mut self) {
        (self.broker.mischief, self.board.disk.cuts) = (0, 0);
        self.deploy();
        self.broker.disconnect();
        self.board.disconnect();
        self.connect();
        self.pass(QUIET_MS);
        assert_eq!(self.furthest, (self.fleet.root.version, self.sequence));
        for (app, wanted) in &self.current {
            let runs = self.board.apps.get(app).unwrap_or_else(|| panic!("{app} does not run"));
            assert_eq!(runs.ran.release, order(wanted).digest, "{app}");
            assert!(runs.up, "{app} is not up");
        }
        assert_eq!(self.board.apps.len(), self.current.len());
    }
}
