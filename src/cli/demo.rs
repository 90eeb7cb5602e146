//! stub
use super::{Context, Failure};
use clap::Args;
/// x
#[derive(Debug, Args)]
pub struct Demo {}
pub(super) async fn run(_: &Demo, _: &Context) -> Result<(), Failure> {
    Ok(())
}
