//! The emulator answers as the recordings do.
mod arm;
mod entra;
mod key_vault;
