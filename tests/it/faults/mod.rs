mod bodies;
mod cable;
mod outage;
mod site;
mod throttled;
mod tokens;
mod unreachable;
mod words;
