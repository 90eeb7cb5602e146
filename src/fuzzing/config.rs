use crate::config::{Config, Inputs, Vars};

/// Stands in seeds where a value would be a secret.
const MARK: &str = "Qm4rkQm4rk";

/// The text of a configuration file, and after a line of `%%` variables as `NAME=VALUE`: every fault is told, and none
/// with a value.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (file, variables) = text.split_once("\n%%\n").unwrap_or((text, ""));
    let pairs = || variables.lines().filter_map(|line| line.split_once('='));
    let vars: Vars = pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let inputs = Inputs { vars, uid: 1000, ..Inputs::default() };
    let Err(faults) = Config::parse(None, file, &inputs) else { return };
    assert!(!faults.0.is_empty(), "refused without a reason");
    let known_as_value = pairs().all(|(name, _)| !name.contains(MARK))
        && file.parse::<toml::Table>().is_ok_and(|table| no_key_holds(&toml::Value::Table(table)));
    for fault in &faults.0 {
        let told = fault.to_string();
        assert!(!known_as_value || !told.contains(MARK), "a value is told: {told}");
    }
}

fn no_key_holds(value: &toml::Value) -> bool {
    match value {
        toml::Value::Table(table) => table.iter().all(|(key, value)| !key.contains(MARK) && no_key_holds(value)),
        toml::Value::Array(items) => items.iter().all(no_key_holds),
        toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => true,
    }
}
