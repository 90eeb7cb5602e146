//! Lists in pages: at most 25 items, links with `:443` in them, and null after the last.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::{Map, Value};

use super::Call;
use super::bundle::Id;
use super::{bad_parameter, not_found};
use crate::emulator::answer::Answer;
use crate::emulator::estate::PageEnd;
use crate::emulator::paging::{self, Mark};
use crate::secret::{Metadata, SecretName};

/// What a page holds at most, and without `maxresults`.
const MOST: usize = 25;

pub(super) fn secrets(call: &Call<'_>) -> Result<Answer, Box<Answer>> {
    let page = Page::of(call)?;
    let after = page.after_name()?;
    let items = call.vault.store.current_after(after.as_ref(), page.size + 1);
    Ok(page.answer(call, items, |metadata| metadata.name.to_string(), |one| call.bundle(one, Id::Current, None)))
}

pub(super) fn deleted(call: &Call<'_>) -> Result<Answer, Box<Answer>> {
    let page = Page::of(call)?;
    let after = page.after_name()?;
    let mut items = call.vault.store.deleted();
    items.retain(|metadata| after.as_ref().is_none_or(|after| metadata.name > *after));
    Ok(page.answer(call, items, |metadata| metadata.name.to_string(), |one| call.deleted_bundle(one, Id::Current)))
}

/// By version's id, as the real one orders them: not by age.
pub(super) fn versions(call: &Call<'_>, name: &SecretName) -> Result<Answer, Box<Answer>> {
    let page = Page::of(call)?;
    let Some(mut items) = call.vault.store.all_versions(name) else {
        return Err(not_found(&call.vault.spelling(name), None));
    };
    let id = |metadata: &Metadata| metadata.version.as_ref().map(ToString::to_string).unwrap_or_default();
    items.sort_by_key(id);
    items.retain(|metadata| page.mark.after.as_ref().is_none_or(|after| id(metadata) > *after));
    Ok(page.answer(call, items, id, |one| call.bundle(one, Id::Versioned, None)))
}

struct Page {
    mark: Mark,
    size: usize,
    asked: Option<usize>,
}

impl Page {
    fn of(call: &Call<'_>) -> Result<Self, Box<Answer>> {
        let asked = match call.request.query("maxresults").map(str::parse) {
            None => None,
            Some(Ok(asked)) if (1..=MOST).contains(&asked) => Some(asked),
            Some(_) => {
                return Err(Box::new(Answer::error(
                    StatusCode::BAD_REQUEST,
                    "BadParameter",
                    "invalid maxresults: it must be between 1 and 25",
                )));
            }
        };
        let mark = match call.request.query("$skiptoken") {
            None => Mark::START,
            Some(text) => mark_of(text).ok_or_else(|| bad_parameter("$skiptoken"))?,
        };
        let size = paging::size(&call.vault.facts.paging, mark.page, asked.unwrap_or(MOST));
        Ok(Self { mark, size, asked })
    }

    fn after_name(&self) -> Result<Option<SecretName>, Box<Answer>> {
        self.mark.after.as_ref().map(|after| after.parse().map_err(|_| bad_parameter("$skiptoken"))).transpose()
    }

    /// The page, given what comes after its mark.
    fn answer(
        self,
        call: &Call<'_>,
        mut items: Vec<Metadata>,
        key: impl Fn(&Metadata) -> String,
        bundle: impl Fn(&Metadata) -> Map<String, Value>,
    ) -> Answer {
        let paging = &call.vault.facts.paging;
        let goes_on = paging::goes_on(paging, self.mark.page, items.len() > self.size);
        items.truncate(self.size);
        let next = Mark { page: self.mark.page + 1, after: items.last().map(&key).or(self.mark.after) };
        let mut body = Map::new();
        body.insert("value".to_owned(), items.iter().map(|item| Value::Object(bundle(item))).collect());
        if goes_on {
            body.insert("nextLink".to_owned(), link(call, &next, self.asked).into());
        } else if paging.end == PageEnd::Null {
            body.insert("nextLink".to_owned(), Value::Null);
        }
        Answer::ok(Value::Object(body))
    }
}

/// As the real one writes it: the port told although it is HTTPS's own, a bare `$`, the mark in base64.
fn link(call: &Call<'_>, mark: &Mark, asked: Option<usize>) -> String {
    let request = call.request;
    let version = request.query("api-version").unwrap_or_default();
    let mark = STANDARD.encode(mark.to_text()).replace('=', "");
    let asked = asked.map_or_else(String::new, |asked| format!("&maxresults={asked}"));
    format!(
        "https://{}:{}/{}?api-version={version}&$skiptoken={mark}{asked}",
        request.host,
        request.port,
        request.path.join("/")
    )
}

fn mark_of(text: &str) -> Option<Mark> {
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    Mark::from_text(&String::from_utf8(STANDARD_NO_PAD.decode(text).ok()?).ok()?)
}
