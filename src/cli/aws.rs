//! `aws-credentials`: two or three secrets as the credentials of AWS that its SDKs ask a program for.
//!
//! Must never happen: a key without its secret; a value on a terminal that was not asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::args::Connect;
use super::client::{Answer, Client, Request};
use super::lengths::lifetime;
use super::sidecar::Need;
use super::terminal::{harmless, print, stdout_is_terminal};
use super::{Context, Exit, Failure};
use crate::api::AwsProfile;
use crate::api::model::{AwsProcessCredentials, ProblemDocument, ResolveAnswer, ResolveRequest, expiration};
use crate::secret::{BadReference, Reference};

/// Print credentials of AWS as its SDKs and the AWS CLI ask a program for them: the setting credential_process of a profile.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct AwsCredentialsArgs {
    /// Where the access key's id is: secret://VAULT/NAME, VAULT/NAME or NAME
    #[arg(value_name = "ID_REF", value_parser = Reference::parse_lenient as fn(&str) -> Result<Reference, BadReference>)]
    id: Reference,
    /// Where the access key itself is
    #[arg(value_name = "KEY_REF", value_parser = Reference::parse_lenient as fn(&str) -> Result<Reference, BadReference>)]
    signing: Reference,
    /// Where the session's token is, if the key needs one
    #[arg(value_name = "TOKEN_REF", value_parser = Reference::parse_lenient as fn(&str) -> Result<Reference, BadReference>)]
    session: Option<Reference>,
    /// After that, the SDK must ask again; some ask up to 15 minutes earlier, and this program is started for each time
    #[arg(long, value_name = "DURATION", default_value = "16m", value_parser = lifetime)]
    lifetime: Duration,
    /// Print the values though a terminal shows them
    #[arg(long)]
    show: bool,
    #[command(flatten)]
    connect: Connect,
}

const AFTER_HELP: &str = "\
Examples:
  sidekey aws-credentials pay-prod/s3-key-id pay-prod/s3-key
  sidekey aws-credentials 'secret://*/s3#/id' 'secret://*/s3#/key'      fields of one secret

In ~/.aws/config:
  [profile backup]
  credential_process = sidekey aws-credentials pay-prod/s3-key-id pay-prod/s3-key

Where the sidecar has TCP, its [[aws]] does the same without a program: see the README.";

pub(super) async fn run(args: &AwsCredentialsArgs, context: &Context) -> Result<(), Failure> {
    if !args.show && stdout_is_terminal() {
        let what = "values would be shown on this terminal\nsay --show if that is meant";
        return Err(Failure::new(Exit::Usage, what));
    }
    let references = [
        (AwsProfile::ACCESS_KEY_ID, Some(&args.id)),
        (AwsProfile::SECRET_ACCESS_KEY, Some(&args.signing)),
        (AwsProfile::SESSION_TOKEN, args.session.as_ref()),
    ];
    let references = references.into_iter().filter_map(|(key, reference)| Some((key.to_owned(), reference?)));
    let references: BTreeMap<String, &Reference> = references.collect();
    let client = Client::connect(context, &args.connect)?;
    for reference in references.values() {
        client.prepare(reference.vault.as_ref().map_or(Need::Everything, Need::Vault)).await;
    }
    let refs = references.iter().map(|(key, reference)| (key.clone(), reference.to_string())).collect();
    let answer = client.send(&Request::v1(&["resolve"]).send(&ResolveRequest { refs })).await?;
    if !answer.status.is_success() {
        return Err(failure(&answer));
    }
    let mut answer: ResolveAnswer = serde_json::from_slice(&answer.body).map_err(|_| not_understood())?;
    let mut take = |key: &str| answer.values.remove(key);
    let (id, key) = (take(AwsProfile::ACCESS_KEY_ID), take(AwsProfile::SECRET_ACCESS_KEY));
    let session_token = take(AwsProfile::SESSION_TOKEN);
    let (Some(access_key_id), Some(secret_access_key)) = (id, key) else { return Err(not_understood()) };
    if session_token.is_some() != args.session.is_some() {
        return Err(not_understood());
    }
    let expiration = expiration(OffsetDateTime::now_utc(), args.lifetime);
    let told = AwsProcessCredentials { version: 1, access_key_id, secret_access_key, session_token, expiration };
    let page = serde_json::to_vec(&told).map(Zeroizing::new).map_err(|_| not_understood())?;
    print(&page)?;
    print(b"\n")
}

/// What is wrong with each reference.
fn failure(answer: &Answer) -> Failure {
    let Failure { exit, mut message } = Client::in_words(answer);
    if let Ok(problem) = serde_json::from_slice::<ProblemDocument>(&answer.body) {
        for (key, fault) in &problem.errors {
            message.push_str(&format!("\n  {}: {}", harmless(&key.replace('_', " ")), harmless(&fault.detail)));
        }
    }
    Failure { exit, message }
}

fn not_understood() -> Failure {
    Failure::new(Exit::Unavailable, "the sidecar's answer is not understood; is it of another version?")
}
