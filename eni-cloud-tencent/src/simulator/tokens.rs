//! Client tokens: the same token answers the same, once.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::refusal::{Verdict, refuse};

/// What was asked with each token of an action, and what was answered.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    known: BTreeMap<(String, String), Entry>,
}

#[derive(Debug)]
struct Entry {
    parameters: Map<String, Value>,
    /// `None` while the first request with it runs.
    answer: Option<Map<String, Value>>,
}

impl Tokens {
    /// The answer to a token that was used, or `None` if this is its first use.
    pub(super) fn begin(
        &mut self,
        action: &str,
        token: &str,
        parameters: &Map<String, Value>,
    ) -> Verdict<Option<Map<String, Value>>> {
        let key = (action.to_owned(), token.to_owned());
        match self.known.get(&key) {
            Some(entry) if entry.parameters != *parameters => refuse!(
                "UnsupportedOperation.IdempotentParameterMismatch",
                "The ClientToken was used with other parameters."
            ),
            Some(Entry { answer: None, .. }) => refuse!(
                "UnsupportedOperation.IdempotentProcessing",
                "A request with the same ClientToken is being processed."
            ),
            Some(entry) => Ok(entry.answer.clone()),
            None => {
                let entry = Entry {
                    parameters: parameters.clone(),
                    answer: None,
                };
                self.known.insert(key, entry);
                Ok(None)
            }
        }
    }

    /// Keeps the answer to a first use; a refused request leaves the token unused.
    pub(super) fn end(&mut self, action: &str, token: &str, answer: Option<&Map<String, Value>>) {
        let key = (action.to_owned(), token.to_owned());
        match answer {
            Some(answer) => {
                if let Some(entry) = self.known.get_mut(&key) {
                    entry.answer = Some(answer.clone());
                }
            }
            None => {
                self.known.remove(&key);
            }
        }
    }
}
