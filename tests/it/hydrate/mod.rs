//! What is printed for others, read by those others.
mod command;
mod consumers;
mod env_files;
mod hostile;
mod references;
