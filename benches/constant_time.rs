//! Whether the time of the secret's comparison depends on what is compared, as dudect looks for it: two kinds of
//! input, many timings, Welch's t-test ([dudect](https://eprint.iacr.org/2016/1123)).
//!
//! It can show that a time does depend on the input, on this machine, with this compiler. It cannot show that it never
//! does: a |t| that stays small means only that so many timings told nothing apart. `plain` is what must be told
//! apart, or the test sees nothing here.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use dudect_bencher::rand::Rng;
use dudect_bencher::{BenchRng, Class, CtRunner, ctbench_main};
use nearedge_core::access::secret::Secrets;

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TIMINGS: usize = 100_000;

/// Timings of one comparison, of a guess that is wrong at its first byte and of one that is wrong at its last. Both lie
/// at one address, so that only what they say can be told apart.
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

/// One guess at a secret of the same length, and at a much shorter one. How long the guess is does show, and is known
/// to whoever made it.
fn long_or_short_secret(runner: &mut CtRunner, rng: &mut BenchRng) {
    let doors = [SECRET, "x"].map(|secret| Secrets::new(secret).unwrap());
    let guess = "x".repeat(SECRET.len());
    // Copied to one place, as the guesses are above.
    let mut door = doors[0].clone();
    for _ in 0..TIMINGS {
        let (class, chosen) = if rng.gen_bool(0.5) { (Class::Left, &doors[0]) } else { (Class::Right, &doors[1]) };
        door.clone_from(black_box(chosen));
        runner.run_one(class, || black_box(door.matches(black_box(&guess)).is_some()));
    }
}

/// The way that gives itself away.
fn plain(runner: &mut CtRunner, rng: &mut BenchRng) {
    first_or_last(runner, rng, |guess| {
        guess.bytes().zip(SECRET.bytes()).all(|(given, wanted)| black_box(given) == wanted)
    });
}

ctbench_main!(first_or_last_byte_wrong, long_or_short_secret, plain);
