//! `secret VAULT/NAME|NAME…`, or without arguments one for each line of stdin.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

mod secret;

fn main() -> ExitCode {
    let addr = env::var("SIDEKEY_ADDR").unwrap_or_else(|_| "/run/sidekey/sidekey.sock".to_owned());
    let arguments: Vec<_> = env::args().skip(1).collect();
    let lines = io::stdin().lines().map_while(Result::ok).filter(|_| arguments.is_empty());
    for reference in arguments.iter().cloned().chain(lines) {
        match secret::secret(&addr, &reference) {
            Ok((200, value)) => {
                let mut stdout = io::stdout().lock();
                if stdout.write_all(&value).and_then(|()| stdout.flush()).is_err() {
                    return ExitCode::from(74);
                }
            }
            Ok((status, problem)) => {
                eprintln!("sidekey: {status} {}", String::from_utf8_lossy(&problem));
                // The exit codes of sidekey's own commands; for other answers 69: unavailable.
                return ExitCode::from(match status {
                    404 | 409 => 1,
                    400 => 64,
                    401 | 403 | 410 | 502 => 77,
                    _ => 69,
                });
            }
            Err(error) => {
                eprintln!("sidekey: no answer from {addr}: {error}");
                return ExitCode::from(69);
            }
        }
    }
    ExitCode::SUCCESS
}
