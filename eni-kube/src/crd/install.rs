//! Installs and upgrades the definitions, with the rights to get, create and update them alone.

use std::time::Duration;

use kube::{Client, core::Request};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{REVISION, REVISION_ANNOTATION, definitions};
use crate::calls::{CallError, Calls};

/// Where definitions are.
const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// How long the API server may take to serve a kind that was defined.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(200);

/// Why a kind cannot be relied upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The API server refused; an operator must grant the right, or look at the definition that is there.
    #[error("the definition {name} was refused: {message}")]
    Refused {
        /// The definition.
        name: String,
        /// The API server's words.
        message: String,
    },
    /// No answer: try again.
    #[error("the API server does not answer for {name}: {message}; try again")]
    Unavailable {
        /// The definition.
        name: String,
        /// What happened.
        message: String,
    },
    /// It is defined, but not served.
    #[error("{name} is defined but not served: {message}; `kubectl describe crd {name}` tells more")]
    NotServed {
        /// The definition.
        name: String,
        /// What the API server says of it.
        message: String,
    },
}

/// Defines every kind that is not defined, upgrades what is older, and waits until all are served.
///
/// A definition of a newer revision is left alone, so that a rolled back ipamd does not take fields away from
/// a newer agent. Whoever else changes a definition meanwhile is not overwritten; what they wrote is looked at.
pub async fn install(client: Client) -> Result<(), InstallError> {
    let calls = Calls::new(client);
    for wanted in definitions() {
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        install_one(&calls, &wanted, &name)
            .await
            .map_err(|error| match error {
                CallError::Status(status) => InstallError::Refused {
                    name: name.clone(),
                    message: status.message,
                },
                CallError::NoAnswer(message) => InstallError::Unavailable {
                    name: name.clone(),
                    message,
                },
            })?;
        served(&calls, &name).await?;
    }
    Ok(())
}

async fn install_one(calls: &Calls, wanted: &Value, name: &str) -> Result<(), CallError> {
    let requests = Request::new(PATH);
    loop {
        let current = match calls.get::<Value>(&requests, name).await {
            Ok(current) => Some(current),
            Err(error) if error.code() == Some(404) => None,
            Err(error) => return Err(error),
        };
        let written = match decide(current, wanted) {
            Step::Keep => return Ok(()),
            Step::Create => calls.create::<Value>(&requests, wanted).await,
            Step::Update(definition) => calls.replace::<Value>(&requests, name, &definition).await,
        };
        match written {
            Ok(_) => {
                tracing::info!(definition = name, revision = REVISION, "kind defined");
                return Ok(());
            }
            // Another replica was faster.
            Err(error) if error.code() == Some(409) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn served(calls: &Calls, name: &str) -> Result<(), InstallError> {
    let begun = Instant::now();
    loop {
        let message = match calls.get::<Value>(&Request::new(PATH), name).await {
            Ok(definition) if condition(&definition, "Established").0 => return Ok(()),
            Ok(definition) => condition(&definition, "NamesAccepted").1,
            Err(error) => error.to_string(),
        };
        if begun.elapsed() > PATIENCE {
            let name = name.to_owned();
            return Err(InstallError::NotServed { name, message });
        }
        sleep(LOOK).await;
    }
}

/// Whether a condition of a definition is true, and what is said about it.
fn condition(definition: &Value, kind: &str) -> (bool, String) {
    let conditions = definition["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == kind));
    let Some(found) = found else {
        return (false, "nothing yet".to_owned());
    };
    let message = found["message"].as_str().unwrap_or_default().to_owned();
    (found["status"] == "True", message)
}

/// What to do about a definition.
#[derive(Debug, PartialEq)]
enum Step {
    Keep,
    Create,
    Update(Value),
}

fn decide(current: Option<Value>, wanted: &Value) -> Step {
    let Some(mut current) = current else {
        return Step::Create;
    };
    // One without our annotation is another installer's, and older.
    let revision = current["metadata"]["annotations"][REVISION_ANNOTATION].as_str();
    let revision = revision.and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    if revision > REVISION || covers(&current, wanted) {
        return Step::Keep;
    }
    let version = &wanted["spec"]["versions"][0];
    let versions = current["spec"]["versions"].as_array_mut();
    let Some(versions) = versions else {
        return Step::Update(wanted.clone());
    };
    // Objects may be stored in another version: it stays, though no longer as the one to store.
    for other in versions.iter_mut() {
        other["storage"] = json!(false);
    }
    match versions.iter_mut().find(|other| other["name"] == version["name"]) {
        Some(ours) => *ours = version.clone(),
        None => versions.push(version.clone()),
    }
    current["spec"]["names"] = wanted["spec"]["names"].clone();
    if !current["metadata"]["annotations"].is_object() {
        current["metadata"]["annotations"] = json!({});
    }
    current["metadata"]["annotations"][REVISION_ANNOTATION] = json!(REVISION.to_string());
    Step::Update(current)
}

/// Whether everything that is wanted is there; the API server adds defaults of its own.
fn covers(current: &Value, wanted: &Value) -> bool {
    match (current, wanted) {
        (Value::Object(current), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| match current.get(key) {
                Some(current) => covers(current, value),
                // What is empty is left out of answers.
                None => [json!({}), json!([])].contains(value),
            })
        }
        (Value::Array(current), Value::Array(wanted)) => {
            current.len() == wanted.len()
                && current
                    .iter()
                    .zip(wanted)
                    .all(|(current, wanted)| covers(current, wanted))
        }
        _ => current == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Value {
        definitions().remove(0)
    }

    /// As the API server answers it.
    fn stored() -> Value {
        let mut stored = wanted();
        stored["metadata"]["resourceVersion"] = json!("7");
        stored["spec"]["conversion"] = json!({"strategy": "None"});
        stored
    }

    #[test]
    fn what_is_missing_is_created_and_what_is_there_is_kept() {
        assert_eq!(decide(None, &wanted()), Step::Create);
        assert_eq!(decide(Some(stored()), &wanted()), Step::Keep);
    }

    #[test]
    fn a_newer_revision_is_kept_whatever_it_holds() {
        let mut newer = stored();
        newer["metadata"]["annotations"][REVISION_ANNOTATION] = json!((REVISION + 1).to_string());
        newer["spec"]["versions"][0]["schema"] = json!({});
        assert_eq!(decide(Some(newer), &wanted()), Step::Keep);
    }

    #[test]
    fn an_older_one_is_upgraded_and_its_other_versions_stay() {
        let mut older = stored();
        older["metadata"]["annotations"] = Value::Null;
        older["spec"]["versions"] = json!([{"name": "v1alpha1", "served": true, "storage": true}]);
        let Step::Update(updated) = decide(Some(older), &wanted()) else {
            panic!("an update")
        };
        let versions = updated["spec"]["versions"].as_array().unwrap();
        assert_eq!(versions[0]["name"], "v1alpha1");
        assert_eq!(versions[0]["storage"], false);
        assert_eq!(versions[1], wanted()["spec"]["versions"][0]);
        assert_eq!(updated["metadata"]["resourceVersion"], "7", "by compare-and-swap");
        assert!(covers(
            &updated["metadata"]["annotations"],
            &wanted()["metadata"]["annotations"]
        ));
    }

    #[test]
    fn what_somebody_changed_by_hand_is_put_right() {
        let mut changed = stored();
        changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["required"] = json!([]);
        assert!(matches!(decide(Some(changed), &wanted()), Step::Update(_)));
    }
}
