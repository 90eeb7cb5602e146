//! The fake Azure, in a process of its own, so that its work is not counted as ours, on cores of its own.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sidekey::emulator::{Emulator, Estate};
use tokio::net::TcpSocket;

use super::table::{Cores, runtime};

pub(super) const TENANT: &str = "11111111-1111-4111-8111-111111111111";
pub(super) const CLIENT: &str = "aaaaaaaa-0000-4000-8000-000000000001";
/// What the child is told first.
pub(super) const FLAG: &str = "--azure";

/// It ends with this process, or when it is dropped.
pub(super) struct Azure {
    child: Child,
    pub(super) addr: SocketAddr,
    pub(super) ca: PathBuf,
    _folder: tempfile::TempDir,
}

impl Azure {
    pub(super) fn start(vaults: usize, secrets: usize, away: Duration) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([FLAG, &vaults.to_string(), &secrets.to_string(), &away.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines.next().unwrap().unwrap().parse().unwrap();
        let pem: String = lines.map(|line| line.unwrap() + "\n").take_while(|line| line != "ready\n").collect();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, pem).unwrap();
        Self { child, addr, ca, _folder: folder }
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The child: serves until its standard input ends.
pub(super) fn serve(vaults: usize, secrets: usize, away: Duration) {
    let mut estate = format!(
        "[[tenant]]\nid = \"{TENANT}\"\n[[app]]\nname = \"bench\"\nid = \"{CLIENT}\"\nsecret = [{{ value = \"right\" }}]\n\
         [[subscription]]\nid = \"aaaa0000-0000-4000-8000-00000000000a\"\nname = \"one\"\n\
         [[grant]]\napp = \"bench\"\nsubscriptions = [\"*\"]\n[[grant]]\napp = \"bench\"\nvaults = [\"*\"]\nrights = [\"all\"]\n"
    );
    for vault in 0..vaults {
        write!(
            estate,
            "[[vault]]\nname = \"vault-{vault}\"\nsubscription = \"one\"\n\
             [[vault.bulk]]\npattern = \"service-{{}}-password\"\ncount = {secrets}\n"
        )
        .unwrap();
    }
    let estate = Estate::parse(&estate).unwrap();
    runtime(&Cores::halves().askers).block_on(async {
        // A thousand connections at once are no reason to drop one: each vault has an address of its own in Azure.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(4_096).unwrap().into_std().unwrap();
        let emulator = Emulator::start(estate, listener).unwrap();
        emulator.control().set_latency(away);
        println!("{}\n{}ready", emulator.addr(), emulator.ca_pem());
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        emulator.stop().await;
    });
}
