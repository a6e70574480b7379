//! A depot, driven by an input: bitmaps right and wrong, answered, lost and asked for again.
#![no_main]

use std::collections::BTreeMap;

use dunlin_core::{
    Moment,
    depot::Answers,
    limits,
    wire::{Bitmap, Digest},
};
use dunlin_fuzz::bytes::Reader;
use libfuzzer_sys::fuzz_target;

const BYTES_PER_SECOND: u64 = 64 * 1024;
const CHUNK_BYTES: usize = 1024;

fuzz_target!(|data: &[u8]| {
    let mut input = Reader(data);
    let things = [b"one", b"two"].map(|name| (Digest::of(name), u32::from(input.u16())));
    let mut answers = Answers::new(BYTES_PER_SECOND);
    let (mut now, mut bytes) = (Moment(1_000), 0);
    let mut sent = BTreeMap::<(Digest, u32), Moment>::new();
    while !input.is_empty() {
        now = now + u64::from(input.u8()) * 10;
        match input.u8() % 3 {
            0 => {
                let (digest, count) = things[usize::from(input.u8() % 2)];
                let len = usize::from(input.u8());
                let bitmap = input.take(len);
                let decoded = Bitmap::decode(bitmap, count);
                let taken = answers.handle_want(digest, count, bitmap, now);
                match (&decoded, taken) {
                    (Ok(asked), Ok(new)) => {
                        assert_eq!(asked.encode(), bitmap, "a bitmap has one spelling");
                        assert!(new as usize <= asked.present().count());
                    }
                    (Err(_), Err(refusal)) => assert!(!refusal.sentence.is_empty()),
                    other => panic!("{other:?}"),
                }
            }
            1 => {
                while let Some(answer) = answers.poll_answer(now) {
                    let (digest, index) = answer;
                    let known = things.iter().any(|(thing, count)| *thing == digest && index < *count);
                    assert!(known, "it sends what nobody can have asked for");
                    if let Some(last) = sent.insert(answer, now) {
                        assert!(now.since(last) >= limits::ANSWER_ONCE_MS, "one answer serves all");
                    }
                    answers.handle_sent(CHUNK_BYTES, now);
                    bytes += CHUNK_BYTES as u64;
                }
                // A little at once, and a chunk that has begun.
                let may = now.0 * BYTES_PER_SECOND / 1_000 + 4 * CHUNK_BYTES as u64;
                assert!(bytes <= may, "{bytes} bytes by {now:?}");
            }
            _ => answers.handle_lost(&things[usize::from(input.u8() % 2)].0),
        }
    }
});
