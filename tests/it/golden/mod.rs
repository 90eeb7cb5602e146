//! Held against recorded answers of the real services (`tests/golden`).
#[cfg(feature = "emulator")]
mod emulator;
mod recording;
