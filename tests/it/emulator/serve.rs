use sidekey::emulator::{ServeError, ServeOptions, serve};

use super::support::ESTATE;

fn options(listen: &str) -> ServeOptions {
    ServeOptions { listen: listen.parse().unwrap(), estate: None, ca_out: None }
}

#[tokio::test]
async fn an_estate_of_a_file_is_served_until_told_to_stop_and_its_certificate_written() {
    let folder = tempfile::tempdir().unwrap();
    let (estate, ca) = (folder.path().join("estate.toml"), folder.path().join("ca.pem"));
    std::fs::write(&estate, ESTATE).unwrap();
    let options = ServeOptions { estate: Some(estate), ca_out: Some(ca.clone()), ..options("127.0.0.1:0") };
    let mut addr = None;
    serve(options, |emulator| addr = Some((emulator.addr(), emulator.ca_pem().to_owned())), async {}).await.unwrap();
    let (addr, pem) = addr.unwrap();
    assert_eq!(std::fs::read_to_string(ca).unwrap(), pem);
    assert!(std::net::TcpListener::bind(addr).is_ok(), "it has let go of its port");
}

#[tokio::test]
async fn what_keeps_it_from_serving_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let estate = folder.path().join("estate.toml");
    std::fs::write(&estate, "[[tenant]]\nid = 7\ncloudd = \"public\"\n").unwrap();
    let faulty = ServeOptions { estate: Some(estate), ..options("127.0.0.1:0") };
    let told = serve(faulty, |_| (), async {}).await.unwrap_err().to_string();
    assert!(told.contains("2 faults:\n  line 2: tenant[0].id: ") && told.contains("\n  line 3: "), "{told}");

    let error = serve(options("0.0.0.0:0"), |_| (), async {}).await.unwrap_err();
    assert!(matches!(error, ServeError::NotLoopback(_)), "{error}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = serve(options(&taken.local_addr().unwrap().to_string()), |_| (), async {}).await.unwrap_err();
    assert!(matches!(error, ServeError::Listen { .. }), "{error}");
}

#[tokio::test]
async fn the_demos_estate_is_served() {
    let now = time::OffsetDateTime::now_utc();
    let emulator = sidekey::emulator::Emulator::start_on_loopback(sidekey::emulator::Estate::demo(now)).unwrap();
    assert!(emulator.addr().ip().is_loopback());
    emulator.stop().await;
}
