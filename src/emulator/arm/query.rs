//! As much of Resource Graph's query language as it takes to ask for key vaults.
//!
//! `resources | where … | project a, b=tostring(properties.x) | order by id asc | limit n`: conditions are comparisons
//! joined by `and`, columns are paths or one conversion of a path. What is not understood is an error, never ignored.

use serde_json::{Map, Value};

/// A query that was understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    conditions: Vec<Condition>,
    /// Empty: the whole row.
    columns: Vec<Column>,
    order: Vec<(String, Order)>,
    pub(super) limit: Option<usize>,
    pub(super) numeric_booleans: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Condition {
    path: Expression,
    operator: Operator,
    literals: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal { ignore_case: bool },
    NotEqual { ignore_case: bool },
    In { ignore_case: bool },
}

#[derive(Debug, PartialEq, Eq)]
struct Column {
    name: String,
    value: Expression,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Expression {
    convert: Convert,
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Convert {
    No,
    Text,
    Boolean,
    Lower,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

/// Where a query is not understood: characters from its start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Confused {
    pub(super) at: usize,
    pub(super) token: String,
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Confused> {
        let mut query = Self::default();
        let mut at = 0;
        for (number, stage) in split(text, '|').into_iter().enumerate() {
            let blank = stage.len() - stage.trim_start().len();
            let confused = || Confused { at: at + blank, token: first_word(stage).to_owned() };
            let (word, rest) = stage.trim().split_once(char::is_whitespace).unwrap_or((stage.trim(), ""));
            match word.to_ascii_lowercase().as_str() {
                "resources" if number == 0 && rest.trim().is_empty() => {}
                "where" => query.add_conditions(rest).ok_or_else(confused)?,
                "project" => query.columns = columns(rest).ok_or_else(confused)?,
                "order" | "sort" => query.order = order(rest).ok_or_else(confused)?,
                "limit" | "take" => query.limit = Some(rest.trim().parse().map_err(|_| confused())?),
                _ => return Err(confused()),
            }
            at += stage.len() + 1;
        }
        Ok(query)
    }

    fn add_conditions(&mut self, text: &str) -> Option<()> {
        for condition in split_word(text, "and") {
            self.conditions.push(parse_condition(condition.trim())?);
        }
        Some(())
    }

    /// Whether the rows can be paged: paging goes by `id`.
    pub(super) fn keeps_id(&self) -> bool {
        self.columns.is_empty() || self.columns.iter().any(|column| column.name == "id")
    }

    /// The rows that answer, whole, in order.
    pub(super) fn select(&self, rows: impl Iterator<Item = Value>) -> Vec<Value> {
        let mut rows: Vec<_> = rows.filter(|row| self.conditions.iter().all(|one| one.holds(row))).collect();
        for (path, order) in self.order.iter().rev() {
            rows.sort_by(|a, b| {
                let order_of = |row| text_of(look_up(row, path)).to_ascii_lowercase();
                let ascending = order_of(a).cmp(&order_of(b));
                match order {
                    Order::Ascending => ascending,
                    Order::Descending => ascending.reverse(),
                }
            });
        }
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        rows
    }

    /// The columns of a row that were asked for.
    pub(super) fn project(&self, row: &Value) -> Value {
        if self.columns.is_empty() {
            return row.clone();
        }
        let columns = self.columns.iter();
        columns
            .map(|column| (column.name.clone(), column.value.of(row, self.numeric_booleans)))
            .collect::<Map<_, _>>()
            .into()
    }
}

impl Condition {
    fn holds(&self, row: &Value) -> bool {
        let value = text_of(&self.path.of(row, false));
        let same = |literal: &String, ignore_case: bool| {
            if ignore_case { literal.eq_ignore_ascii_case(&value) } else { *literal == value }
        };
        match self.operator {
            Operator::Equal { ignore_case } | Operator::In { ignore_case } => {
                self.literals.iter().any(|literal| same(literal, ignore_case))
            }
            Operator::NotEqual { ignore_case } => !self.literals.iter().any(|literal| same(literal, ignore_case)),
        }
    }
}

impl Expression {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (convert, path) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            None => (Convert::No, text),
            Some(("tostring", path)) => (Convert::Text, path),
            Some(("tobool" | "toboolean", path)) => (Convert::Boolean, path),
            Some(("tolower", path)) => (Convert::Lower, path),
            Some(_) => return None,
        };
        let path = path.trim();
        let named = !path.is_empty() && path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'));
        named.then(|| Self { convert, path: path.to_owned() })
    }

    fn of(&self, row: &Value, numeric_booleans: bool) -> Value {
        let value = look_up(row, &self.path);
        match self.convert {
            Convert::No => value.clone(),
            Convert::Text => text_of(value).into(),
            Convert::Lower => text_of(value).to_ascii_lowercase().into(),
            Convert::Boolean => match value.as_bool() {
                None => Value::Null,
                Some(value) if numeric_booleans => u8::from(value).into(),
                Some(value) => value.into(),
            },
        }
    }
}

