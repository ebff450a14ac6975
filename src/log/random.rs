//! Random operations for the models: `MODEL_STEPS` of them, chosen by `MODEL_SEED`. What fails is made as short as it can
//! be, and printed with the seed.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// Runs sequences of up to `length_max` operations, `steps` in all where nothing else is said.
pub(crate) fn sequences<T: Debug + Clone>(
    operation: impl Strategy<Value = T>,
    length_max: usize,
    steps: u64,
    run: impl Fn(&[T]),
) {
    let steps = number("MODEL_STEPS").unwrap_or(steps);
    let seed = number("MODEL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("MODEL_SEED={seed} MODEL_STEPS={steps}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig {
        // A sequence is half as long as it may be, on average.
        cases: u32::try_from(2 * steps / length_max as u64 + 1).unwrap(),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let operations = prop::collection::vec(operation, 1..length_max);
    let outcome = TestRunner::new_with_rng(config, rng).run(&operations, |operations| {
        run(&operations);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("MODEL_SEED={seed} MODEL_STEPS={steps}: {failure}");
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}
