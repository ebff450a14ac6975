//! What stands for the code of a broker: it allocates, copies and hashes a little, as code does that looks things up and
//! keeps accounts of them. The amount is fixed: whoever changes it sets all baselines of compat/cpu-per-request anew.

use std::hash::{DefaultHasher, Hasher};
use std::hint::black_box;

/// Some 35 ns each on a server of 2021.
const ROUNDS: usize = 20;
const PIECE: usize = 64;

/// Does a fixed amount of work over the first bytes of what is given.
pub(super) fn work(bytes: &[u8]) {
    let piece = &bytes[..bytes.len().min(PIECE)];
    for _ in 0..ROUNDS {
        let copy = black_box(piece.to_vec());
        let mut hasher = DefaultHasher::new();
        hasher.write(&copy);
        black_box(hasher.finish());
    }
}
