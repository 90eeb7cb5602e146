use serde_json::json;

use crate::emulator::support::{ARM, Lab, TENANT};
use crate::golden::recording::{Recording, covers, shape};

#[tokio::test]
async fn the_documents_of_discovery_have_the_recorded_shape() {
    let recording = Recording::of("arm_subscriptions");
    let lab = Lab::new();
    let openid = format!("https://login.microsoftonline.com/{TENANT}/v2.0/.well-known/openid-configuration");
    let openid = lab.get(&openid, "").await.json();
    assert_eq!(shape(&openid), shape(&recording.find("/.well-known/openid-configuration", 200).json()));
    let recorded = recording.find("/common/discovery/instance", 200);
    let instance = lab.get(&recorded.uri, "").await.json();
    assert_eq!(shape(&instance), shape(&recorded.json()));
    assert_eq!(instance["tenant_discovery_endpoint"], recorded.json()["tenant_discovery_endpoint"]);
}

#[tokio::test]
async fn a_token_that_lives_for_a_day_tells_when_to_renew_it_as_recorded() {
    let recorded = Recording::of("arm_subscriptions").find("/oauth2/v2.0/token", 200).json();
    let lab = Lab::of(&format!("token_lifetime_s = 86399\n{}", crate::emulator::support::ESTATE));
    let emulated = lab.sign_in(crate::emulator::support::READER, "right", ARM).await.json();
    assert!(covers(&shape(&emulated), &shape(&recorded)), "{emulated}");
    assert_eq!((&emulated["expires_in"], &emulated["refresh_in"]), (&json!(86399), &json!(43199)));
}
