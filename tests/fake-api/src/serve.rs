//! How the store answers a request.

use super::request::{Freshness, List, Operation, Request};
use super::response::Response;
use super::store::{Key, Object, StatusError, Store};

impl Store {
    /// Answers a request other than a watch. `cached` is the revision of the cache that reads may come from.
    pub fn serve(&mut self, request: &Request, cached: u64) -> Response {
        let parts = request.parts;
        let done = match request.operation.clone() {
            Operation::Get { key, freshness } => self.get_at(&key, self.visible(freshness, cached)),
            Operation::Create { collection, object } => {
                self.create(&collection.kind, &collection.namespace.unwrap_or_default(), object)
            }
            Operation::Replace { key, endpoint, object } => self.replace(&key, endpoint, object),
            Operation::MergePatch { key, endpoint, patch } => self.merge_patch(&key, endpoint, &patch),
            Operation::JsonPatch { key, endpoint, patch } => self.json_patch(&key, endpoint, &patch),
            Operation::Delete { key, preconditions } => self.delete(&key, &preconditions),
            Operation::List(list) => {
                return match self.page(&list, self.visible(list.freshness, cached)) {
                    Ok(Page { revision, items, token }) => {
                        Response::list(revision, &items, parts, token.as_deref())
                    }
                    Err(error) => Response::from(&error),
                };
            }
            Operation::Watch(_) => Err(StatusError::BadRequest("a watch has no single response".to_owned())),
        };
        let code = if matches!(request.operation, Operation::Create { .. }) { 201 } else { 200 };
        match done {
            Ok(object) => Response { code, body: parts.of(&object).clone() },
            Err(error) => Response::from(&error),
        }
    }

    /// The revision that a read sees.
    fn visible(&self, freshness: Freshness, cached: u64) -> u64 {
        match freshness {
            Freshness::Latest => self.revision(),
            Freshness::Cached(at_least) => cached.max(at_least).min(self.revision()),
        }
    }

    fn page(&self, list: &List, revision: u64) -> Result<Page, StatusError> {
        let token = list.token.as_deref().map(Token::read).transpose()?;
        // All pages show the revision of the first.
        let revision = token.as_ref().map_or(revision, |token| token.revision);
        if token.is_some() {
            self.check_age(revision)?;
        }
        let all = self.list_at(&list.from.kind, list.from.namespace.as_deref(), revision);
        let is_later = |key: &Key| token.as_ref().is_none_or(|token| token.is_before(key));
        let mut rest =
            all.into_iter().filter(|(key, object)| is_later(key) && list.selector.matches(object)).peekable();
        let mut items = Vec::new();
        let mut last = None;
        while list.limit.is_none_or(|limit| items.len() < limit) {
            let Some((key, object)) = rest.next() else { break };
            items.push(object);
            last = Some(key);
        }
        let token = last.filter(|_| rest.peek().is_some()).map(|key| Token::after(revision, &key));
        Ok(Page { revision, items, token })
    }
}

struct Page {
    revision: u64,
    items: Vec<Object>,
    token: Option<String>,
}

/// A continue token: the list's revision, and the last object of the page.
struct Token {
    revision: u64,
    namespace: String,
    name: String,
}

impl Token {
    fn after(revision: u64, key: &Key) -> String {
        format!("{revision}/{}/{}", key.namespace, key.name)
    }

    fn read(text: &str) -> Result<Self, StatusError> {
        let invalid = || StatusError::BadRequest("continue key is not valid".to_owned());
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or_else(invalid);
        let revision = next()?.parse().map_err(|_| invalid())?;
        Ok(Token { revision, namespace: next()?.to_owned(), name: next()?.to_owned() })
    }

    fn is_before(&self, key: &Key) -> bool {
        (self.namespace.as_str(), self.name.as_str()) < (key.namespace.as_str(), key.name.as_str())
    }
}