/// A value by its dotted path.
fn look_up<'r>(row: &'r Value, path: &str) -> &'r Value {
    path.split('.').try_fold(row, |value, part| value.get(part)).unwrap_or(&Value::Null)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn parse_condition(text: &str) -> Option<Condition> {
    const OPERATORS: [(&str, Operator); 6] = [
        ("=~", Operator::Equal { ignore_case: true }),
        ("==", Operator::Equal { ignore_case: false }),
        ("!~", Operator::NotEqual { ignore_case: true }),
        ("!=", Operator::NotEqual { ignore_case: false }),
        (" in~ ", Operator::In { ignore_case: true }),
        (" in ", Operator::In { ignore_case: false }),
    ];
    let (at, sign, operator) = OPERATORS
        .iter()
        .filter_map(|(sign, operator)| text.find(sign).map(|at| (at, *sign, *operator)))
        .min_by_key(|(at, ..)| *at)?;
    let path = Expression::parse(&text[..at])?;
    let right = text[at + sign.len()..].trim();
    let literals = match operator {
        Operator::In { .. } => {
            let list = right.strip_prefix('(')?.strip_suffix(')')?;
            split(list, ',').into_iter().map(literal).collect::<Option<_>>()?
        }
        Operator::Equal { .. } | Operator::NotEqual { .. } => vec![literal(right)?],
    };
    Some(Condition { path, operator, literals })
}

fn literal(text: &str) -> Option<String> {
    let text = text.trim();
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote).filter(|inner| !inner.contains(quote));
    let bare = || matches!(text, "true" | "false").then_some(text);
    quoted('\'').or_else(|| quoted('"')).or_else(bare).map(str::to_owned)
}

fn columns(text: &str) -> Option<Vec<Column>> {
    split(text, ',')
        .into_iter()
        .map(|column| match column.split_once('=') {
            Some((name, value)) => Some(Column { name: word(name)?, value: Expression::parse(value)? }),
            None => Some(Column { name: word(column)?, value: Expression::parse(column)? }),
        })
        .collect()
}

fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let named = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'));
    named.then(|| text.to_owned())
}

fn order(text: &str) -> Option<Vec<(String, Order)>> {
    let by = text.trim().strip_prefix("by ")?;
    split(by, ',')
        .into_iter()
        .map(|one| {
            let mut words = one.split_whitespace();
            let path = word(words.next()?)?;
            let order = match words.next().map(str::to_ascii_lowercase).as_deref() {
                Some("asc") => Order::Ascending,
                // The language's own default.
                None | Some("desc") => Order::Descending,
                Some(_) => return None,
            };
            words.next().is_none().then_some((path, order))
        })
        .collect()
}

fn first_word(stage: &str) -> &str {
    stage.split_whitespace().next().unwrap_or("<EOF>")
}

/// Splits outside quotes and parentheses.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut start, mut quote, mut depth) = (Vec::new(), 0, None, 0_u32);
    for (place, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, c) if c == at && depth == 0 => {
                parts.push(&text[start..place]);
                start = place + c.len_utf8();
            }
            (None, _) => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Splits at a word that stands outside quotes.
fn split_word<'t>(text: &'t str, word: &str) -> Vec<&'t str> {
    let pieces = split(text, ' ');
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    for piece in pieces {
        if piece.eq_ignore_ascii_case(word) {
            parts.push(&text[start..at]);
            start = at + piece.len();
        }
        at += piece.len() + 1;
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_query_for_vaults_is_understood() {
        let query = Query::parse(
            "resources | where type =~ 'microsoft.keyvault/vaults' and subscriptionId in ('s1', 's|2') \
             | project id, name, vaultUri=tostring(properties.vaultUri), rbac = tobool(properties.rbac) \
             | order by id asc | limit 2",
        )
        .unwrap();
        let row = |id: &str, subscription: &str| {
            json!({"id": id, "name": "n", "type": "Microsoft.KeyVault/vaults", "subscriptionId": subscription,
                   "properties": {"vaultUri": "https://n.vault.azure.net/", "rbac": true}})
        };
        let rows = [row("c", "s1"), row("b", "s|2"), row("a", "s3"), row("d", "s1")];
        let selected = query.select(rows.into_iter());
        assert_eq!(selected.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ["b", "c"]);
        let expected = json!({"id": "b", "name": "n", "vaultUri": "https://n.vault.azure.net/", "rbac": true});
        assert_eq!(query.project(&selected[0]), expected);
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_place() {
        let confused = Query::parse("project id, location | where where").unwrap_err();
        assert_eq!((confused.at, confused.token.as_str()), (23, "where"));
        for bad in ["resources | summarize count()", "resources | where a", "resources | project f(x)", "vms", ""] {
            assert!(Query::parse(bad).is_err(), "{bad:?}");
        }
    }
}
