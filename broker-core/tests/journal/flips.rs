//! A few bits of something right are changed, again and again. `LEVERET_TEST_SEED` chooses other bits.

use rand::{Rng, SeedableRng, rngs::StdRng};

pub fn random() -> StdRng {
    let chosen = std::env::var("LEVERET_TEST_SEED").ok();
    let seed: u64 = chosen.and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("LEVERET_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Exercises `data` as it is, and `times` with up to three bits changed.
pub fn with_flips(data: &[u8], times: usize, random: &mut StdRng, exercise: impl Fn(&[u8])) {
    exercise(data);
    for _ in 0..times {
        let mut data = data.to_vec();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(0..data.len());
            data[place] ^= 1 << random.random_range(0..8);
        }
        exercise(&data);
    }
}
