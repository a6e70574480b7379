//! A transfer, driven by an input: chunks right, wrong, doubled and out of order, over sessions that break.
#![no_main]

use dunlin_core::{
    Moment, limits,
    transfer::{Ask, Transfer},
    trust::{check_chunk, check_module},
    wire::{Bitmap, Digest, Module},
};
use dunlin_fuzz::bytes::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Reader(data);
    let chunk_bytes = u32::from(input.u8()).max(1);
    let len = usize::from(input.u16() % 2048);
    let whole = (0..len).map(|at| (at / 3) as u8 ^ (at >> 8) as u8).collect::<Vec<_>>();
    let module = Module::describe(&whole, chunk_bytes);
    nonsense(&module, &mut input);

    let mut have = Bitmap::new(module.count());
    let mut copy = vec![0; len];
    for _ in 0..input.u8() % 4 {
        let index = u32::from(input.u16());
        have.set(index);
        if let Some((offset, length)) = module.range(index) {
            let span = offset as usize..offset as usize + length;
            copy[span.clone()].copy_from_slice(&whole[span]);
        }
    }
    let mut transfer = Transfer::new(module.clone(), have, len as u64);
    let mut now = Moment(0);
    while !input.is_empty() {
        now = now + u64::from(input.u8()) * 100;
        match input.u8() % 8 {
            0 => transfer.handle_connected(input.u8() % 4 != 0, now),
            1 => transfer.handle_disconnected(),
            2 | 3 => asks(&mut transfer, now),
            4 => {
                let (index, len) = (input.u32(), usize::from(input.u8()));
                let bytes = input.take(len);
                // Short chunks can be guessed.
                if let Ok(Some(offset)) = transfer.handle_chunk(index, bytes, now) {
                    copy[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                }
            }
            _ => {
                let index = u32::from(input.u8());
                let Some(bytes) = whole.chunks(chunk_bytes as usize).nth(index as usize) else { continue };
                if let Ok(Some(offset)) = transfer.handle_chunk(index, bytes, now) {
                    copy[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                }
                let again = transfer.handle_chunk(index, bytes, now);
                assert_eq!(again, Ok(None), "it is there already");
            }
        }
        if transfer.is_complete() {
            assert_eq!(copy, whole, "complete, and not the module");
            assert_eq!(check_module(&module, copy.len() as u64, Digest::of(&copy)), Ok(()));
            assert_eq!(transfer.poll_timeout(), None);
        }
    }
});

/// It asks for few things at a time, and then for nothing until something happens.
fn asks(transfer: &mut Transfer, now: Moment) {
    let count = transfer.module().count();
    let done = std::iter::from_fn(|| transfer.poll_ask(now)).take(limits::TRANSFER_WINDOW + 300).collect::<Vec<_>>();
    let subscribed = done.iter().filter(|ask| matches!(ask, Ask::Subscribe(_))).count();
    assert!(subscribed <= limits::TRANSFER_WINDOW);
    for ask in &done {
        match ask {
            Ask::Subscribe(index) | Ask::Unsubscribe(index) => assert!(*index < count),
            Ask::SubscribeAll | Ask::UnsubscribeAll => assert_eq!(subscribed, 0, "all of them, or some"),
            Ask::Want(wanted) => {
                assert!(wanted.present().next().is_some(), "nothing is wanted");
                assert_eq!(Bitmap::decode(&wanted.encode(), count).as_ref(), Ok(wanted));
            }
        }
    }
    assert_eq!(transfer.poll_ask(now), None, "it never stops asking");
}

/// A module that no release could describe: whatever is asked of it, it refuses.
fn nonsense(module: &Module, input: &mut Reader<'_>) {
    let module = Module { bytes: input.u64(), chunk_bytes: input.u32(), ..module.clone() };
    let index = input.u32();
    if let Some((offset, length)) = module.range(index) {
        assert!(offset + length as u64 <= module.bytes);
    }
    assert!(check_chunk(&module, index, b"none of its chunks").is_err());
}
