//! The way of a request through the API: signature, headers, rate, parameters, token, action; and the
//! envelope of its answer.

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    actions,
    desk::Desk,
    parameters::Parameters,
    query,
    refusal::{Refusal, Verdict, refuse},
    schema::{Action, Schema},
    signature::{self, Signer},
    validate::validate,
    wire::Wire,
};

/// Products whose requests name no region.
const GLOBAL: &[&str] = &["sts", "tag"];

/// A request that passed everything before its parameters.
pub(super) struct Call {
    pub(super) name: &'static str,
    action: &'static Action,
}

impl Desk {
    /// Lets a request in: it is signed, it is for an action that exists here, and not one too many.
    pub(super) fn admit(&self, wire: &Wire) -> Verdict<Call> {
        let header = |name: &str| {
            wire.header(&format!("X-TC-{name}"))
                .ok_or_else(|| Refusal::missing(name))
        };
        let name = header("Action")?;
        let version = header("Version")?;
        let signer = match wire.header("authorization") {
            // The one call whose caller has no keys yet (documentation of AssumeRoleWithWebIdentity).
            Some("SKIP") if name == "AssumeRoleWithWebIdentity" => Signer {
                secret_id: String::new(),
                service: "sts".to_owned(),
            },
            _ => signature::verify(wire, &self.accounts.lock(), self.environment.now())?,
        };
        let actions = &Schema::get().actions;
        if !actions.values().any(|action| action.service == signer.service) {
            return refuse!("NoSuchProduct", "There is no product `{}`.", signer.service);
        }
        let Some((name, action)) = actions
            .get_key_value(name)
            .filter(|(_, action)| action.service == signer.service)
        else {
            return refuse!("InvalidAction", "The action `{name}` is not valid.");
        };
        if version != action.version {
            return refuse!("NoSuchVersion", "The version `{version}` does not exist.");
        }
        if !GLOBAL.contains(&action.service.as_str()) && header("Region")? != self.settings.region {
            return refuse!(
                "UnsupportedRegion",
                "The region is not `{}`.",
                self.settings.region
            );
        }
        let mut meter = self.meter.lock();
        meter.count(
            &self.settings.rates,
            name,
            action,
            &signer.secret_id,
            Instant::now(),
        )?;
        Ok(Call { name, action })
    }

    /// Carries out a request that was let in.
    pub(super) async fn carry_out(
        &self,
        call: &Call,
        wire: &Wire,
        request_id: &str,
    ) -> Verdict<Map<String, Value>> {
        let parameters = match wire.method.as_str() {
            "GET" => query::parse(call.action, &wire.query)?,
            _ => match serde_json::from_slice(&wire.body) {
                Ok(Value::Object(parameters)) => parameters,
                _ => return refuse!("InvalidParameter", "The body is not a JSON object."),
            },
        };
        validate(call.action, self.settings.site, &parameters)?;
        let parameters = Parameters {
            action: call.action,
            members: &parameters,
        };
        let token = parameters
            .optional("ClientToken")
            .filter(|token| !token.is_empty());
        let Some(token) = token else {
            return actions::call(self, call.name, &parameters, request_id).await;
        };
        let known = self.tokens.lock().begin(call.name, token, parameters.members)?;
        if let Some(answer) = known {
            return Ok(answer);
        }
        let answer = actions::call(self, call.name, &parameters, request_id).await;
        self.tokens.lock().end(call.name, token, answer.as_ref().ok());
        answer
    }
}

/// The envelope that every answer comes in.
pub(super) fn envelope(answer: Verdict<Map<String, Value>>, request_id: &str) -> Value {
    let mut response = answer.unwrap_or_else(|Refusal { code, message }| {
        Map::from_iter([("Error".to_owned(), json!({"Code": code, "Message": message}))])
    });
    response.insert("RequestId".to_owned(), request_id.into());
    json!({"Response": response})
}
