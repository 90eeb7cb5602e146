use std::pin::pin;
use std::task::Poll;

use futures::poll;
use sidekey::access::audit::{Audit, Book, Names, Unrecorded};
use sidekey::metrics::Metrics;

use super::{Asked, Asking, Paper, Verdict, counted, line, lines, requests};

/// An audit that does with its lines what the test says.
fn asking(required: bool, at_once: usize) -> (Audit, Asked, Metrics) {
    let (sink, asked) = Asking::new(at_once);
    let metrics = Metrics::default();
    (Audit::from(Book::on(sink, Names::default(), required, &metrics).unwrap()), asked, metrics)
}

fn in_text(text: &str) -> Vec<String> {
    requests(&lines(text.as_bytes())).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn where_it_is_required_a_reader_waits_until_its_line_is_written() {
    let (audit, asked, metrics) = asking(true, usize::MAX);
    let line = line("1");
    let mut reader = pin!(audit.record(&line));
    assert!(poll!(&mut reader).is_pending());
    assert_eq!(in_text(&asked.next()), ["1"]);
    assert!(poll!(&mut reader).is_pending(), "it is being written, and is not written");
    asked.tell(Verdict::Take);
    reader.await.unwrap();
    audit.flush().await;
    assert_eq!(counted(&metrics, "written"), 1);
}

#[tokio::test]
async fn those_who_read_while_a_line_is_written_are_written_together() {
    let (audit, asked, _) = asking(true, usize::MAX);
    let first = line("first");
    let mut first = pin!(audit.record(&first));
    assert!(poll!(&mut first).is_pending());
    assert_eq!(in_text(&asked.next()), ["first"]);
    let names: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    let of: Vec<_> = names.iter().map(|name| line(name)).collect();
    let mut readers: Vec<_> = of.iter().map(|line| Box::pin(audit.record(line))).collect();
    for reader in &mut readers {
        assert!(poll!(reader.as_mut()).is_pending());
    }
    asked.tell(Verdict::Take);
    first.await.unwrap();
    assert_eq!(in_text(&asked.next()), names, "in one write, in their order");
    asked.tell(Verdict::Take);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn of_lines_that_are_written_in_part_only_those_that_are_whole_count() {
    let (audit, asked, metrics) = asking(true, usize::MAX);
    let (first, second, third) = (line("first"), line("second"), line("third"));
    let mut held = pin!(audit.record(&first));
    assert!(poll!(&mut held).is_pending());
    asked.next();
    let (mut whole, mut cut) = (pin!(audit.record(&second)), pin!(audit.record(&third)));
    assert!(poll!(&mut whole).is_pending() && poll!(&mut cut).is_pending());
    asked.tell(Verdict::Take);
    held.await.unwrap();
    let both = asked.next();
    // All but the line feed of the last one: not even that is a line.
    asked.tell(Verdict::Cut(both.len() - 1));
    whole.await.unwrap();
    assert_eq!(cut.await.unwrap_err(), Unrecorded);
    audit.flush().await;
    assert_eq!((counted(&metrics, "written"), counted(&metrics, "refused"), counted(&metrics, "lost")), (2, 1, 0));
}

#[tokio::test]
async fn when_it_can_be_written_again_a_line_tells_of_the_gap_before_any_other() {
    for required in [true, false] {
        let (audit, asked, metrics) = asking(required, usize::MAX);
        for n in 0..3 {
            let line = line("refused");
            let mut reader = pin!(audit.record(&line));
            let outcome = poll!(&mut reader);
            let told = asked.next();
            // From the second on, it is the gap that is tried first.
            assert_eq!(told.contains("\"gap\""), n > 0, "{told}");
            asked.tell(Verdict::Cut(0));
            if required {
                assert!(outcome.is_pending());
                reader.await.unwrap_err();
            } else {
                assert!(matches!(outcome, Poll::Ready(Ok(_))), "nobody waits");
            }
            audit.flush().await;
        }
        let again = line("again");
        let mut reader = pin!(audit.record(&again));
        let outcome = poll!(&mut reader);
        let gap = lines(asked.next().as_bytes());
        assert_eq!((gap.len(), &gap[0]["gap"]["lines"]), (1, &serde_json::json!(3)));
        assert_eq!(gap[0]["gap"]["answered"], !required);
        asked.tell(Verdict::Take);
        assert_eq!(in_text(&asked.next()), ["again"]);
        asked.tell(Verdict::Take);
        if outcome.is_pending() {
            reader.await.unwrap();
        }
        audit.flush().await;
        let counts = ["written", "lost", "refused"].map(|outcome| counted(&metrics, outcome));
        assert_eq!(counts, if required { [1, 0, 3] } else { [1, 3, 0] });
    }
}

#[tokio::test]
async fn where_it_is_not_required_nobody_waits_and_what_finds_no_room_is_counted() {
    let (audit, asked, metrics) = asking(false, usize::MAX);
    let long = "x".repeat(1 << 20);
    let big = line(&long);
    for n in 0..50 {
        let mut reader = pin!(audit.record(&big));
        assert!(matches!(poll!(&mut reader), Poll::Ready(Ok(_))), "nobody waits");
        if n == 0 {
            // From here on the sink takes nothing.
            asked.next();
        }
    }
    let lost = counted(&metrics, "lost");
    assert!((40..50).contains(&lost), "{lost} of 50 MiB found no room");
    asked.tell(Verdict::Take);
    let told = asked.next();
    assert!(told.contains(&format!("\"lines\":{lost},\"answered\":true")), "{}", &told[..200.min(told.len())]);
}

#[tokio::test]
async fn where_it_is_required_what_finds_no_room_is_refused() {
    let (audit, asked, metrics) = asking(true, usize::MAX);
    let long = "x".repeat(1 << 20);
    let big = line(&long);
    let mut readers: Vec<_> = (0..50).map(|_| Box::pin(audit.record(&big))).collect();
    let mut refused = 0;
    for (n, reader) in readers.iter_mut().enumerate() {
        refused += u64::from(matches!(poll!(reader.as_mut()), Poll::Ready(Err(Unrecorded))));
        if n == 0 {
            asked.next();
        }
    }
    assert!((40..50).contains(&refused), "{refused}");
    assert_eq!(counted(&metrics, "refused"), refused);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_takes_a_line_for_too_long_does_not_take_it() {
    let (audit, asked, metrics) = asking(true, usize::MAX);
    let began = tokio::time::Instant::now();
    assert_eq!(audit.record(&line("1")).await.unwrap_err(), Unrecorded);
    assert_eq!((began.elapsed().as_secs(), counted(&metrics, "refused")), (5, 1));
    asked.next();
}

#[tokio::test]
async fn a_sink_that_panics_refuses_that_line_and_takes_the_next() {
    let (audit, asked, _) = asking(true, usize::MAX);
    let first = line("first");
    let mut reader = pin!(audit.record(&first));
    assert!(poll!(&mut reader).is_pending());
    asked.next();
    asked.tell(Verdict::Panic);
    assert_eq!(reader.await.unwrap_err(), Unrecorded);
    let second = line("second");
    let mut reader = pin!(audit.record(&second));
    assert!(poll!(&mut reader).is_pending());
    assert!(asked.next().contains("\"gap\""));
    asked.tell(Verdict::Take);
    assert_eq!(in_text(&asked.next()), ["second"]);
    asked.tell(Verdict::Take);
    reader.await.unwrap();
}

#[tokio::test]
async fn what_a_sink_takes_at_once_is_divided_between_lines() {
    let length = {
        let paper = Paper::default();
        paper.required().record(&line("0")).await.unwrap();
        serde_json::to_vec(&paper.taken()[0]).unwrap().len() + 1
    };
    let (audit, asked, _) = asking(false, 2 * length + 1);
    let (first, hold) = (line("h"), line("0"));
    audit.record(&first).await.unwrap();
    asked.next();
    for _ in 0..5 {
        audit.record(&hold).await.unwrap();
    }
    asked.tell(Verdict::Take);
    let parts: Vec<_> = (0..3)
        .map(|_| {
            let part = in_text(&asked.next()).len();
            asked.tell(Verdict::Take);
            part
        })
        .collect();
    assert_eq!(parts, [2, 2, 1]);
    audit.flush().await;
    assert!(asked.is_quiet());
}

#[tokio::test]
async fn a_book_that_is_replaced_is_written_to_its_end() {
    let (before, after) = (Paper::default(), Paper::default());
    let metrics = Metrics::default();
    let audit = Audit::from(Book::on(before.clone(), Names::default(), false, &metrics).unwrap());
    let names: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
    for name in &names {
        audit.record(&line(name)).await.unwrap();
    }
    audit.turn_to(Some(Book::on(after.clone(), Names::default(), false, &metrics).unwrap()));
    audit.record(&line("after")).await.unwrap();
    audit.flush().await;
    assert_eq!(requests(&before.taken()), names);
    assert_eq!(requests(&after.taken()), ["after"]);
    audit.turn_to(None);
    audit.record(&line("off")).await.unwrap();
    audit.flush().await;
    assert!(!audit.is_on() && after.taken().is_empty());
}

#[tokio::test]
async fn names_are_hashed_under_a_key_and_whoever_has_it_can_tell_them() {
    use base64::Engine as _;
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key");
    let paper = Paper::default();
    let names = Names::hashed(&key_file).unwrap();
    let audit = Audit::from(Book::on(paper.clone(), names, true, &Metrics::default()).unwrap());
    let (vault, name) = ("pay-prod".parse().unwrap(), "db-password".parse().unwrap());
    let searched = sidekey::access::audit::Searched { text: "db-passw", matching: Some("substring"), hits: Some(2) };
    let whole =
        sidekey::access::audit::Line { vault: Some(&vault), name: Some(&name), searched: Some(searched), ..line("1") };
    audit.record(&whole).await.unwrap();
    audit.record(&sidekey::access::audit::Line { name: Some(&name), ..line("2") }).await.unwrap();
    let told = paper.taken();
    let text = serde_json::to_string(&told).unwrap();
    assert!(!text.contains("db-pass") && !text.contains("pay-prod"), "{text}");
    let key = base64::engine::general_purpose::STANDARD.decode(std::fs::read(&key_file).unwrap().trim_ascii()).unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    let hash = |text: &str| {
        let tag = ring::hmac::sign(&key, text.as_bytes());
        format!("hmac:{}", tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    assert_eq!(told[0]["vault"], hash("pay-prod"));
    assert_eq!(told[0]["name"], hash("pay-prod/db-password"));
    assert_eq!(told[0]["query"], hash("db-passw"));
    assert_eq!((&told[1]["vault"], &told[1]["name"]), (&"*".into(), &hash("*/db-password").into()));
}
