//! What is computed by a native agent and by a component alike.

/// Numbers, sorted and hashed: so many rounds of 256.
pub(crate) fn work(rounds: u32) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut values = [0_u32; 256];
    for _ in 0..rounds {
        for value in &mut values {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *value = (state >> 32) as u32;
        }
        values.sort_unstable();
        for value in values {
            hash = (hash ^ u64::from(value)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
