//! Tests whether the time to compare secrets depends on the input: two classes of input, many timings, Welch's t-test
//! ([dudect](https://eprint.iacr.org/2016/1123)).
//!
//! A large |t| shows a dependency on this machine with this compiler. A small |t| does not prove that there is none: it
//! only means that so many timings did not distinguish the classes. The comparison `plain` must be distinguished;
//! otherwise the test detects nothing on this machine.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use dudect_bencher::rand::Rng;
use dudect_bencher::{BenchRng, Class, CtRunner, ctbench_main};
use nearedge_core::access::secret::Secrets;

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TIMINGS: usize = 100_000;

/// Times a comparison with two guesses, one wrong in the first byte and one in the last. Both are copied to the same
/// address, so that they differ only in their content.
fn first_or_last(runner: &mut CtRunner, rng: &mut BenchRng, matches: impl Fn(&str) -> bool) {
    let wrong_at = |at: usize| {
        let mut guess = SECRET.as_bytes().to_vec();
        guess[at] ^= 1;
        String::from_utf8(guess).unwrap()
    };
    let guesses = [wrong_at(0), wrong_at(SECRET.len() - 1)];
    let mut guess = String::with_capacity(SECRET.len());
    for _ in 0..TIMINGS {
        let (class, chosen) = if rng.gen_bool(0.5) { (Class::Left, &guesses[0]) } else { (Class::Right, &guesses[1]) };
        guess.clear();
        guess.push_str(black_box(chosen));
        runner.run_one(class, || black_box(matches(black_box(&guess))));
    }
}

fn first_or_last_byte_wrong(runner: &mut CtRunner, rng: &mut BenchRng) {
    let secrets = Secrets::new(SECRET).unwrap();
    first_or_last(runner, rng, |guess| secrets.matches(guess).is_some());
}

/// Times one guess against a secret of the same length and against a much shorter one. The time may depend on the
/// length of the guess, which the client knows.
fn long_or_short_secret(runner: &mut CtRunner, rng: &mut BenchRng) {
    let secrets = [SECRET, "x"].map(|secret| Secrets::new(secret).unwrap());
    let guess = "x".repeat(SECRET.len());
    // Copied to one address, like the guesses above.
    let mut target = secrets[0].clone();
    for _ in 0..TIMINGS {
        let (class, chosen) = if rng.gen_bool(0.5) { (Class::Left, &secrets[0]) } else { (Class::Right, &secrets[1]) };
        target.clone_from(black_box(chosen));
        runner.run_one(class, || black_box(target.matches(black_box(&guess)).is_some()));
    }
}

/// A comparison that ends at the first wrong byte.
fn plain(runner: &mut CtRunner, rng: &mut BenchRng) {
    first_or_last(runner, rng, |guess| {
        guess.bytes().zip(SECRET.bytes()).all(|(guessed, expected)| black_box(guessed) == expected)
    });
}

ctbench_main!(first_or_last_byte_wrong, long_or_short_secret, plain);
