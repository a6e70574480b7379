//! Five small pieces of work for an engine, each of its own kind: `kernels [ROUNDS [NAME]...]`.
//!
//! Prints a line for each: its name, a number that depends on all of the work, and its nanoseconds a round. An embedder
//! that wants none of WASI calls the export `kernel` instead.

use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

/// What a kernel is called, and the work.
type Kernel = (&'static str, fn() -> u64);

const KERNELS: [Kernel; 5] =
    [("calls", calls), ("memory", memory), ("floats", floats), ("bits", bits), ("branches", branches)];

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let Some(rounds) = args.next().map_or(Some(1_u32), |rounds| rounds.parse().ok().filter(|rounds| *rounds > 0))
    else {
        eprintln!("usage: kernels [ROUNDS [NAME]...]");
        return ExitCode::from(2);
    };
    let wanted: Vec<_> = args.collect();
    for (name, kernel) in KERNELS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        let begin = Instant::now();
        let sum = (0..rounds).fold(0_u64, |sum, _| sum.wrapping_add(black_box(kernel)()));
        println!("{name} {sum} {}", begin.elapsed().as_nanos() / u128::from(rounds));
    }
    ExitCode::SUCCESS
}

#[expect(unsafe_code, reason = "the name is this guest's own; nothing else in it exports one")]
// SAFETY: no other symbol of this program has the name.
#[unsafe(no_mangle)]
/// One round of the kernel of that number; 0 where there is none.
extern "C" fn kernel(number: u32) -> u64 {
    KERNELS.get(number as usize).map_or(0, |(_, kernel)| kernel())
}

/// Calls: a Fibonacci number by the book.
fn calls() -> u64 {
    fn fibonacci(n: u32) -> u64 {
        if n < 2 { n.into() } else { fibonacci(n - 1) + fibonacci(n - 2) }
    }
    fibonacci(black_box(24))
}

/// Loads and stores of bytes: how many primes there are below 100,000.
fn memory() -> u64 {
    let mut composite = vec![false; black_box(100_000)];
    let mut primes = 0;
    for number in 2..composite.len() {
        if !composite[number] {
            primes += 1;
            composite[number..].iter_mut().step_by(number).for_each(|multiple| *multiple = true);
        }
    }
    primes
}

/// Floating point: the product of two matrices.
fn floats() -> u64 {
    const SIDE: usize = 48;
    let left: Vec<f64> = (0..SIDE * SIDE).map(|at| at as f64 / 7.0).collect();
    let right: Vec<f64> = (0..SIDE * SIDE).map(|at| 3.0 - at as f64 / 11.0).collect();
    let mut trace = 0.0;
    for (row, line) in left.chunks_exact(SIDE).enumerate() {
        for column in 0..SIDE {
            let cell: f64 = line.iter().zip(right[column..].iter().step_by(SIDE)).map(|(a, b)| a * b).sum();
            if row == column {
                trace += cell;
            }
        }
    }
    trace.to_bits()
}

/// Integer arithmetic in registers: the permutation of ChaCha20, a thousand times (RFC 8439, 2.1).
fn bits() -> u64 {
    const ROUNDS: [[usize; 4]; 8] = [
        [0, 4, 8, 12],
        [1, 5, 9, 13],
        [2, 6, 10, 14],
        [3, 7, 11, 15],
        [0, 5, 10, 15],
        [1, 6, 11, 12],
        [2, 7, 8, 13],
        [3, 4, 9, 14],
    ];
    let mut state: [u32; 16] = std::array::from_fn(|word| word as u32 + 1);
    for _ in 0..black_box(1_000) {
        for [a, b, c, d] in ROUNDS {
            for (turns, (into, by, turned)) in [(16, (a, b, d)), (12, (c, d, b)), (8, (a, b, d)), (7, (c, d, b))] {
                state[into] = state[into].wrapping_add(state[by]);
                state[turned] = (state[turned] ^ state[into]).rotate_left(turns);
            }
        }
    }
    state.iter().fold(0, |sum, word| sum * 31 % 1_000_003 + u64::from(*word))
}

/// Branches that nobody can foresee: 20,000 numbers, sorted.
fn branches() -> u64 {
    let mut seed = black_box(88_172_645_463_325_252_u64);
    let mut numbers: Vec<u32> = Vec::with_capacity(20_000);
    for _ in 0..numbers.capacity() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        numbers.push(seed as u32);
    }
    numbers.sort_unstable();
    numbers.iter().step_by(1_000).fold(0, |sum, number| sum * 31 % 1_000_003 + u64::from(*number))
}
